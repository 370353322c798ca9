import type { MemberId } from "../../base/ids.ts";
import { isCaughtUp, isHeard } from "./followers.ts";
import { encodeConfig } from "./membership.ts";
import type { ClusterConfig, EntryId } from "./message.ts";
import { hasQuorum, isJoint } from "./quorum.ts";
import { syncProgress } from "./roles.ts";
import type { EngineState, LeaderRole } from "./state.ts";

/**
 * How the group changes: joint consensus (Raft §6), effective on append.
 *
 * ```
 *   {1,2,3} --one voter more or less-------------------------> {1,2,3,4}
 *   {1,2,3} --anything else--> {4,5,6} and {1,2,3} --committed--> {4,5,6}
 * ```
 *
 * Where the voters differ by one, any majority of the old meets any majority of the new; where they differ by more, a
 * quorum of both is needed until everybody who counts knows of the change. A joint configuration is left by whoever leads
 * once it is committed, with an entry that changes nothing else: the wish is not repeated, or two wishes would chase each
 * other for ever.
 */

/** Who shall vote, and who shall only receive the log. */
export interface ConfigTarget {
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
}

export type ConfigRefusal =
  | "not-leader"
  | "transferring"
  /** This leader has not committed an entry of its own term yet. */
  | "not-ready"
  /** Another change is not committed yet, or its joint configuration not left. */
  | "config-pending"
  | "no-voters"
  | "too-many-voters"
  /** One that does not vote yet is not heard, or far behind: a learner first, until it has what the others have. */
  | "not-caught-up"
  /** Too few of the voters to be are heard now: the group would stand still from the change on. */
  | "quorum-unreachable";

export type ConfigAnswer =
  /** `id` is null where there was nothing to do. */
  | { readonly ok: true; readonly id: EntryId | null }
  | { readonly ok: false; readonly reason: ConfigRefusal; readonly leaderId: MemberId | null };

/** More voters make every commit slower and no group much safer. */
export const VOTERS_MAX = 7;

/**
 * Leader only: from now on `target` counts, by one entry or, through a joint configuration, by two.
 *
 * One change at a time, and only after an entry of the own term is committed: without that, two leaders of different terms
 * could each change one member and decide with quorums that do not meet (Ongaro on raft-dev, 2015).
 */
export function changeConfig(state: EngineState, target: ConfigTarget): ConfigAnswer {
  const { role, leaderId, membership } = state;
  const refuse = (reason: ConfigRefusal): ConfigAnswer => ({ ok: false, reason, leaderId });
  if (role.kind !== "leader") return refuse("not-leader");
  const { config } = membership.latest;
  const changed = planConfig(config, target);
  if (changed === null) return { ok: true, id: null };
  if (role.transfer !== null) return refuse("transferring");
  if (!hasCommittedOwnTerm(state)) return refuse("not-ready");
  if (state.isConfigPending || isJoint(config)) return refuse("config-pending");
  if (changed.voters.length === 0) return refuse("no-voters");
  if (changed.voters.length > VOTERS_MAX) return refuse("too-many-voters");
  const isNewcomer = (id: MemberId): boolean => id !== state.id && !config.voters.includes(id);
  if (changed.voters.some((id) => isNewcomer(id) && !isCaughtUp(state, role, id)))
    return refuse("not-caught-up");
  if (!hasQuorum(changed, (id) => id === state.id || isHeard(state, role, id)))
    return refuse("quorum-unreachable");
  return { ok: true, id: appendConfig(state, changed) };
}

/** Leaves a joint configuration as soon as it is committed, whoever began it. */
export function leaveJoint(state: EngineState, leader: LeaderRole): void {
  const { config } = state.membership.latest;
  if (!isJoint(config) || leader.transfer !== null) return;
  if (state.isConfigPending || !hasCommittedOwnTerm(state)) return;
  appendConfig(state, {
    voters: config.voters,
    outgoing: [],
    learners: [...config.learners, ...config.learnersNext],
    learnersNext: [],
  });
}

/** The configuration to append on the way to `target`; null where it is reached, or will be by leaving the joint one. */
export function planConfig(current: ClusterConfig, target: ConfigTarget): ClusterConfig | null {
  const voters = unique(target.voters);
  const learners = unique(target.learners).filter((id) => !voters.includes(id));
  const learnersSoon = [...current.learners, ...current.learnersNext];
  if (isSameSet(voters, current.voters) && isSameSet(learners, learnersSoon)) return null;
  const added = voters.filter((id) => !current.voters.includes(id));
  const removed = current.voters.filter((id) => !voters.includes(id));
  if (added.length + removed.length <= 1) return { voters, outgoing: [], learners, learnersNext: [] };
  return {
    voters,
    outgoing: current.voters,
    // Nobody is a voter and a learner at once: while the old majority counts, its members vote.
    learners: learners.filter((id) => !current.voters.includes(id)),
    learnersNext: learners.filter((id) => current.voters.includes(id)),
  };
}

function appendConfig(state: EngineState, config: ClusterConfig): EntryId | null {
  const [id] = state.appendOwn([{ kind: "config", data: encodeConfig(config) }]);
  syncProgress(state);
  return id ?? null;
}

function hasCommittedOwnTerm({ log, term }: EngineState): boolean {
  return log.termAt(log.commitIndex) === term;
}

function unique(ids: readonly MemberId[]): readonly MemberId[] {
  return [...new Set(ids)];
}

function isSameSet(a: readonly MemberId[], b: readonly MemberId[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}
