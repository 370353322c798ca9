import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { ParametersDocument } from "../api/parameter-documents.ts";
import type { SuggestionsDocument } from "../api/suggest-routes.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import type { CliPorts } from "./ports.ts";
import { renderParameters } from "./render-parameters.ts";
import { renderBytes } from "./render-status.ts";
import { renderTable, withoutControls } from "./render-table.ts";

const READ_DEADLINE_MS = 10_000;
const CHANGE_DEADLINE_MS = 45_000;

/** `guacamole config suggest` */
export function suggestCommand(ports: CliPorts) {
  return clientCommand("suggest")
    .summary("starting values by the memory, cores and disks of the members")
    .description(
      "Suggests starting values, each with its reason, beside what is in effect. For the weakest member, since each may become\nprimary; with --member for one alone. They are where one begins to measure. Nothing is changed without --apply.",
    )
    .option("--member <name>", "for this member alone, without what all must share")
    .addOption(
      new Option("--workload <kind>", "what it is for")
        .choices(["web", "oltp", "analytics", "mixed"] as const)
        .default("mixed" as const),
    )
    .option("--connections <number>", "how many connections there shall be", parseConnections)
    .option("--apply", "want what differs, with the checks of 'guacamole config set'")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole config suggest --workload oltp --connections 200\n  guacamole config suggest --apply && guacamole restart --pending-only",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const { member, workload, connections, apply } = options;
      const query = new URLSearchParams({
        workload,
        ...(member === undefined ? {} : { member }),
        ...(connections === undefined ? {} : { connections: `${connections}` }),
      });
      const path = `/v1/parameters/suggest?${query.toString()}`;
      const suggested = await client.get<SuggestionsDocument>(path, READ_DEADLINE_MS);
      const different = suggested.suggestions.filter(({ isDifferent }) => isDifferent);
      if (apply !== true || different.length === 0) {
        printResult(ports, options.output, suggested, renderSuggestions);
        return;
      }
      const changes = Object.fromEntries(different.map(({ name, value }) => [name, value]));
      const body = member === undefined ? { cluster: changes } : { members: { [member]: changes } };
      const changed = await client.patch<ParametersDocument>("/v1/parameters", body, {
        idempotencyKey: ports.newId(),
        deadlineMs: CHANGE_DEADLINE_MS,
      });
      printResult(ports, options.output, changed, (seen) => renderParameters(seen, { isDetailed: false }));
    });
}

/** What differs first, then what is so already. */
export function renderSuggestions(document: SuggestionsDocument): string {
  const sorted = document.suggestions.toSorted((a, b) => Number(b.isDifferent) - Number(a.isDifferent));
  const machines = document.machines.map(
    ({ member, memoryBytes, isMemoryLimited, cores, disk, diskBytes }) =>
      `${member}: ${renderBytes(memoryBytes)} memory${isMemoryLimited ? " (limited)" : ""}, ${cores} cores, ${renderBytes(diskBytes)} ${disk === "unknown" ? "disk of unknown kind" : disk}`,
  );
  const head = `for ${document.for === "cluster" ? "the cluster" : document.for}, ${document.workload}, ${document.connections} connections`;
  const unseen = document.unseen.map(({ member, why }) => `${member} was not asked: ${why}`);
  const table = renderTable(
    ["parameter", "in effect", "suggested", "", "because"],
    sorted.map(({ name, effective, value, isDifferent, needsRestart, reason }) => [
      name,
      effective ?? "-",
      isDifferent ? value : "as it is",
      isDifferent && needsRestart ? "at a start" : "",
      reason,
    ]),
  );
  return `${[head, ...machines, ...unseen].map((line) => `${withoutControls(line)}\n`).join("")}\n${table}`;
}

function parseConnections(text: string): number {
  if (!/^[0-9]{2,5}$/.test(text)) throw new InvalidArgumentError("A number from 10 to 10000 is wanted.");
  return Number(text);
}
