/**
 * What becomes of a scheduled switchover. Nothing before its time. From then on it is begun once, given up once, or, where
 * what is in its way may pass by itself, waited for a moment; never for ever.
 *
 * Its time is the leader's wall clock, the only clock that people name times by. A leader whose clock is wrong is early or
 * late by as much; the command that begins it ends the schedule, so that no two leaders do it twice.
 */
import type { MemberId } from "../base/ids.ts";
import { comparePositions } from "../base/lsn.ts";
import type { Member } from "../cluster/member.ts";
import { positionOf } from "../cluster/observation.ts";
import { type ClusterState, memberById, memberName, type ScheduledSwitchover } from "../cluster/state.ts";
import { isWritable } from "../cluster/writable.ts";
import { type ClusterDecision, hold, propose } from "./cluster-decision.ts";
import { type ClusterView, heardStandby, stayingDataMembers } from "./cluster-view.ts";
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
  return askFirst(view, scheduled, chosen.id) ?? begin(view, scheduled, chosen.id);
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
  const primary = reign === null ? undefined : observations.get(reign.primaryId)?.status.postgres;
  const serves = reign !== null && primary?.kind === "primary" && isWritable(state, reign.primaryId, primary);
  return serves ? null : "the primary does not take writes";
}

/** The named member if it can take over now; of several the one that would be chosen, as for a switchover at once. */
function chooseTarget(
  view: ClusterView,
  { id, targetId }: ScheduledSwitchover,
): { readonly id: MemberId } | { readonly why: string } {
  const { reign } = view.state;
  const others = stayingDataMembers(view.state).filter((member) => member.id !== reign?.primaryId);
  const asked = view.handOver?.question.scheduleId === id ? view.handOver.question.targetId : null;
  const wanted = others.filter((member) => targetId === null || member.id === targetId);
  const able = wanted.filter((member) => objectionTo(view, member) === null);
  const best = able.toSorted(
    (a, b) =>
      // Whoever the host's owner was asked about stays the one.
      Number(b.id === asked) - Number(a.id === asked) ||
      b.tags.failoverPriority - a.tags.failoverPriority ||
      compareProgress(view, b.id, a.id),
  )[0];
  if (best !== undefined) return { id: best.id };
  const objections = wanted.map((member) => `${member.name} ${objectionTo(view, member)}`);
  return { why: objections.length === 0 ? "there is no other data member" : objections.join("; ") };
}

function compareProgress(view: ClusterView, a: MemberId, b: MemberId): number {
  const [one, other] = [a, b].map((id) => {
    const postgres = heardStandby(view, id);
    return postgres === null ? null : positionOf(postgres);
  });
  return one == null || other == null ? 0 : comparePositions(one, other);
}

/** The end of a sentence that begins with the member's name. */
function objectionTo(view: ClusterView, member: Member): string | null {
  const agreed = agreedObjection(member);
  if (agreed !== null) return agreed;
  const { reign } = view.state;
  const rules = reign === null ? [] : [reign.cohort, ...(reign.pendingCohort ? [reign.pendingCohort] : [])];
  const isIn = rules.every((rule) => rule.isLeased === true || rule.standbyIds.includes(member.id));
  if (!isIn) return "is not in the cohort";
  const standby = heardStandby(view, member.id);
  if (standby === null) return "is not heard as a standby";
  return standby.walReceiver?.status === "streaming" ? null : "does not stream";
}

function agreedObjection({ kind, isLeaving, tags }: Member): string | null {
  if (kind === "witness") return "has no PostgreSQL";
  if (isLeaving) return "is being removed";
  return tags.isNoFailover ? "has the tag no-failover" : null;
}

/** Where the host's owner wants a say before it hands over; null: there is nothing (more) to ask. */
function askFirst(
  view: ClusterView,
  scheduled: ScheduledSwitchover,
  targetId: MemberId,
): ClusterDecision | null {
  const { primaryId, id: scheduleId } = scheduled;
  if (view.observations.get(primaryId)?.status.hooks?.guardsSwitchover !== true) return null;
  const { question, answer = null } = view.handOver ?? {};
  if (question?.scheduleId !== scheduleId || question.targetId !== targetId)
    return {
      kind: "ask-hand-over",
      question: { scheduleId, primaryId, targetId },
      reason: "switchover-asking",
    };
  if (answer === null) return hold("switchover-asking", memberName(view.state, primaryId));
  if (answer.ok) return null;
  const name = memberName(view.state, primaryId);
  return giveUp(scheduled, `the hook before-switchover of ${name} refuses: ${answer.error}`);
}
