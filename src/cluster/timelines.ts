/**
 * Which reign wrote a timeline?
 *
 * PostgreSQL numbers timelines by what each server happens to know: two members that were promoted without knowing of each
 * other take the same number. A number alone proves nothing. So every data directory keeps, beside it, the reigns of the
 * timelines that it grew out of; the pair of epoch and LSN then orders WAL as term and index order Raft's log: one epoch
 * has one writer.
 *
 * The list is that of the reign whose primary was followed last, and may leave timelines out: epochs never go back along
 * a history, and a timeline that is newer than all that are listed was written by the reign that was followed last.
 */
import type { Epoch, TimelineId } from "../base/ids.ts";
import { comparePositions, type Position } from "../base/lsn.ts";
import type { Promises, TimelineEpoch } from "./observation.ts";

/** The reign that wrote `timeline`, as this data directory knows it. */
export function epochOfTimeline(
  known: Pick<Promises, "timelines" | "walEpoch">,
  timeline: TimelineId,
): Epoch {
  return listedEpoch(known.timelines, timeline) ?? known.walEpoch;
}

/** The reign of a timeline by the list alone; null for one that is newer than all that are listed. */
export function listedEpoch(timelines: readonly TimelineEpoch[], timeline: TimelineId): Epoch | null {
  const later = timelines.filter((each) => each.timeline >= timeline);
  const next = later.reduce<TimelineEpoch | null>(
    (best, each) => (best === null || each.timeline < best.timeline ? each : best),
    null,
  );
  return next?.epoch ?? null;
}

/** The list with `timeline` in it: what a reign hands on that begins at a member's position. */
export function withTimeline(
  known: Pick<Promises, "timelines" | "walEpoch">,
  timeline: TimelineId,
): readonly TimelineEpoch[] {
  const epoch = epochOfTimeline(known, timeline);
  return [...known.timelines.filter((each) => each.timeline < timeline), { timeline, epoch }];
}

/** A place in WAL together with the reign that wrote it. */
export interface EpochPosition extends Position {
  readonly epoch: Epoch;
}

/**
 * Orders WAL as Raft orders logs (section 5.4.1): a later reign is further, within a reign the longer WAL is.
 *
 * Negative if `a` is behind `b`, zero if equal, positive if ahead.
 */
export function compareWal(a: EpochPosition, b: EpochPosition): number {
  return a.epoch - b.epoch || comparePositions(a, b);
}
