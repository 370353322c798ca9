import type { AuditPageDocument, AuditRecordDocument } from "../api/documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import { pause } from "./follow-operation.ts";
import type { CliPorts } from "./ports.ts";
import { withoutControls } from "./render-table.ts";

const PAGE_RECORDS = 500;
const LOOK_EVERY_MS = 1_000;

/** `guacamole audit` */
export function auditCommand(ports: CliPorts) {
  const command = clientCommand("audit")
    .summary("who changed what, from where, and who was refused")
    .description(
      `Prints the audit trail, oldest first: changes with what was agreed before and after, and refusals.
Changes are the same on every member. Refusals are those of the member that is asked, since it started;
each member's log has all of both (events audit.change and audit.refused), and sends them to syslog where its file says so
([audit] syslog). --output jsonl prints one JSON object a line, as it is sent there.`,
    )
    .option("-f, --follow", "go on as things happen, until Ctrl-C")
    .option(
      "--by <author>",
      "a token's name or id, ISSUER#SUBJECT, a name that an identity provider says, or local",
    )
    .option("--since <time>", "2h, 7d, or a time as ISO 8601 writes it")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole audit --since 24h\n  guacamole audit --by ann --output jsonl > ann.jsonl\n  guacamole audit --follow",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const format: string = options.output;
      const query = {
        ...(options.by === undefined ? {} : { by: options.by }),
        ...(options.since === undefined ? {} : { since: sinceOf(options.since, ports.clock.wallMs()) }),
      };
      const print = (records: readonly AuditRecordDocument[]) => {
        const isLines = format === "jsonl" || (format === "json" && options.follow === true);
        if (isLines) ports.terminal.out(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
        else printResult(ports, options.output, records, renderRecords);
      };
      if (options.follow === true) await follow(ports, client, query, print);
      else print((await readAll(client, query, "0.0")).records);
    });
  command.options
    .find((option) => option.attributeName() === "output")
    ?.choices(["table", "json", "yaml", "jsonl"]);
  return command;
}

type Query = Readonly<Record<string, string>>;

async function readAll(client: ApiClient, query: Query, after: string) {
  const records: AuditRecordDocument[] = [];
  let next = after;
  while (true) {
    const parameters = new URLSearchParams({ ...query, after: next, limit: String(PAGE_RECORDS) });
    const page = await client.get<AuditPageDocument>(`/v1/audit?${parameters}`);
    records.push(...page.records);
    next = page.next;
    if (page.records.length < PAGE_RECORDS) return { records, next };
  }
}

/** Goes on after a member went away: from the last record that was seen. */
async function follow(
  ports: CliPorts,
  client: ApiClient,
  query: Query,
  print: (records: readonly AuditRecordDocument[]) => void,
): Promise<void> {
  let next = "0.0";
  let isFirst = true;
  let isAway = false;
  do {
    try {
      const page = await readAll(client, query, next);
      next = page.next;
      [isFirst, isAway] = [false, false];
      if (page.records.length > 0) print(page.records);
    } catch (error) {
      if (isFirst || !(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
      if (!isAway) ports.terminal.err("The member went away; trying again.\n");
      isAway = true;
    }
  } while (await pause(ports, LOOK_EVERY_MS));
}

function renderRecords(records: readonly AuditRecordDocument[]): string {
  return records.map(renderRecord).join("");
}

function renderRecord(record: AuditRecordDocument): string {
  const { at, by, byName, address, request, reason, outcome, status, code, why, values, untold } = record;
  const who = byName ?? by ?? "nobody known";
  const head = [
    at,
    (outcome === "refused" ? `${status} ${code}` : outcome).padEnd(24),
    request,
    `by ${who}`,
    ...(address === null ? [] : [`from ${address}`]),
    ...(reason === null ? [] : [`because: ${reason}`]),
    ...(why === null ? [] : [`(${why})`]),
  ].join("  ");
  const lines = values.map(({ path, before, after }) => `    ${path}: ${before ?? "-"} -> ${after ?? "-"}`);
  const more = untold === 0 ? [] : [`    and ${untold} more`];
  return [head, ...lines, ...more].map((line) => `${withoutControls(line)}\n`).join("");
}

const UNIT_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function sinceOf(text: string, wallMs: number): string {
  const match = /^([0-9]{1,6})([mhd])$/.exec(text);
  const unitMs = UNIT_MS[match?.[2] ?? ""];
  const atMs = match !== null && unitMs !== undefined ? wallMs - Number(match[1]) * unitMs : Date.parse(text);
  if (Number.isFinite(atMs)) return new Date(Math.max(0, atMs)).toISOString();
  throw new CliError(EXIT.usage, "--since: a duration (2h, 7d) or a time (2026-03-01T10:00:00Z) is wanted");
}
