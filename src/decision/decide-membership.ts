/**
 * What the leader does for members that come and go, once nothing about the primary is more urgent: it leads removals to
 * their end, hands over where it is itself on its way out, and raises the feature level when all members are new enough.
 */
import type { RaftStatus } from "../cluster/consensus.ts";
import { FEATURE_LEVEL } from "../cluster/feature-level.ts";
import type { Member } from "../cluster/member.ts";
import { featureLevelOf, isNamedByReign, type Operation } from "../cluster/state.ts";
import { type ClusterDecision, propose } from "./cluster-decision.ts";
import { type ClusterView, isHeard } from "./cluster-view.ts";
import { type GroupView, mayHandOver, successors } from "./decide-config.ts";

/** Null: nothing to do. */
export function decideMembership(view: ClusterView, group: GroupView): ClusterDecision | null {
  for (const member of view.state.members) {
    const decision = member.isLeaving ? decideRemoval(view, group.raft, member) : null;
    if (decision !== null) return decision;
  }
  return decideHandover(view, group) ?? decideFeatureLevel(view);
}

function decideRemoval(
  view: ClusterView,
  raft: Pick<RaftStatus, "config" | "isConfigPending">,
  member: Member,
): ClusterDecision | null {
  const { name, id } = member;
  if (isNamedByReign(view.state, id)) {
    return tell(view, member, "cohort", `${name} is being taken out of the synchronous standbys`);
  }
  if (isStopping(view, member)) return tell(view, member, "postgres", `PostgreSQL of ${name} is stopping`);
  const { voters, outgoing, learners, learnersNext } = raft.config;
  const isInGroup = [...voters, ...outgoing, ...learners, ...learnersNext].includes(id);
  if (isInGroup || raft.isConfigPending) {
    return tell(view, member, "group", `${name} is being taken out of the group`);
  }
  return propose({ kind: "forget-member", memberId: id }, "member-removed");
}

/** What a member said longer ago than this may have become another truth: it says the same again twice a second. */
const STATUS_MS_MAX = 5_000;

/**
 * A member on its way out whose PostgreSQL is up, as it says itself: nobody shall read from what it left running. Of a
 * member that says nothing, nothing is known, and nothing is awaited.
 */
export function isStopping(view: ClusterView, { id, kind, isLeaving }: Member): boolean {
  const observation = view.observations.get(id);
  if (!isLeaving || kind === "witness" || observation === undefined || !isHeard(view, id)) return false;
  if (view.nowMs - observation.statusAtMs > STATUS_MS_MAX) return false;
  const postgres = observation.status.postgres.kind;
  return postgres === "standby" || postgres === "starting" || postgres === "unresponsive";
}

/** Where the removal stands, once. */
function tell(view: ClusterView, member: Member, phase: string, message: string): ClusterDecision | null {
  const operation = removalOf(view, member);
  if (operation === undefined || operation.phase === phase) return null;
  return propose(
    { kind: "progress-operation", operationId: operation.id, phase, message },
    "operation-progress",
  );
}

function removalOf({ state }: ClusterView, { id }: Member): Operation | undefined {
  return state.operations.find(
    ({ kind, status, memberId }) => kind === "remove" && status === "running" && memberId === id,
  );
}

/** Rather not to the primary's host: its death would be an election as well. */
function decideHandover(view: ClusterView, group: GroupView): ClusterDecision | null {
  const { reign } = view.state;
  if (reign?.fence != null || !mayHandOver(group)) return null;
  const able = successors(group).filter((id) => isHeard(view, id));
  const to = able.find((id) => id !== reign?.primaryId) ?? able[0];
  return to === undefined ? null : { kind: "transfer-leadership", to, reason: "leader-leaving" };
}

/** Every member, heard now, says that it understands more than the log may hold so far. */
function decideFeatureLevel(view: ClusterView): ClusterDecision | null {
  const { state } = view;
  const levels = state.members.map(({ id }) => {
    return isHeard(view, id) ? (view.observations.get(id)?.status.featureLevel ?? 1) : 0;
  });
  const level = Math.min(FEATURE_LEVEL, ...levels);
  if (level <= featureLevelOf(state)) return null;
  return propose({ kind: "raise-feature-level", level }, "feature-level-rising");
}
