import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { NewTokenDocument, TokenDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable } from "./render-table.ts";

const SCOPES = ["health", "viewer", "operator", "access", "admin"] as const;

/** `guacamole token …` */
export function tokenCommand(ports: CliPorts) {
  return new Command("token")
    .summary("who may use the API, and for what")
    .description(
      `Makes, lists and revokes tokens of the API. What each scope is for:

  health     metrics
  viewer     every read, but tokens and the audit trail
  operator   also switchover, pause, members, how commits are kept
  access     also who may connect to PostgreSQL and as whom; not what an operator may
  admin      everything, tokens among it`,
    )
    .addCommand(createCommand(ports))
    .addCommand(listCommand(ports))
    .addCommand(revokeCommand(ports));
}

function createCommand(ports: CliPorts) {
  return clientCommand("create")
    .summary("make one; its secret is shown this once")
    .description("Makes a token and prints it: the secret is shown this once and kept nowhere.")
    .argument("<name>", "who or what uses it: unique, for people")
    .addOption(new Option("--scope <scope>", "what it is for").choices(SCOPES).makeOptionMandatory())
    .option("--expires <duration>", "how long it is good: 12h, 90d. Without it: until it is revoked", seconds)
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole token create grafana --scope health\n  guacamole token create ann --scope operator --expires 90d --output json | jq -r .token",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const made = await client.post<NewTokenDocument>("/v1/tokens", {
        name,
        scope: options.scope,
        ...(options.expires === undefined ? {} : { expiresIn: options.expires }),
      });
      printResult(ports, options.output, made, ({ token, scope, expiresAt }) =>
        [
          `  token     ${token}`,
          "            keep it: it is shown this once (GUACAMOLE_TOKEN)",
          `  scope     ${scope}`,
          `  expires   ${expiresAt ?? "never"}`,
          "",
        ].join("\n"),
      );
    });
}

function listCommand(ports: CliPorts) {
  return clientCommand("list")
    .description(
      "Lists the tokens, never their secrets. When one was used last is known to the hour where another member was asked.",
    )
    .addHelpText("after", "\nExample:\n  guacamole token list")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<TokenDocument[]>("/v1/tokens"), renderTokens);
    });
}

function revokeCommand(ports: CliPorts) {
  return clientCommand("revoke")
    .description(
      "Revokes a token. Any, also the last one: on a member's own host its Unix socket always remains.",
    )
    .argument("<name>", "its name, or its id")
    .addHelpText("after", "\nExample:\n  guacamole token revoke grafana")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const id = idOf(name, await client.get<TokenDocument[]>("/v1/tokens"));
      const left = await client.delete<TokenDocument[]>(`/v1/tokens/${encodeURIComponent(id)}`, {
        idempotencyKey: ports.newId(),
      });
      printResult(ports, options.output, left, renderTokens);
    });
}

/** @throws {CliError} where no token has this id or name. */
function idOf(name: string, tokens: readonly TokenDocument[]): string {
  const meant = tokens.find((token) => token.id === name) ?? tokens.find((token) => token.name === name);
  if (meant !== undefined) return meant.id;
  throw new CliError(
    EXIT.refused,
    "No token has this name or id; nothing was changed.",
    "See 'guacamole token list'.",
  );
}

function renderTokens(tokens: readonly TokenDocument[]): string {
  return renderTable(
    ["name", "scope", "id", "made", "by", "expires", "last used"],
    tokens.map((token) => [
      token.name ?? "-",
      token.scope,
      token.id,
      token.createdAt,
      token.by ?? "-",
      token.isExpired ? "expired" : (token.expiresAt ?? "never"),
      token.lastUsedAt ?? "-",
    ]),
  );
}

const SECONDS: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400 };

function seconds(text: string): number {
  const match = /^([0-9]{1,6})([mhd])$/.exec(text);
  const unit = SECONDS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A duration is wanted: 30m, 12h or 90d.");
  return Number(match[1]) * unit;
}
