import { assert } from "../../base/assert.ts";
import type { MemberId, Term } from "../../base/ids.ts";
import { next } from "./log.ts";
import { Progress } from "./progress.ts";
import { receiversOf } from "./quorum.ts";
import { failReads } from "./reads.ts";
import type { EngineState } from "./state.ts";

/**
 * The four roles and how one becomes another.
 *
 * ```
 *   follower --patience over--> pre-candidate --quorum would vote--> candidate --quorum votes--> leader
 *      ^  \______timeout-now, by the leader's own wish________________^                            |
 *      |___________________ a higher term, a leader of this term, or no quorum ____________________|
 * ```
 */

const NO_DATA = new Uint8Array(0);

/** @param leaderId null while the leader of `term` is not known. */
export function becomeFollower(state: EngineState, term: Term, leaderId: MemberId | null): void {
  assert(term >= state.term, "terms never go back");
  // Who led until now heard himself: he has no other leader to be loyal to.
  if (state.role.kind === "leader") {
    state.quietTicks = state.timing.electionTicksMin;
    failReads(state, state.role);
    state.snapshotsWanted = [];
  }
  if (term > state.term) {
    state.term = term;
    state.vote = null;
  }
  state.role = { kind: "follower" };
  state.leaderId = leaderId;
  state.resetPatience();
}

/** Changes nothing durable, and above all not the term: a member that cannot win must not disturb those that work. */
export function becomePreCandidate(state: EngineState): void {
  assert(state.role.kind !== "leader", "a leader does not campaign");
  // Its own yes: nothing was promised, so nothing has to be durable.
  state.role = { kind: "pre-candidate", votes: new Map([[state.id, true]]) };
  state.leaderId = null;
  state.resetPatience();
}

/** The own vote counts only once it is durable (`Engine.persisted`). */
export function becomeCandidate(state: EngineState): void {
  assert(state.role.kind !== "leader", "a leader does not campaign");
  state.term = (state.term + 1) as Term;
  state.vote = state.id;
  state.role = { kind: "candidate", votes: new Map() };
  state.leaderId = null;
  state.resetPatience();
}

/**
 * Begins with an empty entry of the own term: only when that is committed is everything before it known to be
 * (Raft §5.4.2, §8).
 */
export function becomeLeader(state: EngineState): void {
  assert(state.role.kind === "candidate", "only a candidate becomes leader");
  state.role = {
    kind: "leader",
    progress: new Map(),
    termStart: next(state.log.last.index),
    heartbeatElapsed: 0,
    round: 0,
    transfer: null,
    isRetiring: false,
    reads: [],
    uncommitted: [],
    uncommittedBytes: 0,
  };
  state.leaderId = state.id;
  syncProgress(state);
  state.appendOwn([{ kind: "noop", data: NO_DATA }]);
}

/** Follows the latest configuration; what is known of members that stay is kept. */
export function syncProgress(state: EngineState): void {
  if (state.role.kind !== "leader") return;
  const { progress } = state.role;
  const receivers = receiversOf(state.membership.latest.config).filter((id) => id !== state.id);
  for (const id of progress.keys()) {
    if (!receivers.includes(id)) progress.delete(id);
  }
  for (const id of receivers) {
    if (!progress.has(id)) progress.set(id, new Progress(next(state.log.last.index)));
  }
}
