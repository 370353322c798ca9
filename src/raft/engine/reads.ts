import type { LogIndex, MemberId } from "../../base/ids.ts";
import { hasQuorum } from "./quorum.ts";
import type { EngineState, LeaderRole } from "./state.ts";

/**
 * Reading without writing (ReadIndex, thesis §6.4): a leader that was still leader after a read began, and knows what is
 * committed, may answer from its state machine.
 *
 * Each read waits for a heartbeat round that *begins* after it: the rounds of a term are numbered, so an answer that was
 * under way before can confirm nothing (etcd #20418: a repeated read took over the old number, and was stale).
 */

/** Chosen by whoever reads, for this one attempt, and never again. */
export type ReadId = number;

export interface ReadState {
  readonly id: ReadId;
  /** What is applied up to here is fresh enough; null: the leadership was lost, ask again under another id. */
  readonly index: LogIndex | null;
}

export type ReadAnswer =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly reason: "not-leader" | "overloaded";
      readonly leaderId: MemberId | null;
    };

/** A read that waits. */
export interface PendingRead {
  readonly id: ReadId;
  /** Null: no round was begun for it yet. */
  confirmedBy: { readonly index: LogIndex; readonly round: number } | null;
}

/** Leader only. The answer comes out of a later `Ready`. */
export function startRead(state: EngineState, id: ReadId): ReadAnswer {
  const { role, leaderId, limits } = state;
  if (role.kind !== "leader") return { ok: false, reason: "not-leader", leaderId };
  if (role.reads.length >= limits.readsMax) return { ok: false, reason: "overloaded", leaderId };
  role.reads.push({ id, confirmedBy: null });
  return { ok: true };
}

/**
 * Whether a round must begin now, for reads that wait for one; marks them. One round at a time: those that come while it
 * is under way share the next one.
 */
export function takesRound(state: EngineState, leader: LeaderRole): boolean {
  const { reads } = leader;
  // Until an entry of its own term is committed, a leader does not know what is (Raft §8).
  if (reads.length === 0 || state.log.commitIndex < leader.termStart) return false;
  if (reads[0]?.confirmedBy !== null) return false;
  for (const read of reads) {
    read.confirmedBy = { index: state.log.commitIndex, round: leader.round + 1 };
  }
  return true;
}

/** A follower has answered a round. */
export function confirmReads(state: EngineState, leader: LeaderRole): void {
  const { config } = state.membership.latest;
  for (;;) {
    const read = leader.reads[0];
    const begun = read?.confirmedBy ?? null;
    if (read === undefined || begun === null) return;
    const isConfirmed = hasQuorum(config, (id) => {
      return id === state.id || (leader.progress.get(id)?.answeredRound ?? 0) >= begun.round;
    });
    if (!isConfirmed) return;
    leader.reads.shift();
    state.readStates.push({ id: read.id, index: begun.index });
  }
}

/** The leadership is lost: nobody is left without an answer. */
export function failReads(state: EngineState, leader: LeaderRole): void {
  for (const { id } of leader.reads) state.readStates.push({ id, index: null });
  leader.reads.length = 0;
}
