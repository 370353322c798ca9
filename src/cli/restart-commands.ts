import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { MemberDocument, OperationDocument } from "../api/documents.ts";
import type { ApiClient } from "./client.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { finish } from "./cluster-commands.ts";
import type { CliPorts } from "./ports.ts";
import { renderMemberList } from "./render-members.ts";
import { renderOperation } from "./render-status.ts";

const strategyOption = () =>
  new Option("--strategy <how>", "how the primary is started again").choices([
    "auto",
    "in-place",
    "switchover",
  ] as const);

/** `guacamole restart` */
export function restartCommand(ports: CliPorts) {
  return clientCommand("restart")
    .summary("start PostgreSQL again on all members, one after another, in the safe order")
    .description(
      "Starts PostgreSQL again: standbys one at a time, each back, caught up and in the cohort before the next; the primary last,\nby a switchover where another can take over, else in place. Where a limit shrinks that standbys share with the primary\n(max_connections and four others) the primary comes first, in place.\n\nIt waits while the cluster is not well, and ends at the first member that does not come back. It goes on without you:\n'guacamole operation pause|resume|cancel ID' holds it, lets it go on, ends it.",
    )
    .option("--pending-only", "only where a parameter waits for it ('guacamole config diff')")
    .option("--members <names>", "these only, with commas", parseNames)
    .addOption(strategyOption().default("auto" as const))
    .option("--timeout <duration>", "how long a member may take until it is back: 30s, 5m, 1h", parseSeconds)
    .option("--allow-stall", "commits may wait while a standby is away that they need")
    .option("--wait", "follow it to its end", true)
    .option("--no-wait", "return once it has begun")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole restart --pending-only\n  guacamole restart --members m2,m3\n  guacamole config set max_connections=300 --restart",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const { pendingOnly, members, strategy, timeout, allowStall } = options;
      const begun = await beginRestart(ports, client, {
        strategy,
        ...(pendingOnly === true ? { onlyIfPending: true } : {}),
        ...(members === undefined ? {} : { members }),
        ...(timeout === undefined ? {} : { timeoutSeconds: timeout }),
        ...(allowStall === true ? { allowStall: true } : {}),
      });
      await finish(ports, client, begun, options);
    });
}

/** Plans a restart. */
export function beginRestart(ports: CliPorts, client: ApiClient, body: object): Promise<OperationDocument> {
  return client.post<OperationDocument>("/v1/restart", body, { idempotencyKey: ports.newId() });
}

/** `guacamole member restart` */
export function memberRestartCommand(ports: CliPorts) {
  return clientCommand("restart")
    .summary("start its PostgreSQL again; the primary's in place, without a failover")
    .description(
      "Starts a member's PostgreSQL again. The primary writes a checkpoint, ends cleanly and comes back under the same reign;\nif it does not within half a minute, the failover rules decide.",
    )
    .argument("<name>", "the member")
    .option("--pending-only", "only if a parameter waits for it")
    .addOption(
      new Option("--if-role <role>", "only if it has this role").choices(["primary", "standby"] as const),
    )
    .addOption(new Option("--strategy <how>", "of the primary").choices(["in-place", "switchover"] as const))
    .option("--timeout <duration>", "how long it may take until it is back: 30s, 5m, 1h", parseSeconds)
    .option("--allow-stall", "commits may wait while a standby is away that they need")
    .option("--wait", "follow it to its end", true)
    .option("--no-wait", "return once it has begun")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole member restart m2\n  guacamole member restart m1 --if-role primary",
    )
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const { pendingOnly, ifRole, strategy, timeout, allowStall } = options;
      const body = {
        ...(pendingOnly === true ? { onlyIfPending: true } : {}),
        ...(ifRole === undefined ? {} : { ifRole }),
        ...(strategy === undefined ? {} : { strategy }),
        ...(timeout === undefined ? {} : { timeoutSeconds: timeout }),
        ...(allowStall === true ? { allowStall: true } : {}),
      };
      const path = `/v1/members/${encodeURIComponent(name)}/restart`;
      const begun = await client.post<OperationDocument>(path, body, { idempotencyKey: ports.newId() });
      await finish(ports, client, begun, options);
    });
}

/** `guacamole member reload` */
export function memberReloadCommand(ports: CliPorts) {
  return clientCommand("reload")
    .description(
      "Has a member's PostgreSQL read its settings again. What guacamole changes is read by itself: this is for files that\nsomebody edited, and that postgresql.conf includes.",
    )
    .argument("<name>", "the member")
    .addHelpText("after", "\nExample:\n  guacamole member reload m2")
    .action(async (name, options) => {
      const client = await openClient(ports, options);
      const member = await client.post<MemberDocument>(`/v1/members/${encodeURIComponent(name)}/reload`, {});
      printResult(ports, options.output, member, (shown) => renderMemberList([shown]));
    });
}

const STEERING = {
  pause:
    "Holds a planned restart: no further member is begun. The one that is under way comes back all the same.",
  resume: "Lets a planned restart go on that was held.",
  cancel:
    "Ends a planned restart. The member that is under way comes back first; those that were started again stay so.",
} as const;

/** `guacamole operation pause|resume|cancel` */
export function steerCommand(ports: CliPorts, wish: keyof typeof STEERING) {
  return clientCommand(wish)
    .description(STEERING[wish])
    .argument("<id>", "its id")
    .addHelpText("after", `\nExample:\n  guacamole operation ${wish} 6f0c…`)
    .action(async (id, options) => {
      const client = await openClient(ports, options);
      const path = `/v1/operations/${encodeURIComponent(id)}/${wish}`;
      const steered = await client.post<OperationDocument>(path, {}, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, steered, renderOperation);
    });
}

function parseNames(text: string): string[] {
  return text.split(",").map((name) => name.trim());
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

function parseSeconds(text: string): number {
  const match = /^([0-9]{1,5})(s|m|h)$/.exec(text);
  if (match === null) throw new InvalidArgumentError("A duration is wanted: 30s, 5m, 1h.");
  return Number(match[1]) * (UNIT_SECONDS[match[2] ?? ""] ?? 1);
}
