import { readFile } from "node:fs/promises";
import { Command, Option } from "@commander-js/extra-typings";
import type { Result } from "../base/result.ts";
import { type OutputFormat, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import type { Inspection, NewGroup, NewGroupPlan } from "./recover-ports.ts";
import { compareInspections, renderComparison, renderInspection, renderPlan } from "./render-recovery.ts";

const USUAL_DATA_DIR = "/var/lib/guacamole";

const STEPS = `
The day a majority is gone for good:
  1. stop guacamole on every survivor; what runs must not be worked on
  2. guacamole recover inspect --output json > m1.json     on each survivor
  3. guacamole recover compare m1.json m3.json             anywhere: who knows the most
  4. guacamole recover force-new-group --dry-run           on that one: what is kept, what is lost
  5. guacamole recover force-new-group                     there; then start guacamole on it
  6. empty the data-dir of all others, and let them join anew
While a majority can come back, let it come back instead: nothing is lost then.
`;

/** `guacamole recover …` */
export function recoverCommand(ports: CliPorts) {
  return new Command("recover")
    .summary("offline tools for the day a majority is gone")
    .description("Looks into a stopped member's data directory, and makes a new group of what is left.")
    .addHelpText("after", STEPS)
    .addCommand(inspectCommand(ports))
    .addCommand(compareCommand(ports))
    .addCommand(forceCommand(ports))
    .addCommand(restoreCommand(ports));
}

/** None of these asks a member: they take no endpoint and no token. */
function offlineCommand(name: string) {
  return new Command(name).addOption(
    new Option("-o, --output <format>", "how to print the result")
      .choices(["table", "json", "yaml"] as const)
      .default("table" as const),
  );
}

function inspectCommand(ports: CliPorts) {
  return offlineCommand("inspect")
    .description(
      "Reads and checks a stopped member's log, and says how much it knows. Changes nothing.\nExits with 5 if something in it is broken.",
    )
    .option("--data-dir <dir>", "the member's data-dir", USUAL_DATA_DIR)
    .addHelpText(
      "after",
      "\nExample:\n  guacamole recover inspect --data-dir /var/lib/guacamole --output json",
    )
    .action(async ({ dataDir, output }) => {
      const inspection = unwrap(await ports.recover.inspect(dataDir));
      printResult(ports, output, inspection, renderInspection);
      if (inspection.flaws.length > 0) {
        throw new CliError(
          EXIT.failed,
          `the log of ${inspection.memberName} is broken`,
          "Recover from another survivor if there is one. This one must not take part as it is: remove it, empty its data-dir, and let it join anew.",
        );
      }
    });
}

function compareCommand(ports: CliPorts) {
  return offlineCommand("compare")
    .description(
      "Compares what 'recover inspect --output json' said on several survivors: who knows the most.",
    )
    .argument("<files...>", "the saved JSON of each survivor")
    .addHelpText("after", "\nExample:\n  guacamole recover compare m1.json m3.json")
    .action(async (files, { output }) => {
      const inspections = await Promise.all(files.map(readInspection));
      const comparison = compareInspections(inspections);
      printResult(ports, output, comparison, renderComparison);
      if (comparison.best === null) throw new CliError(EXIT.refused, comparison.advice);
    });
}

function forceCommand(ports: CliPorts) {
  return offlineCommand("force-new-group")
    .description(
      "Makes the stopped member of this host a new group of one, with all that it knows, also what it does not know to be\nagreed. The others are members no more, and must never run again on what they have. Asks for the cluster's name first.",
    )
    .option("--data-dir <dir>", "the member's data-dir", USUAL_DATA_DIR)
    .option("--dry-run", "say what would be kept, dropped, and done elsewhere; change nothing")
    .option("--make-primary", "its PostgreSQL becomes primary; commits that it has not received are lost")
    .option("--yes-i-lose-the-others <cluster>", "for scripts: the cluster's name, instead of typing it")
    .addHelpText("after", "\nExample:\n  guacamole recover force-new-group --dry-run")
    .action(async ({ dataDir, dryRun, makePrimary, yesILoseTheOthers, output }) => {
      const request = { dataDir, makePrimary: makePrimary === true };
      const plan = unwrap(await ports.recover.plan(request));
      if (dryRun === true) {
        printResult(ports, output, plan, renderPlan);
        return;
      }
      await confirm(ports, plan, yesILoseTheOthers, output);
      const made = unwrap(await ports.recover.forceNewGroup(request));
      printResult(ports, output, made, renderNewGroup);
    });
}

function restoreCommand(ports: CliPorts) {
  return offlineCommand("restore")
    .description(
      "Makes a new group of one from a file of 'guacamole backup-state', in an empty data-dir. What was agreed after the\nbackup is lost. For the day when no member's data-dir is left.",
    )
    .argument("<file>", "the backup")
    .requiredOption("--member <name>", "which member of the backup this host shall be")
    .option("--data-dir <dir>", "the member's data-dir: empty, or not there", USUAL_DATA_DIR)
    .option("--make-primary", "its PostgreSQL becomes primary; commits that it has not received are lost")
    .addHelpText("after", "\nExample:\n  guacamole recover restore /backup/guacamole.state --member m1")
    .action(async (file, { dataDir, member, makePrimary, output }) => {
      const request = { file, dataDir, memberName: member, makePrimary: makePrimary === true };
      printResult(ports, output, unwrap(await ports.recover.restore(request)), renderNewGroup);
    });
}

/** Whoever types the name has read which cluster it is. */
async function confirm(
  ports: CliPorts,
  plan: NewGroupPlan,
  given: string | undefined,
  output: OutputFormat,
): Promise<void> {
  if (given !== undefined && given === plan.clusterName) return;
  if (given !== undefined || !ports.terminal.isInteractive || output !== "table") {
    throw new CliError(
      EXIT.usage,
      given === undefined
        ? "this needs a person who types the cluster's name"
        : `this is not the name of the cluster: ${plan.memberName} belongs to '${plan.clusterName}'`,
      "In a script: --yes-i-lose-the-others NAME, after a look at --dry-run.",
    );
  }
  ports.terminal.err(`${renderPlan(plan)}\n`);
  const typed = await ports.readLine(`Type the cluster's name (${plan.clusterName}) to go on: `);
  if (typed?.trim() === plan.clusterName) return;
  throw new CliError(EXIT.refused, "that is not the cluster's name; nothing was changed");
}

function renderNewGroup(made: NewGroup): string {
  return [
    `${made.memberName} is a group of its own now: cluster '${made.clusterName}', ${made.newClusterId}.`,
    ...made.elsewhere.map((each) => `  ${each}`),
    "Start guacamole on this host; 'guacamole status' shows the rest.",
    "",
  ].join("\n");
}

async function readInspection(path: string): Promise<Inspection> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    const isOne = typeof value === "object" && value !== null && "lastTerm" in value && "lastIndex" in value;
    if (isOne) return value as Inspection;
  } catch (error) {
    throw new CliError(
      EXIT.usage,
      `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  throw new CliError(EXIT.usage, `${path} is not the output of 'guacamole recover inspect --output json'`);
}

/** @throws {CliError} `refused`: what stands in the way is on this host, and nothing was changed. */
function unwrap<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new CliError(EXIT.refused, result.error);
}
