import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type {
  SpecAtDocument,
  SpecBlameDocument,
  SpecDiffDocument,
  SpecDocument,
  SpecHistoryDocument,
} from "../api/spec-documents.ts";
import { editCommand, writing } from "./apply-command.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import type { CliPorts } from "./ports.ts";
import { renderBlame, renderChanges, renderHistory } from "./render-spec.ts";
import { renderSpecFile } from "./spec-file.ts";

/** `guacamole spec` */
export function specCommand(ports: CliPorts) {
  return new Command("spec")
    .summary("all that is wanted of the cluster, version by version, and the way back")
    .description(
      `Shows what operators want of the cluster and who wanted it: every change of settings, parameters, rules and
declared roles makes a version, and each carries the checksum of the one before. Secrets are never shown.
'guacamole apply -f FILE' wants what a file says. GUACAMOLE_REASON says why, for any command that changes something.`,
    )
    .addCommand(historyCommand(ports), { isDefault: true })
    .addCommand(showCommand(ports))
    .addCommand(exportCommand(ports))
    .addCommand(editCommand(ports))
    .addCommand(diffCommand(ports))
    .addCommand(blameCommand(ports))
    .addCommand(rollbackCommand(ports));
}

function historyCommand(ports: CliPorts) {
  return clientCommand("history")
    .summary("the versions, newest first")
    .description("Lists the versions that are kept: when, by whom, why, and what each changed.")
    .option("--limit <count>", "at most so many", whole, 20)
    .option("--before <generation>", "only older ones than this", whole)
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole spec history --limit 5\n  guacamole spec history --limit 5 --before 12",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const before = options.before === undefined ? "" : `&before=${options.before}`;
      const path = `/v1/spec/history?limit=${options.limit}${before}`;
      const history = await client.get<SpecHistoryDocument>(path);
      printResult(ports, options.output, history, renderHistory);
    });
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("all of one version")
    .description(
      "Prints all that is wanted, as YAML: now, with who has it in force, or in an earlier generation.",
    )
    .argument("[generation]", "which one (default: the present)", whole)
    .addHelpText("after", "\nExample:\n  guacamole spec show 12")
    .action(async (generation, options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await specOf(client, generation), (shown) => {
        const text = renderSpecFile(shown.spec);
        return "members" in shown ? `${text}\n${renderInForce(shown)}` : text;
      });
    });
}

/** Who has it, as a comment. */
function renderInForce({ generation, members }: SpecDocument): string {
  const others = members.filter(({ state }) => state !== "in-force");
  const told = others.map(({ name, state, generation: has }) =>
    has === null ? `${name}: ${state}` : `${name}: ${state}, it has ${has}`,
  );
  const where = told.length === 0 ? "every member" : `every member but ${told.join("; ")}`;
  return `# Generation ${generation}, in force on ${where}.\n`;
}

function exportCommand(ports: CliPorts) {
  return clientCommand("export")
    .summary("all that is wanted, as a file for 'guacamole apply'")
    .description(
      `Prints all that is wanted as YAML with comments, to be kept in git, edited, and given to 'guacamole apply -f'. The same
settings give the same text. Secrets are masked, and stay what they are where the mask is applied.`,
    )
    .argument("[generation]", "of an earlier version (default: the present)", whole)
    .addHelpText("after", "\nExample:\n  guacamole spec export > spec.yaml")
    .action(async (generation, options) => {
      const { spec } = await specOf(await openClient(ports, options), generation);
      printResult(ports, options.output, spec, (shown) => renderSpecFile(shown));
    });
}

/** Of a generation that is kept; undefined: the present one. */
function specOf(client: ApiClient, generation: number | undefined): Promise<SpecAtDocument | SpecDocument> {
  if (generation === undefined) return client.get<SpecDocument>("/v1/spec");
  return client.get<SpecAtDocument>(`/v1/spec/history/${generation}`);
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
      const made = await client.post<SpecHistoryDocument>(path, {}, writing(ports, options.reason));
      printResult(ports, options.output, made, renderHistory);
    });
}

/** A generation, or how many. */
export function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("A number from 1 is wanted.");
  return value;
}
