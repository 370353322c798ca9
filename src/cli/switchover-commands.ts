import type { HooksDocument, OperationDocument, ScheduledSwitchoverDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { finish } from "./cluster-commands.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderScheduled } from "./render-status.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** A hook of the primary's host may take its time before anything is begun. */
const HOOKED_DEADLINE_MS = 40_000;

/** `guacamole switchover` */
export function switchoverCommand(ports: CliPorts) {
  return clientCommand("switchover")
    .summary("make another member primary, losing nothing: now, or at a time")
    .description(
      "Makes another member primary. The old one stops cleanly first and comes back as a standby.\nClients are held for a moment; no acknowledged commit is lost.\n\nWith --at it is scheduled: whoever leads then does it once. Where it cannot be done then (the primary has changed, automatic\nfailover is paused, the target does not stream, nobody led for five minutes) it is given up, and 'guacamole operation list'\nsays why.",
    )
    .option("--to <name>", "the member to promote (default: the one that a failover would choose)")
    .option("--at <time>", "when, in RFC 3339 with a zone: 2027-01-31T03:00:00+01:00 (default: now)")
    .option("--list", "show the switchover that is scheduled")
    .option("--cancel", "take the scheduled switchover back")
    .option("--wait", "follow it to its end; one that is scheduled is not waited for", true)
    .option("--no-wait", "return once it has begun")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole switchover --to m2\n  guacamole switchover --to m2 --at 2027-01-31T03:00:00+01:00\n  guacamole switchover --cancel",
    )
    .action(async (options) => {
      requireOneWish(options);
      const client = await openClient(ports, options);
      const path = "/v1/switchover";
      if (options.list === true || options.cancel === true) {
        const idempotencyKey = ports.newId();
        const scheduled =
          options.cancel === true
            ? await client.delete<ScheduledSwitchoverDocument[]>(path, { idempotencyKey })
            : await client.get<ScheduledSwitchoverDocument[]>(path);
        printResult(ports, options.output, scheduled, renderSchedule);
        return;
      }
      const { to, at } = options;
      const body = { ...(to === undefined ? {} : { to }), ...(at === undefined ? {} : { at }) };
      const answer = await client.post<OperationDocument | ScheduledSwitchoverDocument>(path, body, {
        idempotencyKey: ports.newId(),
        deadlineMs: HOOKED_DEADLINE_MS,
      });
      if ("status" in answer) await finish(ports, client, answer, options);
      else printResult(ports, options.output, answer, (scheduled) => renderSchedule([scheduled]));
    });
}

/** @throws {CliError} where two things are asked for at once. */
function requireOneWish(wanted: {
  readonly to?: string | undefined;
  readonly at?: string | undefined;
  readonly list?: true | undefined;
  readonly cancel?: true | undefined;
}): void {
  const isNamed = wanted.to !== undefined || wanted.at !== undefined;
  const wishes = [isNamed, wanted.list === true, wanted.cancel === true].filter(Boolean).length;
  if (wishes <= 1) return;
  throw new CliError(EXIT.usage, "--list and --cancel stand alone", "See 'guacamole switchover --help'.");
}

function renderSchedule(scheduled: readonly ScheduledSwitchoverDocument[]): string {
  if (scheduled.length === 0) return "No switchover is scheduled.\n";
  return scheduled
    .map((each) => `${withoutControls(`${renderScheduled(each)} (operation ${each.id})`)}\n`)
    .join("");
}

/** `guacamole hooks` */
export function hooksCommand(ports: CliPorts) {
  return clientCommand("hooks")
    .summary("programs that are run around changes of the primary, and what came of each")
    .description(
      "Lists the programs that hosts' owners have run around changes of the primary, and what came of each last.\nA host's owner names them in its guacamole.toml, under [hooks]: before-switchover, on-role-change, after-switchover,\nafter-failover, timeout-seconds, attempts.",
    )
    .addHelpText("after", "\nExample:\n  guacamole hooks --output json")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<HooksDocument>("/v1/hooks"), renderHooks);
    });
}

function renderHooks(hooks: HooksDocument): string {
  if (hooks.length === 0) return "No host names a program, or none that is heard.\n";
  return renderTable(
    ["member", "hook", "program", "last", "at", "detail"],
    hooks.map(({ member, hook, program, last }) => [
      member,
      hook,
      program,
      last === null ? "-" : last.isOk ? "ran" : `FAILED (${last.attempts} times)`,
      last === null ? "-" : last.at,
      last?.detail ?? "",
    ]),
  );
}
