import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type {
  IdentityDocument,
  ProviderRequest,
  TokenExplanationDocument,
} from "../api/identity-documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";
import { readText } from "./spec-file.ts";

const PATH = "/v1/access/identity-providers";

/** `guacamole identity-provider …` */
export function identityProviderCommand(ports: CliPorts) {
  return new Command("identity-provider")
    .summary("let people in by the company's single sign-on (OpenID Connect)")
    .description(
      `Says which issuers of OpenID Connect tokens are trusted, and what whoever has such a token may do. A client sends it as
it would send one of guacamole's own: 'guacamole --token', GUACAMOLE_TOKEN, or 'Authorization: Bearer eyJ…'.
Guacamole's own tokens go on as before, and so does the Unix socket of each member's host: an issuer that is down locks nobody out.`,
    )
    .addCommand(listCommand(ports), { isDefault: true })
    .addCommand(setCommand(ports))
    .addCommand(removeCommand(ports))
    .addCommand(explainCommand(ports));
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .summary("those that are trusted, and whether their keys could be had")
    .description("Lists them with their rules, and what the member that answers knows of their keys.")
    .addHelpText("after", "\nExample:\n  guacamole identity-provider list")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<IdentityDocument>(PATH), renderIdentity);
    });
}

const collect = (value: string, previous: readonly string[] | undefined): readonly string[] => [
  ...(previous ?? []),
  value,
];

function setCommand(ports: CliPorts) {
  return clientCommand("set")
    .summary("trust one, or change what is said of it")
    .description(
      `Trusts an issuer, or changes what is said of one. What is named replaces what was said, the rest stays.
Every rule that fits gives its scope; whoever fits none may do nothing. 'guacamole token --help' says what the scopes are for.`,
    )
    .argument("<name>", "for people: a-z, 0-9 and -")
    .option("--issuer <url>", "as its tokens name it (iss), to the letter")
    .option("--audience <audience>", "a token must be meant for it (aud); may be given again", collect)
    .option(
      "--map <claim=value:scope>",
      "whoever has this value in this claim has this scope; may be given again, and replaces all rules",
      rule,
    )
    .option("--name-claim <claim>", "what the audit trail calls people beside their subject")
    .option("--jwks-uri <url>", "where its keys are (default: as its discovery document says)")
    .option("--ca-file <file>", "PEM: who vouches for its servers (default: each host's authorities)")
    .option("--algorithm <name>", "which signatures are taken; may be given again", collect)
    .option("--clock-tolerance <seconds>", "by so much the clocks may differ", whole)
    .option("--max-age <seconds>", "tokens that were issued longer ago are refused", whole)
    .option("--block <subject>", "refuse this subject's tokens from now on; may be given again", collect)
    .option("--unblock <subject>", "not any more; may be given again", collect)
    .addHelpText(
      "after",
      `
Examples:
  guacamole identity-provider set corp --issuer https://id.example.org/realms/main --audience guacamole \\
    --map groups=dba:admin --map groups=on-call:operator --name-claim preferred_username
  guacamole identity-provider set corp --block 8f14e45f-ceea-467f-a0e6-bf5a4c2d7b11`,
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const caCertificate = options.caFile === undefined ? undefined : await readText(options.caFile);
      await change(ports, client, options, (providers) => {
        const present = providers.find((each) => each.name === name);
        const { issuer = present?.issuer, audience = present?.audiences } = options;
        if (issuer === undefined || audience === undefined)
          throw new CliError(EXIT.usage, `'${name}' is new: --issuer and --audience are wanted`);
        const { map, nameClaim, jwksUri, algorithm, clockTolerance, maxAge } = options;
        const blocked = [...(present?.blockedSubjects ?? []), ...(options.block ?? [])].filter(
          (subject) => options.unblock?.includes(subject) !== true,
        );
        const wanted: ProviderRequest = {
          ...present,
          name,
          issuer,
          audiences: [...audience],
          scopes: [...(map ?? present?.scopes ?? [])],
          blockedSubjects: blocked,
          ...(nameClaim === undefined ? {} : { nameClaim }),
          ...(jwksUri === undefined ? {} : { jwksUri }),
          ...(caCertificate === undefined ? {} : { caCertificate }),
          ...(clockTolerance === undefined ? {} : { clockToleranceSeconds: clockTolerance }),
          ...(maxAge === undefined ? {} : { maxAgeSeconds: maxAge }),
          // The API says which there are.
          ...(algorithm === undefined
            ? {}
            : { algorithms: [...algorithm] as NonNullable<ProviderRequest["algorithms"]> }),
        };
        return present === undefined
          ? [...providers, wanted]
          : providers.map((each) => (each.name === name ? wanted : each));
      });
    });
}

function removeCommand(ports: CliPorts) {
  return clientCommand("remove")
    .summary("trust it no more: its tokens are refused from then on")
    .description("Takes one away. Each member refuses its tokens once it knows.")
    .argument("<name>", "of the identity provider")
    .addHelpText("after", "\nExample:\n  guacamole identity-provider remove corp")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      await change(ports, client, options, (providers) => {
        if (!providers.some((each) => each.name === name))
          throw new CliError(
            EXIT.refused,
            "No identity provider has this name; nothing was changed.",
            "See 'guacamole identity-provider list'.",
          );
        return providers.filter((each) => each.name !== name);
      });
    });
}

function explainCommand(ports: CliPorts) {
  return clientCommand("explain")
    .summary("why a token is let in or not, and what it may do")
    .description(
      "Reads a token from standard input, or asks for it, and says whom it names, what it may do, or why it is refused.\nWhoever is refused is told little; this tells all. It needs a token of scope admin.",
    )
    .option("--stdin", "read it from standard input, its first line")
    .addHelpText(
      "after",
      "\nExample:\n  oidc-token corp | guacamole identity-provider explain --stdin --output yaml",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const isStdin = options.stdin === true;
      const typed = isStdin ? (await Bun.stdin.text()).split("\n")[0] : await ports.readLine("Token: ");
      const token = typed?.trim() ?? "";
      if (token === "") throw new CliError(EXIT.usage, "a token is wanted");
      const found = await client.post<TokenExplanationDocument>(`${PATH}/explain`, { token });
      printResult(ports, options.output, found, renderExplanation);
    });
}

/** Read, changed and written as one: whoever was faster is not undone. */
async function change(
  ports: CliPorts,
  client: ApiClient,
  options: { readonly output: "table" | "json" | "yaml" },
  changed: (providers: readonly ProviderRequest[]) => readonly ProviderRequest[],
): Promise<void> {
  const { generation, providers } = await client.get<IdentityDocument>(PATH);
  const wanted = changed(providers.map(({ keys: _, ...provider }) => provider));
  const made = await client.put<IdentityDocument>(
    PATH,
    { providers: wanted },
    { ifMatch: `"${generation}"`, idempotencyKey: ports.newId() },
  );
  printResult(ports, options.output, made, renderIdentity);
}

function renderIdentity({ providers, answeredBy }: IdentityDocument): string {
  if (providers.length === 0)
    return "No identity provider is trusted: guacamole's own tokens alone let in.\n";
  return providers
    .map((provider) => {
      const { name, issuer, audiences, scopes, keys, blockedSubjects = [] } = provider;
      const known = keys.count === 0 ? "no keys yet" : `${keys.count} keys, as of ${keys.fetchedAt}`;
      const lines = [
        `${name}: ${issuer}, for ${audiences.join(", ")}`,
        `  on ${answeredBy}: ${known}${keys.problem === null ? "" : `; ${keys.problem}`}`,
        ...(blockedSubjects.length === 0 ? [] : [`  refused: ${blockedSubjects.join(", ")}`]),
      ].map((line) => `${withoutControls(line)}\n`);
      const rules =
        scopes.length === 0
          ? "  no rule gives anybody a scope\n"
          : renderTable(
              ["claim", "value", "scope"],
              scopes.map(({ claim, value, scope }) => [claim, withoutControls(value), scope]),
            );
      return `${lines.join("")}${rules}`;
    })
    .join("\n");
}

function renderExplanation({ isGood, provider, by, name, scopes, why }: TokenExplanationDocument): string {
  const lines = [
    isGood ? `It is good: ${scopes.join(", ")}` : `It is refused: ${why ?? "nobody says why"}`,
    ...(by === null ? [] : [`  names     ${by}${name === null ? "" : ` (${name})`}`]),
    ...(provider === null ? [] : [`  provider  ${provider}`]),
  ];
  return lines.map((line) => `${withoutControls(line)}\n`).join("");
}

type ScopeRule = ProviderRequest["scopes"][number];

const RULE = /^([^=]+)=(.+):(health|viewer|operator|access|admin)$/;

/** Values may hold a colon, and claims may be URLs: the first `=` and the last `:` count. */
function rule(text: string, previous: readonly ScopeRule[] | undefined): readonly ScopeRule[] {
  const [, claim, value, scope] = RULE.exec(text) ?? [];
  if (claim === undefined || value === undefined || scope === undefined)
    throw new InvalidArgumentError("claim=value:scope is wanted: groups=dba:admin.");
  return [...(previous ?? []), { claim, value, scope: scope as ScopeRule["scope"] }];
}

function whole(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new InvalidArgumentError("A whole number is wanted.");
  return Number(text);
}
