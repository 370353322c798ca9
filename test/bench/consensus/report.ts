/** What was found, and how people read it. */
import { median, percentile } from "../measured.ts";
import type { Memory } from "../resources.ts";
import type { Seen } from "./closed-loop.ts";

export type Subject = "etcd" | "inside" | "api";

/** One load on one group, as often as there were rounds. */
export interface Cell {
  readonly subject: Subject;
  readonly kind: "write" | "read";
  readonly rounds: readonly Seen[];
}

export interface Growth {
  readonly voters: number;
  readonly learners: number;
  readonly oneClient: Seen;
  readonly manyClients: Seen;
}

export interface Restart {
  readonly entries: number;
  /** As it comes; null where it is not on this machine. */
  readonly etcd: LongLog | null;
  /** Ours, kept from compacting its log. */
  readonly whole: LongLog;
  /** Ours as it comes: the log compacts itself. */
  readonly compacted: LongLog;
}

export interface LongLog {
  /** From the start of a follower that missed all entries until it has applied them. */
  readonly catchUpMs: number;
  /** The same for one that missed nothing. */
  readonly restartMs: number;
  /** Of the process that takes most. */
  readonly memory: Memory;
  /** Null: not known. */
  readonly logEntries: number | null;
}

export interface Steady {
  readonly lastedMs: number;
  readonly busyProcesses: number;
  readonly elections: number;
  readonly commits: Seen;
}

export interface Replacement {
  readonly oursMs: readonly number[];
  readonly etcdMs: readonly number[];
  /** With our heartbeat and election time. */
  readonly etcdSameTimingMs: readonly number[];
}

export interface ConsensusReport {
  readonly place: string;
  readonly atWallMs: number;
  /** Of the last minute, before and after. */
  readonly loadAverages: readonly [number, number];
  readonly floor: readonly Seen[];
  readonly cells: readonly Cell[];
  readonly replacement: Replacement | null;
  readonly steady: Steady | null;
  readonly restart: Restart | null;
  readonly growth: readonly Growth[];
}

/** The median of each figure on its own. */
export function medianOf(rounds: readonly Seen[]): Seen {
  const of = (figure: keyof Seen): number => median(rounds.map((each) => each[figure]));
  return {
    clients: of("clients"),
    perSecond: of("perSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    clientProcessors: of("clientProcessors"),
  };
}

/** The medians of a subject by the number of clients, fewest first. */
export function series(report: ConsensusReport, subject: Subject, kind: "write" | "read"): readonly Seen[] {
  return report.cells
    .filter((cell) => cell.subject === subject && cell.kind === kind)
    .map(({ rounds }) => medianOf(rounds))
    .toSorted((a, b) => a.clients - b.clients);
}

const NONE = "–";

/** For the README and for the terminal alike: Markdown. */
export function markdown(report: ConsensusReport): string {
  const { replacement, restart, growth, steady } = report;
  const lines: string[] = [];
  if (report.cells.length > 0) {
    lines.push(
      "| | etcd | guacamole, inside a member | ratio | guacamole, HTTPS API with token | ratio |",
      "| --- | --- | --- | --- | --- | --- |",
      ...(["write", "read"] as const).flatMap((kind) => loadRows(report, kind)),
      "",
    );
    lines.push(floorLine(report), "");
  }
  if (replacement !== null) lines.push(...replacementLines(replacement), "");
  if (restart !== null) lines.push(...restartLines(restart), "");
  if (steady !== null) lines.push(steadyLine(steady), "");
  if (growth.length > 0) lines.push(...growthLines(growth), "");
  return lines.join("\n").trimEnd();
}

function floorLine(report: ConsensusReport): string {
  const floor = medianOf(report.floor);
  const multiple = (subject: Subject): string => {
    const alone = series(report, subject, "write").find(({ clients }) => clients === 1);
    return alone === undefined ? NONE : (alone.p50Ms / floor.p50Ms).toFixed(1);
  };
  return `Floor in the same run: 256 bytes appended and synced by one process with nothing around it take ${milliseconds(floor.p50Ms)} (p99 ${milliseconds(floor.p99Ms)}). One client's write takes ${multiple("etcd")} times as long with etcd, ${multiple("inside")} times inside a member, ${multiple("api")} times through the API.`;
}

function loadRows(report: ConsensusReport, kind: "write" | "read"): readonly string[] {
  const etcd = series(report, "etcd", kind);
  const inside = series(report, "inside", kind);
  const api = series(report, "api", kind);
  const what = kind === "write" ? "writes" : "linearizable reads";
  return inside.map((ours) => {
    const { clients } = ours;
    const theirs = etcd.find((each) => each.clients === clients);
    const outside = api.find((each) => each.clients === clients);
    const who = clients === 1 ? "1 client" : `${clients} clients`;
    return `| ${what}, ${who} | ${cells([theirs])} | ${cells([ours])} | ${ratio(ours, theirs)} | ${cells([outside])} | ${ratio(outside, theirs)} |`;
  });
}

function cells([seen]: readonly [Seen | undefined]): string {
  if (seen === undefined) return NONE;
  return `${thousands(seen.perSecond)}/s, ${milliseconds(seen.p50Ms)} (p99 ${milliseconds(seen.p99Ms)})`;
}

/** Of the throughputs: above 1, ours is faster. */
function ratio(ours: Seen | undefined, theirs: Seen | undefined): string {
  if (ours === undefined || theirs === undefined) return NONE;
  return (ours.perSecond / theirs.perSecond).toFixed(2);
}

function replacementLines({ oursMs, etcdMs, etcdSameTimingMs }: Replacement): readonly string[] {
  const row = (who: string, samplesMs: readonly number[]): readonly string[] =>
    samplesMs.length === 0
      ? []
      : [
          `| ${who} | ${samplesMs.length} | ${whole(percentile(samplesMs, 0.5))} | ${whole(percentile(samplesMs, 0.99))} |`,
        ];
  return [
    "| leader killed (kill -9) until a new write is committed | kills | p50 | p99 |",
    "| --- | --- | --- | --- |",
    ...row("guacamole", oursMs),
    ...row("etcd", etcdMs),
    ...row("etcd with guacamole's timing", etcdSameTimingMs),
  ];
}

function restartLines({ entries, etcd, whole: kept, compacted }: Restart): readonly string[] {
  const row = (what: string, cell: (found: LongLog) => string): string =>
    `| ${what} | ${etcd === null ? NONE : cell(etcd)} | ${cell(kept)} | ${cell(compacted)} |`;
  return [
    `| after ${thousands(entries)} entries | etcd | guacamole, nothing compacted | guacamole as it comes |`,
    "| --- | --- | --- | --- |",
    row("entries left in the log", ({ logEntries }) => (logEntries === null ? NONE : thousands(logEntries))),
    row("a follower starts again", ({ restartMs }) => whole(restartMs)),
    row("one that missed all of them starts and catches up", ({ catchUpMs }) => whole(catchUpMs)),
    row("memory of a process (proportional)", ({ memory }) => megabytes(memory)),
  ];
}

function steadyLine({ lastedMs, busyProcesses, elections, commits }: Steady): string {
  const lasted = lastedMs >= 3_600_000 ? "an hour" : `${Math.round(lastedMs / 1000)} s`;
  return `Elections during ${lasted} with ${busyProcesses} processes keeping every core busy: ${elections} (one client wrote meanwhile: ${cells([commits])}).`;
}

function growthLines(growth: readonly Growth[]): readonly string[] {
  return [
    "| group | 1 client | 64 clients |",
    "| --- | --- | --- |",
    ...growth.map(({ voters, learners, oneClient, manyClients }) => {
      const group = learners === 0 ? `${voters} voters` : `${voters} voters, ${learners} learners`;
      return `| ${group} | ${cells([oneClient])} | ${cells([manyClients])} |`;
    }),
  ];
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}

function whole(value: number): string {
  return `${thousands(value)} ms`;
}

function megabytes({ pssMb }: Memory): string {
  return `${Math.round(pssMb)} MB`;
}
