import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import { stringify } from "yaml";
import type {
  SpecAtDocument,
  SpecBlameDocument,
  SpecChangeDocument,
  SpecDiffDocument,
  SpecHistoryDocument,
  SpecVersionDocument,
} from "../api/spec-documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import type { CliPorts } from "./ports.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** `guacamole spec` */
export function specCommand(ports: CliPorts) {
  return new Command("spec")
    .summary("all that is wanted of the cluster, version by version, and the way back")
    .description(
      `Shows what operators want of the cluster and who wanted it: every change of settings, parameters, rules and
declared roles makes a version, and each carries the checksum of the one before. Secrets are never shown.
GUACAMOLE_REASON says why, for any command that changes something.`,
    )
    .addCommand(historyCommand(ports), { isDefault: true })
    .addCommand(showCommand(ports))
    .addCommand(diffCommand(ports))
    .addCommand(blameCommand(ports))
    .addCommand(rollbackCommand(ports));
}

function historyCommand(ports: CliPorts) {
  return clientCommand("history")
    .summary("the versions, newest first")
    .description("Lists the versions that are kept: when, by whom, why, and what each changed.")
    .option("--limit <count>", "at most so many", whole, 20)
    .addHelpText("after", "\nExample:\n  guacamole spec history --limit 5")
    .action(async (options) => {
      const client = await openClient(ports, options);
      const history = await client.get<SpecHistoryDocument>(`/v1/spec/history?limit=${options.limit}`);
      printResult(ports, options.output, history, renderHistory);
    });
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("all of one version")
    .description("Prints all that is wanted, as YAML: now, or in an earlier generation.")
    .argument("[generation]", "which one (default: the present)", whole)
    .addHelpText("after", "\nExample:\n  guacamole spec show 12")
    .action(async (generation, options) => {
      const client = await openClient(ports, options);
      const wanted = generation ?? (await client.get<SpecHistoryDocument>("/v1/spec/history")).generation;
      const version = await client.get<SpecAtDocument>(`/v1/spec/history/${wanted}`);
      printResult(ports, options.output, version, ({ spec }) => stringify(spec));
    });
}

function diffCommand(ports: CliPorts) {
  return clientCommand("diff")
    .summary("what two versions say differently")
    .description("Prints what changed from one generation to another, value by value.")
    .argument("<from>", "a generation", whole)
    .argument("[to]", "another (default: the present)", whole)
    .addHelpText("after", "\nExample:\n  guacamole spec diff 10 12")
    .action(async (from, to, options) => {
      const client = await openClient(ports, options);
      const upTo = to === undefined ? "" : `&to=${to}`;
      const diff = await client.get<SpecDiffDocument>(`/v1/spec/diff?from=${from}${upTo}`);
      printResult(ports, options.output, diff, ({ changes }) =>
        changes.length === 0 ? "They say the same.\n" : renderChanges(changes, ""),
      );
    });
}

function blameCommand(ports: CliPorts) {
  return clientCommand("blame")
    .summary("for each value: which version said so, who and why")
    .description("Lists the present values with the version, the author and the reason of each.")
    .argument("[path]", "only what begins so")
    .addHelpText("after", "\nExample:\n  guacamole spec blame postgres.parameters")
    .action(async (path, options) => {
      const client = await openClient(ports, options);
      const query = path === undefined ? "" : `?path=${encodeURIComponent(path)}`;
      const found = await client.get<SpecBlameDocument>(`/v1/spec/blame${query}`);
      printResult(ports, options.output, found, renderBlame);
    });
}

function rollbackCommand(ports: CliPorts) {
  return clientCommand("rollback")
    .summary("want again what was wanted in an earlier version")
    .description(
      `Makes an earlier version the wanted one again, as a new version. The servers are asked first, as for every change.
'guacamole spec diff GENERATION' shows what that changes, read from there to here.`,
    )
    .argument("<generation>", "back to this one", whole)
    .option("--reason <text>", "why: it stands in the history and in the audit trail")
    .addHelpText("after", '\nExample:\n  guacamole spec rollback 11 --reason "INC-4711: too little work_mem"')
    .action(async (generation, options) => {
      const client = await openClient(ports, options);
      const path = `/v1/spec/history/${generation}/rollback`;
      const why = options.reason === undefined ? {} : { reason: options.reason };
      const made = await client.post<SpecHistoryDocument>(path, {}, why);
      printResult(ports, options.output, made, renderHistory);
    });
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("A number from 1 is wanted.");
  return value;
}

function renderHistory({ versions, generation }: SpecHistoryDocument): string {
  if (versions.length === 0) return `Generation ${generation}; no earlier version is kept.\n`;
  return versions.map(renderVersion).join("\n");
}

function renderVersion({
  generation,
  at,
  by,
  byName,
  reason,
  request,
  checksum,
  changes,
}: SpecVersionDocument) {
  const why = reason === null ? "" : `  ${reason}`;
  const how = request === null ? "" : `  ${request}`;
  const head = `${generation}  ${at}  ${byName ?? by}${how}  ${checksum.slice(0, 12)}${why}`;
  return `${withoutControls(head)}\n${renderChanges(changes, "    ")}`;
}

function renderChanges(changes: readonly SpecChangeDocument[], indent: string): string {
  return changes
    .map(({ path, at, before, after }) => {
      const place = at === null ? path : `${path}[${at}…]`;
      return `${withoutControls(`${indent}${place}: ${textOf(before)} -> ${textOf(after)}`)}\n`;
    })
    .join("");
}

function renderBlame({ values, untold }: SpecBlameDocument): string {
  const rows = values.map(({ path, value, generation, at, by, reason }) => [
    path,
    textOf(value),
    generation === null ? "-" : String(generation),
    at ?? "-",
    by ?? "-",
    reason ?? "",
  ]);
  const more = untold === 0 ? "" : `and ${untold} more; name a path\n`;
  return `${renderTable(["path", "value", "version", "since", "by", "reason"], rows)}${more}`;
}

const TEXT_MAX = 80;

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "-";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX)}…`;
}
