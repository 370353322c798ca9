import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type {
  ClientCertificatesDocument,
  ClientCertificatesRequest,
} from "../api/client-certificate-documents.ts";
import { CERTIFICATE_ATTRIBUTES } from "../cluster/identity.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";
import { readText } from "./spec-file.ts";

const PATH = "/v1/access/client-certificates";

/** `guacamole client-certificate …` */
export function clientCertificateCommand(ports: CliPorts) {
  return new Command("client-certificate")
    .summary("let people and programs in by a TLS client certificate of your own authority")
    .description(
      `Says whose certificates let in instead of a token, and what whoever has one may do. A member takes them on a port of its
own, which its file names ([api] certificate-listen = "0.0.0.0:8010"): 'guacamole --client-cert FILE --client-key FILE --endpoint
HOST:8010', or 'curl --cert FILE --key FILE'. Guacamole's own tokens go on as before.`,
    )
    .addCommand(showCommand(ports), { isDefault: true })
    .addCommand(setCommand(ports))
    .addCommand(removeCommand(ports));
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("whose certificates are taken, and what they may do")
    .description(
      "Shows the authorities with their rules, and where the member that answers takes certificates.",
    )
    .addHelpText("after", "\nExample:\n  guacamole client-certificate show")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<ClientCertificatesDocument>(PATH), render);
    });
}

const collect = (value: string, previous: readonly string[] | undefined): readonly string[] => [
  ...(previous ?? []),
  value,
];

function setCommand(ports: CliPorts) {
  return clientCommand("set")
    .summary("take certificates, or change whose and what for")
    .description(
      `What is named replaces what was said, the rest stays. Every rule that fits gives its scope; whoever fits none may do nothing.
Attributes: ${CERTIFICATE_ATTRIBUTES.join(", ")}. 'guacamole token --help' says what the scopes are for. A certificate cannot be taken back
before it ends; '--block' refuses it here.`,
    )
    .option("--ca-file <file>", "PEM: the authorities whose certificates are taken, all of them")
    .option(
      "--map <attribute=value:scope>",
      "whoever's certificate has this value has this scope; may be given again, and replaces all rules",
      rule,
    )
    .option("--block <sha256>", "refuse this certificate from now on; may be given again", collect)
    .option("--unblock <sha256>", "not any more; may be given again", collect)
    .addHelpText(
      "after",
      `
Examples:
  guacamole client-certificate set --ca-file corp-ca.pem --map ou=dba:admin --map uri=spiffe://example.org/ci:operator
  guacamole client-certificate set --block "$(openssl x509 -in ann.crt -outform der | sha256sum | cut -d' ' -f1)"`,
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const said = options.caFile === undefined ? undefined : await readText(options.caFile);
      const { generation, wanted } = await client.get<ClientCertificatesDocument>(PATH);
      const authorities = said ?? wanted?.authorities;
      if (authorities === undefined)
        throw new CliError(EXIT.usage, "no certificates are taken yet: --ca-file is wanted");
      const unblocked = new Set((options.unblock ?? []).map(plainDigest));
      const blocked = [...(wanted?.blocked ?? []), ...(options.block ?? []).map(plainDigest)].filter(
        (each) => !unblocked.has(each),
      );
      const body: ClientCertificatesRequest = {
        authorities,
        scopes: [...(options.map ?? wanted?.scopes ?? [])],
        blocked,
      };
      const made = await client.put<ClientCertificatesDocument>(PATH, body, {
        ifMatch: `"${generation}"`,
        idempotencyKey: ports.newId(),
      });
      printResult(ports, options.output, made, render);
    });
}

function removeCommand(ports: CliPorts) {
  return clientCommand("remove")
    .summary("take none any more")
    .description("Forgets the authorities and the rules. Each member ends such connections once it knows.")
    .addHelpText("after", "\nExample:\n  guacamole client-certificate remove")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const made = await client.delete<ClientCertificatesDocument>(PATH, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, made, render);
    });
}

function render({ wanted, authorities, port, problem, answeredBy }: ClientCertificatesDocument): string {
  if (wanted === null) return "Nobody is believed by a client certificate.\n";
  const where =
    port === null
      ? `${answeredBy} takes none: its file names no [api] certificate-listen`
      : `${answeredBy} takes them on port ${port}${problem === null ? "" : `, or should: it ${problem}`}`;
  const lines = [
    where,
    ...authorities.map(({ subject, expiresAt }) => `authority: ${subject}, until ${expiresAt}`),
    ...(wanted.blocked ?? []).map((each) => `refused: ${each}`),
  ].map((line) => `${withoutControls(line)}\n`);
  const rules =
    wanted.scopes.length === 0
      ? "no rule gives anybody a scope\n"
      : renderTable(
          ["attribute", "value", "scope"],
          wanted.scopes.map(({ attribute, value, scope }) => [attribute, withoutControls(value), scope]),
        );
  return `${lines.join("")}${rules}`;
}

/** With colons and capitals, as other programs print it. */
function plainDigest(text: string): string {
  const digest = text.replaceAll(":", "").toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(digest))
    throw new CliError(EXIT.usage, `'${text}' is no SHA-256: 64 hexadecimal digits`);
  return digest;
}

type CertificateRule = ClientCertificatesRequest["scopes"][number];

const RULE = /^([a-z0-9]+)=(.+):(health|viewer|operator|access|admin)$/;

/** Values may hold a colon: the first `=` and the last `:` count. */
function rule(text: string, previous: readonly CertificateRule[] | undefined): readonly CertificateRule[] {
  const [, name, value, scope] = RULE.exec(text) ?? [];
  const attribute = CERTIFICATE_ATTRIBUTES.find((each) => each === name);
  if (attribute === undefined || value === undefined || scope === undefined)
    throw new InvalidArgumentError(
      `attribute=value:scope is wanted, of ${CERTIFICATE_ATTRIBUTES.join(", ")}: ou=dba:admin.`,
    );
  return [...(previous ?? []), { attribute, value, scope: scope as CertificateRule["scope"] }];
}
