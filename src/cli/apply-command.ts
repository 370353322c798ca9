import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { SpecBody } from "../api/spec-body.ts";
import type { SpecAppliedDocument, SpecDocument } from "../api/spec-documents.ts";
import type { ApiClient, WriteOptions } from "./client.ts";
import { clientCommand, type OutputFormat, openClient, printResult } from "./client-command.ts";
import type { ConnectionOptions } from "./connection.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderApplied } from "./render-spec.ts";
import { parseSpecFile, readSpecFile, renderSpecFile } from "./spec-file.ts";

const PATH = "/v1/spec";
/** Every member's PostgreSQL is asked, and a trial takes its time. */
const CHANGE_DEADLINE_MS = 45_000;

/** `guacamole apply` */
export function applyCommand(ports: CliPorts, finish: (exitCode: number) => void) {
  return clientCommand("apply")
    .summary("want all that a file says, as one change or not at all")
    .description(
      `Wants what a YAML file says: durability, timing, parameters, rules for connections, roles, databases. It is written by
'guacamole spec export', and may live in git. A section that is not in it stays as it is; one that is in it is all that is
wanted there. All of it goes through the checks of the single commands, and is one change or none.`,
    )
    .requiredOption("-f, --file <file>", "the YAML; '-' reads standard input")
    .option("--dry-run", "check all of it and say what it would change; exit code 7: something")
    .option("--if-generation <number>", "only if the present generation is this one", generation)
    .option("--reason <text>", "why: it stands in the history and in the audit trail")
    .addHelpText(
      "after",
      `
Examples:
  guacamole spec export > spec.yaml
  guacamole apply -f spec.yaml --dry-run
  guacamole apply -f spec.yaml --reason "$(git log -1 --format=%s)"`,
    )
    .action(async (options) => {
      const body = await readSpecFile(options.file);
      const client = await openClient(ports, options);
      const isDry = options.dryRun === true;
      const applied = await client.put<SpecAppliedDocument>(isDry ? `${PATH}?dryRun=true` : PATH, body, {
        ...writing(ports, options.reason),
        ...(options.ifGeneration === undefined ? {} : { ifMatch: `"${options.ifGeneration}"` }),
      });
      printResult(ports, options.output, applied, renderApplied);
      if (isDry && applied.changes.length > 0) finish(EXIT.differs);
    });
}

/** What goes with every change of the spec. */
export function writing(ports: CliPorts, reason: string | undefined): WriteOptions {
  return {
    idempotencyKey: ports.newId(),
    deadlineMs: CHANGE_DEADLINE_MS,
    ...(reason === undefined ? {} : { reason }),
  };
}

/** `guacamole spec edit`, or of one section only, `guacamole config edit`. */
export function editCommand(ports: CliPorts, only?: readonly (keyof SpecBody)[]) {
  const what = only === undefined ? "all that is wanted" : "PostgreSQL's parameters";
  const command = only === undefined ? "spec" : "config";
  return clientCommand("edit")
    .summary(`change ${what} in an editor`)
    .description(
      `Opens ${what} in $VISUAL or $EDITOR as YAML, and wants what comes out of it, as one change or not at all.
If somebody else changed something meanwhile, it is refused. Where it is refused for what it says, it can be edited again.`,
    )
    .option("--reason <text>", "why: it stands in the history and in the audit trail")
    .addHelpText("after", `\nExample:\n  EDITOR=nano guacamole ${command} edit --reason "INC-4711"`)
    .action(async (options) => {
      const client = await openClient(ports, options);
      const present = await client.get<SpecDocument>(PATH);
      const text = renderSpecFile(present.spec, only);
      const applied = await editUntilTaken(ports, text, (edited) =>
        client.put<SpecAppliedDocument>(PATH, parseSpecFile(edited, "what was edited"), {
          ...writing(ports, options.reason),
          ifMatch: `"${present.generation}"`,
        }),
      );
      if (applied === null) ports.terminal.err("Nothing was changed.\n");
      else printResult(ports, options.output, applied, renderApplied);
    });
}

/** Null: it was left as it was. */
async function editUntilTaken(
  ports: CliPorts,
  before: string,
  take: (edited: string) => Promise<SpecAppliedDocument>,
): Promise<SpecAppliedDocument | null> {
  let text = before;
  for (;;) {
    const edited = await ports.edit(text);
    if (edited === null) throw new CliError(EXIT.failed, "the editor failed; nothing was changed");
    if (edited === before) return null;
    text = edited;
    try {
      return await take(text);
    } catch (error) {
      const isWrong =
        error instanceof CliError && [EXIT.usage, EXIT.refused].some((code) => code === error.exitCode);
      if (!isWrong) throw error;
      ports.terminal.err(`guacamole: ${error.message}\n`);
      const answer = await ports.readLine("Edit it again? [Y/n] ");
      if (answer === null || /^n/i.test(answer.trim())) throw error;
    }
  }
}

/** Wants a part of an earlier version again. */
export async function wantAgain(
  ports: CliPorts,
  client: ApiClient,
  body: SpecBody,
  options: ConnectionOptions & { readonly output: OutputFormat; readonly reason: string },
): Promise<void> {
  const applied = await client.put<SpecAppliedDocument>(PATH, body, writing(ports, options.reason));
  printResult(ports, options.output, applied, renderApplied);
}

function generation(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("A number from 1 is wanted.");
  return value;
}
