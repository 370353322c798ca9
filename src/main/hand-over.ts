/**
 * When a leader that is well enough to answer, but too slow to lead, hands its leadership to a member that is not. Pure:
 * what was measured comes in, a decision with its reason goes out.
 *
 * While a commit takes its time, this member is silent: the disk is written in the thread that sends the heartbeats. A
 * disk that hangs for longer than an election takes ends the leadership by itself, because the others elect; what is
 * decided here is about disks and processors that are slow again and again.
 */
import type { MemberId } from "../base/ids.ts";
import type { HostReport } from "../peer/status-codec.ts";

/** What of a member's machine counts here. */
type HostHealth = Omit<HostReport, "stateHash">;

export interface KnownHealth extends HostHealth {
  readonly memberId: MemberId;
  readonly atMs: number;
}

export interface HandOverView {
  readonly nowMs: number;
  readonly selfId: MemberId;
  readonly heartbeatMs: number;
  readonly leadingSinceMs: number;
  /** When leadership was last offered to somebody; null: never in this reign. */
  readonly triedAtMs: number | null;
  readonly own: HostHealth & {
    /** Commits of the last ten seconds that took longer than `COMMIT_SLOW_MS`. */
    readonly slowCommits: number;
    /**
     * Since when the wake-ups are later than half an election timeout; null: they are not. A busy machine delays everybody's by
     * a heartbeat or so, and nobody is helped by a leadership that wanders.
     */
    readonly lateSinceMs: number | null;
  };
  /** Voters that are heard and have nearly the whole log. */
  readonly candidateIds: readonly MemberId[];
  readonly health: readonly KnownHealth[];
}

export type HandOver =
  | { readonly kind: "stay"; readonly reason: string }
  /** `to` null: to whomever Raft takes; nobody has said how well it is. */
  | { readonly kind: "hand-over"; readonly to: MemberId | null; readonly reason: string };

/** A commit that takes longer counts as slow. */
export const COMMIT_SLOW_MS = 250;
/** Once is chance. */
export const SLOW_COMMITS_MIN = 3;
/** One that takes this long is enough: the next one may cost the leadership anyway. */
export const COMMIT_HANGS_MS = 1000;
/** Lateness has to last. */
export const LATE_FOR_MS = 10_000;
/** A successor must be this much better, or leadership would dance between machines that are equally slow. */
export const BETTER_BY = 2;
/** What a member said of itself longer ago counts no more. */
export const HEALTH_FRESH_MS = 2000;
/** So long a new leader leads, and so long it waits before it offers its leadership again. */
export const CALM_MS = 10_000;

export function decideHandOver(view: HandOverView): HandOver {
  const trouble = troubleOf(view);
  if (trouble === null) return { kind: "stay", reason: "this member is well" };
  // A full disk takes no more entries: there is nothing to wait for.
  if (!view.own.isDiskFull && view.nowMs - view.leadingSinceMs < CALM_MS) {
    return { kind: "stay", reason: `${trouble.reason}, but it leads for less than ${CALM_MS / 1000} s` };
  }
  if (view.triedAtMs !== null && view.nowMs - view.triedAtMs < CALM_MS) {
    return { kind: "stay", reason: `${trouble.reason}, but leadership was offered a moment ago` };
  }
  const to = bestOf(view, trouble.measure);
  // Anybody is better than a leader that can take no entry.
  if (to === null && !view.own.isDiskFull)
    return { kind: "stay", reason: `${trouble.reason}, but no other voter is known to be better` };
  return { kind: "hand-over", to, reason: trouble.reason };
}

interface Trouble {
  readonly reason: string;
  readonly measure: (health: HostHealth) => number;
}

function troubleOf({ own, nowMs }: HandOverView): Trouble | null {
  if (own.isDiskFull) return { reason: "the disk is full", measure: ({ commitWorstMs }) => commitWorstMs };
  const isSlow = own.slowCommits >= SLOW_COMMITS_MIN || own.commitWorstMs > COMMIT_HANGS_MS;
  if (isSlow) {
    const worst = Math.round(own.commitWorstMs);
    return {
      reason: `the disk is slow (${own.slowCommits} commits over ${COMMIT_SLOW_MS} ms lately, the worst ${worst} ms)`,
      measure: ({ commitWorstMs }) => commitWorstMs,
    };
  }
  const lateForMs = own.lateSinceMs === null ? 0 : nowMs - own.lateSinceMs;
  if (lateForMs < LATE_FOR_MS) return null;
  return {
    reason: `this process wakes up to ${Math.round(own.latenessMs)} ms late, for ${Math.round(lateForMs / 1000)} s`,
    measure: ({ latenessMs }) => latenessMs,
  };
}

/** The candidate with the least trouble of the same kind, if it has none of any kind and is clearly better. */
function bestOf(view: HandOverView, measure: Trouble["measure"]): MemberId | null {
  const { own, nowMs, heartbeatMs, candidateIds, health } = view;
  let best: KnownHealth | null = null;
  for (const one of health) {
    if (!candidateIds.includes(one.memberId) || one.memberId === view.selfId) continue;
    if (nowMs - one.atMs > HEALTH_FRESH_MS || one.isDiskFull) continue;
    const isWell = one.commitWorstMs <= COMMIT_SLOW_MS && one.latenessMs <= heartbeatMs;
    if (!own.isDiskFull && (!isWell || measure(one) * BETTER_BY > measure(own))) continue;
    if (best === null || measure(one) < measure(best)) best = one;
  }
  return best?.memberId ?? null;
}
