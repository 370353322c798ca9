/**
 * What the books of the writers and the reader prove. Pure: the times are those of one process's monotonic clock.
 *
 * A reign is told by its timeline: each promotion begins one, and the row itself carries it, written by the server that
 * took it. So no row can be counted for another reign than the one that acknowledged it.
 */

/** A row is named by its writer and that writer's count. */
export interface RowName {
  readonly writer: number;
  readonly count: number;
}

/** An insert that was acknowledged. */
export interface Acknowledgement extends RowName {
  readonly server: string;
  readonly timeline: number;
  readonly sentMs: number;
  readonly answeredMs: number;
}

/** The newest row of each writer that a server showed. */
export interface Reading {
  readonly server: string;
  /** Null on a standby. */
  readonly timeline: number | null;
  readonly sentMs: number;
  /** By writer; 0 where there was none. */
  readonly newest: readonly number[];
}

/** A row as it is stored. */
export interface StoredRow extends RowName {
  readonly server: string;
  readonly timeline: number;
}

const SHOWN_MAX = 5;

/** @returns one sentence for each kind of broken promise; empty where all were kept. */
export function findBroken(
  acknowledged: readonly Acknowledgement[],
  readings: readonly Reading[],
  stored: readonly StoredRow[],
): readonly string[] {
  return [
    ...lost(acknowledged, stored),
    ...twice(stored),
    ...sharedTimelines(acknowledged),
    ...overruled(acknowledged),
    ...staleReadings(acknowledged, readings),
  ];
}

/** F1: every acknowledged row is there, and is the one that was acknowledged. */
export function lost(
  acknowledged: readonly Acknowledgement[],
  stored: readonly StoredRow[],
): readonly string[] {
  const there = new Map(stored.map((row) => [keyOf(row), row]));
  const missing = acknowledged.filter((each) => !there.has(keyOf(each)));
  const changed = acknowledged.filter((each) => {
    const row = there.get(keyOf(each));
    return row !== undefined && (row.server !== each.server || row.timeline !== each.timeline);
  });
  return [
    ...complain("acknowledged rows are missing", missing.map(describe)),
    ...complain("rows are stored otherwise than they were acknowledged", changed.map(describe)),
  ];
}

function twice(stored: readonly StoredRow[]): readonly string[] {
  const seen = new Set<string>();
  const doubled = stored.map(keyOf).filter((key) => {
    if (seen.has(key)) return true;
    seen.add(key);
    return false;
  });
  return complain("rows are stored twice", doubled);
}

/** F2: in one reign one server takes writes. */
function sharedTimelines(acknowledged: readonly Acknowledgement[]): readonly string[] {
  const servers = new Map<number, Set<string>>();
  for (const { timeline, server } of acknowledged) {
    const known = servers.get(timeline) ?? new Set();
    servers.set(timeline, known.add(server));
  }
  const shared = [...servers].filter(([, names]) => names.size > 1);
  return complain(
    "several servers acknowledged in one reign",
    shared.map(([timeline, names]) => `timeline ${timeline}: ${[...names].toSorted().join(" and ")}`),
  );
}

/**
 * F5: once a later reign has acknowledged anything, an earlier one acknowledges nothing that is sent from then on. What was
 * sent before may have been flushed by a standby before it pledged; its answer may come whenever it comes.
 */
function overruled(acknowledged: readonly Acknowledgement[]): readonly string[] {
  const beganMs = new Map<number, number>();
  for (const { timeline, answeredMs } of acknowledged)
    beganMs.set(timeline, Math.min(beganMs.get(timeline) ?? Number.POSITIVE_INFINITY, answeredMs));
  // For each reign the first moment at which any later one had acknowledged.
  const endedMs = new Map<number, number>();
  let earliestMs = Number.POSITIVE_INFINITY;
  for (const timeline of [...beganMs.keys()].toSorted((one, other) => other - one)) {
    endedMs.set(timeline, earliestMs);
    earliestMs = Math.min(earliestMs, beganMs.get(timeline) ?? earliestMs);
  }
  const late = acknowledged.filter(
    ({ timeline, sentMs }) => sentMs > (endedMs.get(timeline) ?? Number.POSITIVE_INFINITY),
  );
  return complain("rows were acknowledged by a primary after its successor had begun", late.map(describe));
}

/** A primary shows every row that was acknowledged, by itself or before its reign, before the question was sent. */
function staleReadings(
  acknowledged: readonly Acknowledgement[],
  readings: readonly Reading[],
): readonly string[] {
  const inOrder = acknowledged.toSorted((one, other) => one.answeredMs - other.answeredMs);
  const asked = readings
    .filter(({ timeline }) => timeline !== null)
    .toSorted((one, other) => one.sentMs - other.sentMs);
  /** By timeline, the newest count of each writer so far. */
  const newest = new Map<number, Map<number, number>>();
  const stale: string[] = [];
  let next = 0;
  for (const reading of asked) {
    for (
      let each = inOrder[next];
      each !== undefined && each.answeredMs < reading.sentMs;
      each = inOrder[next]
    ) {
      const counts = newest.get(each.timeline) ?? new Map<number, number>();
      counts.set(each.writer, Math.max(counts.get(each.writer) ?? 0, each.count));
      newest.set(each.timeline, counts);
      next += 1;
    }
    for (const [timeline, counts] of newest) {
      if (timeline > (reading.timeline ?? 0)) continue;
      for (const [writer, count] of counts) {
        const shown = reading.newest[writer] ?? 0;
        if (shown < count)
          stale.push(
            `${reading.server} on timeline ${reading.timeline} showed ${writer}:${shown}, not ${writer}:${count}`,
          );
      }
    }
  }
  return complain("a primary did not show what had been acknowledged", stale);
}

/** The longest silence between two acknowledgements in a stretch of time. */
export function longestSilenceMs(
  acknowledged: readonly Acknowledgement[],
  fromMs: number,
  toMs: number,
): number {
  const times = acknowledged
    .map(({ answeredMs }) => answeredMs)
    .filter((atMs) => atMs >= fromMs && atMs <= toMs)
    .toSorted((one, other) => one - other);
  const edges = [fromMs, ...times, toMs];
  return edges.reduce((longest, atMs, index) => Math.max(longest, atMs - (edges[index - 1] ?? atMs)), 0);
}

export function keyOf({ writer, count }: RowName): string {
  return `${writer}:${count}`;
}

function describe(each: Acknowledgement): string {
  const { server, timeline, sentMs, answeredMs } = each;
  const [sent, answered] = [sentMs, answeredMs].map((atMs) => atMs.toFixed(1));
  return `${keyOf(each)} (by ${server} on timeline ${timeline}, sent at ${sent} ms, answered at ${answered} ms)`;
}

function complain(what: string, findings: readonly string[]): readonly string[] {
  if (findings.length === 0) return [];
  const more = findings.length > SHOWN_MAX ? `; and ${findings.length - SHOWN_MAX} more` : "";
  return [`${findings.length} × ${what}: ${findings.slice(0, SHOWN_MAX).join("; ")}${more}`];
}
