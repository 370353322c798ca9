import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { PausesDocument, TopologyChange, TopologyDocument } from "../api/documents.ts";
import { clientCommand, openClient, printResult } from "./client-command.ts";
import { CliError, EXIT } from "./exit-code.ts";
import type { CliPorts } from "./ports.ts";
import { renderBytes } from "./render-status.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** `guacamole topology` */
export function topologyCommand(ports: CliPorts) {
  // No options of its own: it would keep those that are meant for what follows.
  return new Command("topology")
    .summary("who follows whom, how commits are kept, when a failover happens")
    .description("Shows or changes how commits are kept, and what is done about a primary in trouble.")
    .addCommand(showCommand(ports), { isDefault: true })
    .addCommand(setCommand(ports));
}

function showCommand(ports: CliPorts) {
  return clientCommand("show")
    .summary("show it")
    .description("Shows who follows whom, and the settings in force with their defaults.")
    .addHelpText("after", "\nExample:\n  guacamole topology show --output yaml")
    .action(async (options) => {
      const client = await openClient(ports, options);
      printResult(ports, options.output, await client.get<TopologyDocument>("/v1/topology"), renderTopology);
    });
}

function setCommand(ports: CliPorts) {
  return clientCommand("set")
    .summary("change it; only what is named changes")
    .description(
      "Changes how commits are kept and when a failover happens. Only what is named changes.\n'quorum' loses no acknowledged commit. 'async' may lose what had not reached the successor.",
    )
    .addOption(
      new Option("--durability <mode>", "how commits are kept").choices(["quorum", "async"] as const),
    )
    .option("--synchronous-standbys <k>", "quorum: how many standbys must have each commit", whole)
    .addOption(
      new Option("--on-quorum-loss <policy>", "quorum: with too few standbys left").choices([
        "block",
        "degrade",
      ] as const),
    )
    .addOption(
      new Option("--stale-reads <policy>", "quorum: reads on a primary that is cut off").choices([
        "allow",
        "refuse",
      ] as const),
    )
    .option("--max-lag <size>", "async: who lacks more is not appointed by itself (16MB, 1GB, …)", bytes)
    .addOption(
      new Option("--on-crash <policy>", "when the postmaster ends by itself").choices([
        "auto",
        "failover",
        "restart",
      ] as const),
    )
    .option(
      "--restart-max <duration>",
      "so long a crashed primary is waited for, where it is to come back",
      ms,
    )
    .option("--calm <duration>", "so long after an automatic failover silence must last twice as long", ms)
    .option(
      "--crash-loop-count <n>",
      "so many primaries in a row that fall at once are a loop: it is held",
      whole,
    )
    .option(
      "--crash-loop <duration>",
      "a primary that falls within this time of its appointment fell at once",
      ms,
    )
    .option("--disk-stall <duration>", "a sync of a small file that takes longer: the disk has stalled", ms)
    .addOption(
      new Option("--timing <profile>", "all times together").choices(["lan-fast", "lan", "wan"] as const),
    )
    .option(
      "--lease <duration>",
      "async: so long a primary reigns without the leader; at least twice the suspicion",
      ms,
    )
    .option("--yes", "do not ask")
    .addHelpText(
      "after",
      "\nExamples:\n  guacamole topology set --synchronous-standbys 2\n  guacamole topology set --on-quorum-loss degrade\n  guacamole topology set --durability async --max-lag 16MB\n  guacamole topology set --on-crash restart --restart-max 20s\n  guacamole topology set --crash-loop-count 3 --crash-loop 10s\n\nDurations: 500ms, 10s, 2m; without a unit, milliseconds. 'guacamole topology show' has what is in force.",
    )
    .action(async (options) => {
      const client = await openClient(ports, options);
      const present = await client.get<TopologyDocument>("/v1/topology");
      const change = changeOf(options, present);
      const isLosing = change.durability?.mode === "async" && present.durability.mode === "quorum";
      if (isLosing && options.yes !== true) await confirmLoss(ports);
      const changed = await client.patch<TopologyDocument>("/v1/topology", change, {
        idempotencyKey: ports.newId(),
      });
      printResult(ports, options.output, changed, renderTopology);
    });
}

type DurabilityChange = NonNullable<TopologyChange["durability"]>;

interface Wanted {
  readonly durability?: "quorum" | "async" | undefined;
  readonly synchronousStandbys?: number | undefined;
  readonly onQuorumLoss?: "block" | "degrade" | undefined;
  readonly staleReads?: "allow" | "refuse" | undefined;
  readonly maxLag?: number | undefined;
  readonly onCrash?: "auto" | "failover" | "restart" | undefined;
  readonly restartMax?: number | undefined;
  readonly calm?: number | undefined;
  readonly crashLoopCount?: number | undefined;
  readonly crashLoop?: number | undefined;
  readonly diskStall?: number | undefined;
  readonly timing?: "lan-fast" | "lan" | "wan" | undefined;
  readonly lease?: number | undefined;
}

function changeOf(wanted: Wanted, { durability }: TopologyDocument): TopologyChange {
  const { synchronousStandbys, onQuorumLoss, staleReads, maxLag } = wanted;
  const isOfQuorum =
    synchronousStandbys !== undefined || onQuorumLoss !== undefined || staleReads !== undefined;
  const mode = wanted.durability ?? durability.mode;
  if (mode === "async" && isOfQuorum)
    throw new CliError(
      EXIT.usage,
      "--synchronous-standbys, --on-quorum-loss and --stale-reads belong to --durability quorum",
    );
  if (mode === "quorum" && maxLag !== undefined)
    throw new CliError(EXIT.usage, "--max-lag belongs to --durability async");
  if (wanted.timing !== undefined && wanted.lease !== undefined)
    throw new CliError(
      EXIT.usage,
      "--timing brings a lease of its own",
      "Set the profile first, and --lease by a second command.",
    );
  const isNamed = wanted.durability !== undefined || isOfQuorum || maxLag !== undefined;
  const failover = failoverChange(wanted);
  const change: TopologyChange = {
    ...(isNamed ? { durability: mode === "async" ? asAsync(wanted) : asQuorum(wanted) } : {}),
    ...(Object.keys(failover).length === 0 ? {} : { failover }),
    ...(wanted.timing === undefined ? {} : { timing: { profile: wanted.timing } }),
    ...(wanted.lease === undefined ? {} : { timing: { leaseMs: wanted.lease } }),
  };
  if (Object.keys(change).length === 0)
    throw new CliError(
      EXIT.usage,
      "nothing is named that shall change",
      "See 'guacamole topology set --help'.",
    );
  return change;
}

function failoverChange(wanted: Wanted): NonNullable<TopologyChange["failover"]> {
  const { onCrash, restartMax, calm, crashLoopCount, crashLoop, diskStall } = wanted;
  return {
    ...(onCrash === undefined ? {} : { onCrash }),
    ...(restartMax === undefined ? {} : { restartMsMax: restartMax }),
    ...(calm === undefined ? {} : { calmMs: calm }),
    ...(crashLoopCount === undefined ? {} : { crashLoopCount }),
    ...(crashLoop === undefined ? {} : { crashLoopMs: crashLoop }),
    ...(diskStall === undefined ? {} : { diskStallMs: diskStall }),
  };
}

function asAsync({ maxLag }: Wanted): DurabilityChange {
  return { mode: "async", ...(maxLag === undefined ? {} : { maxLagBytes: maxLag }) };
}

function asQuorum({ synchronousStandbys, onQuorumLoss, staleReads }: Wanted): DurabilityChange {
  return {
    mode: "quorum",
    ...(synchronousStandbys === undefined ? {} : { synchronousStandbys }),
    ...(onQuorumLoss === undefined ? {} : { onQuorumLoss }),
    ...(staleReads === undefined ? {} : { staleReads }),
  };
}

async function confirmLoss(ports: CliPorts): Promise<void> {
  const { terminal } = ports;
  const why = "with async durability a failover may lose commits that were acknowledged";
  if (!terminal.isInteractive)
    throw new CliError(EXIT.usage, `${why}; nothing was changed`, "Say --yes if that is meant.");
  const answer = await ports.readLine(`Careful: ${why}.\nType 'async' to go on: `);
  if (answer !== "async") throw new CliError(EXIT.refused, "Nothing was changed.");
}

function renderTopology(topology: TopologyDocument): string {
  const { durability, failover, timing, notice } = topology;
  const kept =
    durability.mode === "async"
      ? `async, at most ${renderBytes(durability.maxLagBytes)} behind to be appointed by itself`
      : `quorum, ${durability.synchronousStandbys} standbys have each commit; too few left: ${durability.onQuorumLoss}; stale reads: ${durability.staleReads ?? "allow"}`;
  const lines = [
    `commits    ${kept}`,
    `on crash   ${failover.onCrash}; where it is to come back, waited for ${renderDuration(failover.restartMsMax)}`,
    `failover   ${renderDuration(failover.calmMs)} of calm after one; ${failover.crashLoopCount} primaries that fall within ${renderDuration(failover.crashLoopMs)} are a crash loop; a disk has stalled after ${renderDuration(failover.diskStallMs)}`,
    `timing     heartbeat ${timing.heartbeatMs} ms, suspicion ${timing.suspectMs} ms, election ${timing.electionMsMin} to ${timing.electionMsMax} ms, lease ${timing.leaseMs} ms`,
    ...(notice === null ? [] : ["", notice]),
  ];
  const table = renderTable(
    ["member", "role", "follows", "cohort", "priority", "tags"],
    topology.members.map((member) => [
      member.name,
      member.role,
      member.upstream ?? "-",
      member.isInCohort ? "yes" : "",
      String(member.failoverPriority),
      tagsOf(member),
    ]),
  );
  return `${lines.map(withoutControls).join("\n")}\n\n${table}`;
}

function tagsOf(member: TopologyDocument["members"][number]): string {
  return [
    member.isNoFailover ? "no-failover" : "",
    member.isNoSync ? "no-sync" : "",
    member.isCloneSource ? "clone-source" : "",
    member.zone === null ? "" : `zone ${member.zone}`,
  ]
    .filter((tag) => tag !== "")
    .join(", ");
}

/** `guacamole pause` */
export function pauseCommand(ports: CliPorts) {
  return clientCommand("pause")
    .summary("let no failover happen by itself, for a reason")
    .description(
      "Turns automatic failover off until 'guacamole resume'. Several reasons may hold it; each is taken back by itself.\nWhat a person asks for (switchover, failover) still happens.",
    )
    .requiredOption("--reason <text>", "why, for everybody who looks at the cluster")
    .addHelpText("after", '\nExample:\n  guacamole pause --reason "moving the storage of m2"')
    .action(async (options) => {
      const client = await openClient(ports, options);
      const body = { reason: options.reason };
      const pauses = await client.post<PausesDocument>("/v1/pause", body, { idempotencyKey: ports.newId() });
      printResult(ports, options.output, pauses, renderPauses);
    });
}

/** `guacamole resume` */
export function resumeCommand(ports: CliPorts) {
  return clientCommand("resume")
    .summary("let failovers happen by themselves again")
    .description("Takes a reason of 'guacamole pause' back, or all of them.")
    .option("--reason <text>", "this one only")
    .addHelpText("after", '\nExample:\n  guacamole resume --reason "moving the storage of m2"')
    .action(async (options) => {
      const client = await openClient(ports, options);
      const query = options.reason === undefined ? "" : `?reason=${encodeURIComponent(options.reason)}`;
      const pauses = await client.delete<PausesDocument>(`/v1/pause${query}`, {
        idempotencyKey: ports.newId(),
      });
      printResult(ports, options.output, pauses, renderPauses);
    });
}

function renderPauses(pauses: PausesDocument): string {
  if (pauses.length === 0) return "Automatic failover is on.\n";
  const rows = pauses.map(({ reason, by, since }) => [reason, by, since]);
  return `Automatic failover is paused:\n\n${renderTable(["reason", "by", "since"], rows)}`;
}

function whole(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new InvalidArgumentError("A whole number is wanted.");
  return value;
}

const MILLISECONDS: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A duration in milliseconds. */
function ms(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h)?$/.exec(text);
  const unit = MILLISECONDS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A duration looks like 500ms, 10s or 2m.");
  return Number(match[1]) * unit;
}

function renderDuration(durationMs: number): string {
  return durationMs % 1_000 === 0 ? `${durationMs / 1_000} s` : `${durationMs} ms`;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 };

/** As PostgreSQL writes sizes. */
function bytes(text: string): number {
  const match = /^(\d+)(kB|MB|GB|TB)?$/.exec(text);
  const unit = UNITS[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError("A size is wanted, as PostgreSQL writes it: 16MB, 1GB, or bytes.");
  return Number(match[1]) * unit;
}
