/**
 * Does my WAL belong to the present history?
 *
 * PostgreSQL's timelines form a tree. The primary's timeline grew out of others, each left at a known LSN. A member whose
 * WAL ends before the point at which its timeline was left is simply behind; one whose WAL goes beyond it has forked off.
 * And one whose timeline only has the *number* of one in the primary's history, but was written by another reign, can
 * neither follow nor be rewound: PostgreSQL's own tools would believe the number.
 */
import type { TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { Promises, Recovery, StandbyStatus } from "../cluster/observation.ts";
import type { Lineage, Reign } from "../cluster/state.ts";
import { epochOfTimeline } from "../cluster/timelines.ts";

export type Relation =
  /** My WAL is a beginning of the primary's: follow. */
  | { readonly kind: "behind" }
  /** My WAL goes on where the primary's history turned off: rewind to there. */
  | { readonly kind: "forked"; readonly timeline: TimelineId; readonly atLsn: Lsn }
  /** A timeline of mine has the number of one in the primary's history, but is another one: only a clone helps. */
  | { readonly kind: "alien"; readonly detail: string }
  /** The primary's timeline is not recorded yet. */
  | { readonly kind: "unknown" };

/** What a member knows of its own WAL. `replayedLsn`: what counts is what was replayed; the rest can be fetched anew. */
export interface OwnWal {
  readonly timeline: TimelineId;
  readonly replayedLsn: Lsn;
  readonly promises: Pick<Promises, "timelines" | "walEpoch">;
}

/** How a member's own WAL stands to the history of a reign: what the member may do with it follows from the kind. */
export function relate(own: OwnWal, reign: Reign): Relation {
  const conflict = findConflict(own, reign);
  if (conflict !== null) return { kind: "alien", detail: conflict };
  const { lineage } = reign;
  if (lineage === null) {
    // It came with this very reign: the primary was followed through its promotion.
    if (epochOfTimeline(own.promises, own.timeline) === reign.epoch) return { kind: "behind" };
    // Before the promotion is recorded, only a member that is no further than the appointed one was, on the very same
    // timeline, may follow it through its promotion. The first reign has nobody else with data.
    const start = reign.appointedAt;
    const isNoFurther = start !== null && own.timeline === start.timeline && own.replayedLsn <= start.lsn;
    return isNoFurther ? { kind: "behind" } : { kind: "unknown" };
  }
  return own.timeline === lineage.timeline ? { kind: "behind" } : relateToAncestors(own, lineage);
}

/**
 * The same for a server that has not replayed enough yet to take connections: its data files reach as far as they say, and
 * neither they nor the history that it replays along may lie beside the reign's.
 */
export function relateRecovery(
  { consistentAt, newestTimeline }: Recovery,
  promises: OwnWal["promises"],
  reign: Reign,
): Relation {
  const own = { promises, replayedLsn: consistentAt.lsn };
  const files = relate({ ...own, timeline: consistentAt.timeline }, reign);
  return files.kind === "behind" ? relate({ ...own, timeline: newestTimeline }, reign) : files;
}

function relateToAncestors(own: OwnWal, lineage: Lineage): Relation {
  const ancestor = lineage.ancestors.find(({ timeline }) => timeline === own.timeline);
  if (ancestor !== undefined) {
    if (own.replayedLsn <= ancestor.endLsn) return { kind: "behind" };
    return { kind: "forked", timeline: ancestor.timeline, atLsn: ancestor.endLsn };
  }
  const common = lineage.ancestors.filter(({ timeline }) => timeline < own.timeline).at(-1);
  if (common === undefined)
    return { kind: "alien", detail: `timeline ${own.timeline} has nothing in common` };
  return { kind: "forked", timeline: common.timeline, atLsn: common.endLsn };
}

/** The first number that both histories use for different timelines, as a sentence; or null. */
function findConflict(own: OwnWal, reign: Reign): string | null {
  const theirs = { timelines: reign.timelines, walEpoch: reign.epoch };
  for (const timeline of historyOf(reign).filter((number) => number <= own.timeline)) {
    const here = epochOfTimeline(own.promises, timeline);
    const there = epochOfTimeline(theirs, timeline);
    if (here !== there)
      return `timeline ${timeline} was written under epoch ${here} here, but ${there} there`;
  }
  return null;
}

/** The numbers of the timelines that the reign's history is known to consist of. */
function historyOf({ lineage, timelines, appointedAt }: Reign): readonly TimelineId[] {
  if (lineage !== null) return [...lineage.ancestors.map(({ timeline }) => timeline), lineage.timeline];
  const listed = timelines.map(({ timeline }) => timeline);
  return appointedAt === null ? listed : [...listed, appointedAt.timeline];
}

/**
 * Whether a server that is a standby now was promoted under this very reign before it fell: its timeline is newer than the one
 * that it was appointed on. A reign has one timeline, so it is not promoted a second time. A server that is being promoted shows
 * its new timeline before it leaves recovery: it has not fallen.
 */
export function hasReignedBefore(
  postgres: Pick<StandbyStatus, "timeline" | "isPromoting">,
  { walEpoch }: Pick<Promises, "walEpoch">,
  reign: Reign,
): boolean {
  const appointedOn = reign.appointedAt?.timeline ?? FIRST_TIMELINE;
  return postgres.isPromoting !== true && walEpoch === reign.epoch && postgres.timeline > appointedOn;
}

/** As initdb leaves it. */
const FIRST_TIMELINE = 1;
