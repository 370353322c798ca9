/** To whom a primary hands over as planned, and what its host's owner says to that. */
import type { MemberId } from "../base/ids.ts";
import { comparePositions } from "../base/lsn.ts";
import type { Member } from "../cluster/member.ts";
import { positionOf } from "../cluster/observation.ts";
import { memberName } from "../cluster/state.ts";
import { type ClusterDecision, hold } from "./cluster-decision.ts";
import { type ClusterView, heardStandby, stayingDataMembers } from "./cluster-view.ts";

export interface WantedHandOver {
  /** Of the schedule or operation that it is for. */
  readonly id: string;
  readonly primaryId: MemberId;
  /** Null: to whoever is best. */
  readonly targetId: MemberId | null;
}

/** The named member if it can take over now; of several the one that would be chosen, as for a switchover at once. */
export function chooseTarget(
  view: ClusterView,
  { id, targetId }: Pick<WantedHandOver, "id" | "targetId">,
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

/** What no waiting mends, as the end of a sentence; or null. */
export function agreedObjection({ kind, isLeaving, tags }: Member): string | null {
  if (kind === "witness") return "has no PostgreSQL";
  if (isLeaving) return "is being removed";
  return tags.isNoFailover ? "has the tag no-failover" : null;
}

/**
 * Where the host's owner wants a say before it hands over; null: there is nothing (more) to ask.
 *
 * @param giveUp what becomes of it if the owner's program refuses, in its words.
 */
export function askFirst(
  view: ClusterView,
  { id: scheduleId, primaryId }: Pick<WantedHandOver, "id" | "primaryId">,
  targetId: MemberId,
  giveUp: (why: string) => ClusterDecision,
): ClusterDecision | null {
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
  return giveUp(`the hook before-switchover of ${name} refuses: ${answer.error}`);
}
