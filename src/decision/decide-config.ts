/**
 * Who votes. Every member receives the log; an odd number of them vote, and which ones is decided here.
 *
 * An even number of voters survives no more losses than one fewer and asks one more to agree, so there is never one for
 * longer than a change takes: of two members one votes. Whoever votes already goes on voting, since each change costs an
 * agreement; a member that does not is taken only once it has caught up, so that no change ever waits for a newcomer.
 */
import type { MemberId } from "../base/ids.ts";
import type { ConfigTarget, RaftStatus } from "../cluster/consensus.ts";
import type { Member } from "../cluster/member.ts";
import { votersMaxOf } from "../cluster/spec.ts";
import { type ClusterState, featureLevelOf, isNamedByReign, memberName } from "../cluster/state.ts";
import type { Reason } from "./reasons.ts";

/** All that the leader may use to decide who votes. */
export interface GroupView {
  readonly state: ClusterState;
  readonly selfId: MemberId;
  readonly raft: Pick<RaftStatus, "config" | "isReady" | "isConfigPending" | "followers">;
  /** Voters that were silent for so long that a spare member shall take their place. */
  readonly longSilentIds: ReadonlySet<MemberId>;
  /** Members on their way out whose PostgreSQL is still to stop: out of the group they would not hear of anything. */
  readonly stoppingIds: ReadonlySet<MemberId>;
}

export type ConfigDecision =
  | {
      readonly kind: "target";
      readonly target: ConfigTarget;
      readonly reason: Reason;
      readonly detail: string | null;
    }
  | { readonly kind: "hold"; readonly reason: Reason; readonly detail: string | null };

export function decideConfig(view: GroupView): ConfigDecision {
  const { raft } = view;
  if (!raft.isReady || raft.isConfigPending || raft.config.outgoing.length > 0)
    return hold("voters-changing");
  if (mayHandOver(view)) return hold("leader-leaving");
  const voters = chooseVoters(view);
  if (voters.length === 0) return hold("voters-catching-up", namesOf(view, spareIds(view)));
  const learners = staying(view).filter((id) => !voters.includes(id));
  if (isSameSet(voters, raft.config.voters) && isSameSet(learners, raft.config.learners))
    return settled(view);
  if (!isHeardByMost(view, voters) || !isHeardByMost(view, raft.config.voters))
    return hold("voters-unheard", namesOf(view, voters));
  return explain(view, { voters, learners });
}

/** More than these vote in no group: each makes every commit slower. */
const VOTERS_MAX = 7;

/** The greatest odd number that is neither above the operators' wish nor above who can vote. */
function votersWanted(state: ClusterState, usable: number): number {
  const most = Math.min(VOTERS_MAX, votersMaxOf(state.spec), usable);
  return most % 2 === 1 ? most : Math.max(0, most - 1);
}

function chooseVoters(view: GroupView): readonly MemberId[] {
  const present = usableMembers(view);
  const ranked = present.toSorted((a, b) => compareMerit(view, a, b)).map(({ id }) => id);
  const wanted = ranked.slice(0, votersWanted(view.state, ranked.length));
  return featureLevelOf(view.state) >= 2 ? wanted : oneMore(view, wanted);
}

/** Release 0.1.0 knows no joint configuration: while it may be among us, voters come one at a time, and none goes. */
function oneMore({ raft }: GroupView, wanted: readonly MemberId[]): readonly MemberId[] {
  const { voters } = raft.config;
  const added = wanted.find((id) => !voters.includes(id));
  return added === undefined ? voters : [...voters, added];
}

/** Who may vote now: those who do, and those who have caught up. Who shall not vote only where nobody else can. */
function usableMembers(view: GroupView): readonly Member[] {
  const { state, raft } = view;
  const kept = new Set(staying(view));
  const members = state.members.filter(({ id }) => kept.has(id));
  const able = members.filter(({ id }) => raft.config.voters.includes(id) || isSpare(view, id));
  const willing = able.filter(({ voting }) => voting !== "learner");
  return willing.length > 0 ? willing : able;
}

/**
 * Who keeps a place in the group: members that stay, and those on their way out while a rule of the reign still names
 * them, or their PostgreSQL is still up. The order is the safe one: first out of the synchronous standbys, then stopped,
 * then out of the group.
 */
function staying({ state, raft, stoppingIds }: GroupView): readonly MemberId[] {
  const known = [...raft.config.voters, ...raft.config.learners];
  return state.members
    .filter(({ id, isLeaving }) => {
      const isAwaited = isNamedByReign(state, id) || stoppingIds.has(id);
      return !isLeaving || (known.includes(id) && isAwaited);
    })
    .map(({ id }) => id);
}

/** Caught up, and heard: it could vote from one moment to the next. */
function isSpare({ raft }: GroupView, id: MemberId): boolean {
  const follower = raft.followers.find((each) => each.id === id);
  return raft.config.learners.includes(id) && follower?.isActive === true && follower.isCaughtUp;
}

/** Members that are to learn, and may be voters later. */
function spareIds({ state, raft }: GroupView): readonly MemberId[] {
  return state.members
    .filter(({ id, isLeaving, voting }) => {
      return !isLeaving && voting !== "learner" && !raft.config.voters.includes(id);
    })
    .map(({ id }) => id);
}

function compareMerit(view: GroupView, a: Member, b: Member): number {
  return rankOf(view, a) - rankOf(view, b) || (a.name < b.name ? -1 : 1);
}

/** Less is better. Who votes stays, the leader above all; then who has PostgreSQL beside it; who fell silent comes last. */
function rankOf({ selfId, raft, longSilentIds }: GroupView, { id, kind, voting }: Member): number {
  const isVoter = raft.config.voters.includes(id);
  const isHeard = id === selfId || raft.followers.some((each) => each.id === id && each.isActive);
  const demerits = [
    longSilentIds.has(id),
    voting !== "voter",
    !isVoter,
    id !== selfId,
    !isHeard,
    kind === "witness",
  ];
  return demerits.reduce((rank, isDemerit) => rank * 2 + Number(isDemerit), 0);
}

/** A majority of these is heard now: otherwise the group would stand still from the change on. */
function isHeardByMost({ selfId, raft }: GroupView, voters: readonly MemberId[]): boolean {
  const heard = voters.filter((id) => {
    return id === selfId || raft.followers.some((each) => each.id === id && each.isActive);
  });
  return heard.length * 2 > voters.length;
}

/** A leader on its way out hands over first, where somebody can take over, and lets its successor change the group. */
export function mayHandOver(view: GroupView): boolean {
  return isLeavingLeader(view) && successors(view).length > 0;
}

function isLeavingLeader({ state, selfId }: GroupView): boolean {
  return state.members.some(({ id, isLeaving }) => id === selfId && isLeaving === true);
}

/** Voters that stay and are heard. */
export function successors({ state, selfId, raft }: GroupView): readonly MemberId[] {
  return raft.followers
    .filter(({ id, isActive }) => {
      const member = state.members.find((each) => each.id === id);
      const stays = member !== undefined && !member.isLeaving;
      return id !== selfId && isActive && stays && raft.config.voters.includes(id);
    })
    .map(({ id }) => id);
}

function explain(view: GroupView, target: ConfigTarget): ConfigDecision {
  const { voters, learners } = view.raft.config;
  const told = (reason: Reason, ids: readonly MemberId[]): ConfigDecision => ({
    kind: "target",
    target,
    reason,
    detail: namesOf(view, ids),
  });
  const all = [...target.voters, ...target.learners];
  const gone = [...voters, ...learners].filter((id) => !all.includes(id));
  if (gone.length > 0) return told("voters-removing", gone);
  const promoted = target.voters.filter((id) => !voters.includes(id));
  const demoted = voters.filter((id) => !target.voters.includes(id));
  if (promoted.length > 0 && demoted.length > 0) return told("voters-replacing", demoted);
  if (promoted.length > 0) return told("voters-growing", promoted);
  if (demoted.length > 0) return told("voters-shrinking", demoted);
  return told(
    "learners-growing",
    target.learners.filter((id) => !learners.includes(id)),
  );
}

/** Nothing to change; why somebody who could vote does not. */
function settled(view: GroupView): ConfigDecision {
  const { state, raft } = view;
  const spare = spareIds(view);
  const behind = spare.filter((id) => !isSpare(view, id));
  const count = raft.config.voters.length;
  const isFull = count >= Math.min(VOTERS_MAX, votersMaxOf(state.spec));
  if (spare.length === 0 || isFull) return hold("voters-settled");
  if (behind.length > 0) return hold("voters-catching-up", namesOf(view, behind));
  return hold("voters-even", namesOf(view, spare));
}

function namesOf({ state }: GroupView, ids: readonly MemberId[]): string | null {
  return ids.length === 0
    ? null
    : ids
        .map((id) => memberName(state, id))
        .sort()
        .join(", ");
}

function hold(reason: Reason, detail: string | null = null): ConfigDecision {
  return { kind: "hold", reason, detail };
}

function isSameSet(a: readonly MemberId[], b: readonly MemberId[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}
