/**
 * Does my WAL belong to the present history?
 *
 * PostgreSQL's timelines form a tree. The primary's timeline grew out of others, each left at a known LSN. A member whose
 * WAL ends before the point at which its timeline was left is simply behind; one whose WAL goes beyond it has forked off.
 *
 * Timeline *numbers* alone prove nothing: two members that were promoted without knowing of each other both take the next
 * free number. Therefore each timeline is recorded with the epoch that wrote it, and a member knows the newest epoch it
 * took WAL under: a number that fits with an epoch that does not is another timeline of the same number.
 */
import type { Epoch, TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { Lineage, Reign } from "../cluster/state.ts";

export type Relation =
  /** My WAL is a beginning of the primary's: follow. */
  | { readonly kind: "behind" }
  /** My WAL goes on where the primary's history turned off: rewind to there. */
  | { readonly kind: "forked"; readonly timeline: TimelineId; readonly atLsn: Lsn }
  /** My timeline has the number of one in the primary's history, but is another one: only a clone helps. */
  | { readonly kind: "alien"; readonly detail: string }
  /** The primary's timeline is not recorded yet. */
  | { readonly kind: "unknown" };

/** What a member knows of its own WAL. `replayedLsn`: what counts is what was replayed; the rest can be fetched anew. */
export interface OwnWal {
  readonly timeline: TimelineId;
  readonly replayedLsn: Lsn;
  readonly walEpoch: Epoch;
}

export function relate(own: OwnWal, reign: Reign): Relation {
  const { lineage } = reign;
  if (lineage === null) {
    // Before the promotion is recorded, only a member that is no further than the appointed one was, on the very same
    // timeline, may follow it through its promotion. The first reign has nobody else with data.
    const start = reign.appointedAt;
    const isNoFurther = start !== null && own.timeline === start.timeline && own.replayedLsn <= start.lsn;
    return isNoFurther ? { kind: "behind" } : { kind: "unknown" };
  }
  if (own.timeline === lineage.timeline) return relateToCurrent(own, reign.epoch);
  return relateToAncestors(own, lineage);
}

function relateToCurrent(own: OwnWal, epoch: Epoch): Relation {
  if (own.walEpoch >= epoch) return { kind: "behind" };
  return { kind: "alien", detail: `timeline ${own.timeline} was written under epoch ${own.walEpoch}, not ${epoch}` };
}

function relateToAncestors(own: OwnWal, lineage: Lineage): Relation {
  const ancestor = lineage.ancestors.find(({ timeline }) => timeline === own.timeline);
  if (ancestor === undefined) {
    const common = lineage.ancestors.filter(({ timeline }) => timeline < own.timeline).at(-1);
    if (common === undefined) return { kind: "alien", detail: `timeline ${own.timeline} has nothing in common` };
    return { kind: "forked", timeline: common.timeline, atLsn: common.endLsn };
  }
  if (own.walEpoch < ancestor.epoch) {
    const detail = `timeline ${own.timeline} was written under epoch ${own.walEpoch}, not ${ancestor.epoch}`;
    return { kind: "alien", detail };
  }
  if (own.replayedLsn <= ancestor.endLsn) return { kind: "behind" };
  return { kind: "forked", timeline: ancestor.timeline, atLsn: ancestor.endLsn };
}
