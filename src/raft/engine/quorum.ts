import type { LogIndex, MemberId } from "../../base/ids.ts";
import type { ClusterConfig } from "./message.ts";

/**
 * Majorities, of one set of voters or of two at once.
 *
 * While a configuration is joint (`outgoing` not empty) every decision needs a majority of *both* sets (Raft §6): the
 * shortcut "I am the only voter" is wrong whenever it looks at one set only, and loses data.
 */

/** True if the members for which `has` says yes are a majority of each set of voters. No voters, no quorum. */
export function hasQuorum(config: ClusterConfig, has: (id: MemberId) => boolean): boolean {
  if (config.voters.length === 0) return false;
  return halves(config).every((voters) => voters.filter(has).length >= majorityOf(voters.length));
}

/** `lost`: even if everybody who is still silent said yes, there would be no quorum. */
export type VoteOutcome = "won" | "lost" | "pending";

/** How an election stands, given the votes so far (true: granted, false: refused, absent: silent). */
export function voteOutcome(config: ClusterConfig, votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
  if (hasQuorum(config, (id) => votes.get(id) === true)) return "won";
  return hasQuorum(config, (id) => votes.get(id) !== false) ? "pending" : "lost";
}

/** The highest index that a quorum holds, given what each voter is known to hold. 0 without voters. */
export function quorumIndex(config: ClusterConfig, matchOf: (id: MemberId) => LogIndex): LogIndex {
  if (config.voters.length === 0) return 0 as LogIndex;
  const indexes = halves(config).map((voters) => majorityIndex(voters.map(matchOf)));
  return Math.min(...indexes) as LogIndex;
}

/** Everybody whose vote counts, each once. */
export function votersOf(config: ClusterConfig): readonly MemberId[] {
  return [...new Set([...config.voters, ...config.outgoing])];
}

/** Everybody who receives the log, each once. */
export function receiversOf(config: ClusterConfig): readonly MemberId[] {
  return [...new Set([...config.voters, ...config.outgoing, ...config.learners])];
}

/** Two sets of voters count. */
export function isJoint({ outgoing }: ClusterConfig): boolean {
  return outgoing.length > 0;
}

function halves(config: ClusterConfig): readonly (readonly MemberId[])[] {
  return isJoint(config) ? [config.voters, config.outgoing] : [config.voters];
}

/** More than half: 1 of 1, 2 of 2, 2 of 3, 3 of 4. */
function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

function majorityIndex(matches: readonly LogIndex[]): number {
  const descending = [...matches].sort((a, b) => b - a);
  return descending[majorityOf(descending.length) - 1] ?? 0;
}
