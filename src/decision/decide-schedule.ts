/**
 * What becomes of a scheduled switchover. Nothing before its time. From then on it is begun once, given up once, or, where
 * what is in its way may pass by itself, waited for a moment; never for ever.
 *
 * Its time is the leader's wall clock, the only clock that people name times by. A leader whose clock is wrong is early or
 * late by as much; the command that begins it ends the schedule, so that no two leaders do it twice.
 */
import type { MemberId } from "../base/ids.ts";
import { type ClusterState, memberById, memberName, type ScheduledSwitchover } from "../cluster/state.ts";
import { isWritable } from "../cluster/writable.ts";
import { type ClusterDecision, hold, propose } from "./cluster-decision.ts";
import type { ClusterView } from "./cluster-view.ts";
import { agreedObjection, askFirst, chooseTarget } from "./hand-over.ts";
import { REASONS } from "./reasons.ts";

/** So late, it is not done any more: whoever wanted a change at three does not want it at five. */
export const LATE_MS_MAX = 5 * 60_000;
/** What may pass by itself (a stream that just broke, a leader that has hardly heard anybody) is given so long. */
export const PATIENCE_MS = 10_000;

/**
 * @param otherwise what the leader would do without the schedule: the reason of a hold stands in the way.
 * @returns null where nothing is due, or where `otherwise` says all that there is to say for now.
 */
export function decideSchedule(view: ClusterView, otherwise: ClusterDecision): ClusterDecision | null {
  const { scheduledSwitchover: scheduled, reign } = view.state;
  if (scheduled == null || reign === null || view.nowWallMs < scheduled.dueAtMs) return null;
  const lateMs = view.nowWallMs - scheduled.dueAtMs;
  const never = whyNever(view.state, scheduled, lateMs);
  if (never !== null) return giveUp(scheduled, never);
  const isPatient = lateMs < PATIENCE_MS || view.nowMs - view.leadingSinceMs < PATIENCE_MS;
  const notNow = whyNotNow(view, otherwise);
  if (notNow !== null && !isPatient) return giveUp(scheduled, notNow);
  if (notNow !== null) return otherwise.reason === "steady" ? hold("switchover-due", notNow) : null;
  const chosen = chooseTarget(view, scheduled);
  if ("why" in chosen) return isPatient ? hold("switchover-due", chosen.why) : giveUp(scheduled, chosen.why);
  const asking = askFirst(view, scheduled, chosen.id, (why) => giveUp(scheduled, why));
  return asking ?? begin(view, scheduled, chosen.id);
}

function begin(view: ClusterView, { id }: ScheduledSwitchover, targetId: MemberId): ClusterDecision | null {
  const { reign } = view.state;
  if (reign === null) return null;
  return propose(
    { kind: "begin-switchover", targetId, operationId: id, epoch: reign.epoch, scheduleId: id },
    "switchover-scheduled",
  );
}

function giveUp({ id }: ScheduledSwitchover, reason: string): ClusterDecision {
  return propose({ kind: "cancel-switchover", scheduleId: id, reason }, "switchover-given-up");
}

/** What no waiting mends; or null. */
function whyNever(
  state: ClusterState,
  { primaryId, targetId }: ScheduledSwitchover,
  lateMs: number,
): string | null {
  const { reign, pauses = [] } = state;
  if (lateMs > LATE_MS_MAX) return `it is ${Math.round(lateMs / 1_000)} s late: nobody could do it in time`;
  if (reign !== null && reign.primaryId !== primaryId)
    return `${memberName(state, reign.primaryId)} is primary by now, and not ${memberName(state, primaryId)}`;
  if (pauses.length > 0)
    return `automatic failover is paused (${pauses.map(({ reason }) => reason).join("; ")})`;
  if (targetId === null) return null;
  const target = memberById(state, targetId);
  if (target === undefined) return `${memberName(state, targetId)} is no member any more`;
  const objection = agreedObjection(target);
  return objection === null ? null : `${target.name} ${objection}`;
}

/** The cluster is not in the state in which a primary hands over; or null. */
function whyNotNow({ state, observations }: ClusterView, otherwise: ClusterDecision): string | null {
  const { reign } = state;
  if (
    otherwise.kind === "hold" &&
    otherwise.reason !== "steady" &&
    otherwise.reason !== "removal-would-block"
  )
    return `${REASONS[otherwise.reason]}${otherwise.detail === null ? "" : ` (${otherwise.detail})`}`;
  if (state.restart?.step != null) return "a member is being started again, as planned";
  const primary = reign === null ? undefined : observations.get(reign.primaryId)?.status.postgres;
  const serves = reign !== null && primary?.kind === "primary" && isWritable(state, reign.primaryId, primary);
  return serves ? null : "the primary does not take writes";
}
