import { assert, unreachable } from "../../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../base/ids.ts";
import type { Random } from "../../base/random.ts";
import type { StoredRaft } from "../ports.ts";
import {
  handleVoteRequest,
  handleVoteResponse,
  isLoyal,
  recordVote,
  startPreVote,
  startVote,
  tickElection,
} from "./election.ts";
import { DEFAULT_LIMITS, type EngineLimits } from "./limits.ts";
import { type LogReader, next, RaftLog } from "./log.ts";
import { EMPTY_CONFIG, encodeConfig, Membership } from "./membership.ts";
import type { ClusterConfig, Entry, EntryId, HardState, Message } from "./message.ts";
import {
  advanceCommit,
  handleAppend,
  handleAppendResponse,
  handleHeartbeat,
  handleHeartbeatResponse,
  isActive,
  replicate,
  tickLeader,
} from "./replication.ts";
import { becomeFollower, syncProgress } from "./roles.ts";
import { EngineState, type Timing } from "./state.ts";
import { startTransfer, type TransferAnswer } from "./transfer.ts";

export interface EngineOptions {
  readonly id: MemberId;
  readonly stored: StoredRaft;
  readonly reader: LogReader;
  readonly timing: Timing;
  /** Each member needs its own: with the same numbers everywhere all members campaign together, for ever. */
  readonly random: Random;
  readonly limits?: Partial<EngineLimits>;
}

/**
 * Work that the engine hands out. In this order: make `entries` and `hard` durable; apply `committed`, in the same
 * transaction or later; call `persisted()`; send `messages`, each of which may depend on what was made durable.
 */
export interface Ready {
  readonly entries: readonly Entry[];
  /** Null: unchanged. */
  readonly hard: HardState | null;
  readonly committed: readonly Entry[];
  readonly messages: readonly Message[];
}

export type ProposeAnswer =
  | { readonly ok: true; readonly ids: readonly EntryId[] }
  | {
      readonly ok: false;
      /** `overloaded`: too much is waiting for its commit; nothing of this proposal was taken. */
      readonly reason: "not-leader" | "transferring" | "overloaded";
      readonly leaderId: MemberId | null;
    };

export type ConfigAnswer =
  /** `id` is null where there was nothing to do. */
  | { readonly ok: true; readonly id: EntryId | null }
  | {
      readonly ok: false;
      /** `not-ready`: this leader has not committed an entry of its own term yet. */
      readonly reason: "not-leader" | "transferring" | "not-ready" | "config-pending";
      readonly leaderId: MemberId | null;
    };

export interface FollowerStatus {
  readonly id: MemberId;
  /** Everything up to here is durable on the follower. */
  readonly matchIndex: LogIndex;
  /** It was heard of within the minimum election timeout. */
  readonly isActive: boolean;
  /** It needs entries that were compacted away. */
  readonly needsSnapshot: boolean;
}

export interface EngineStatus {
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: Term;
  readonly leaderId: MemberId | null;
  readonly commitIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  /** The latest configuration, committed or not: the one that counts. */
  readonly config: ClusterConfig;
  readonly isConfigPending: boolean;
  /** Leading, and an entry of the own term is committed and applied: what is applied here is what is agreed. */
  readonly isReady: boolean;
  readonly isTransferring: boolean;
  /** Empty unless leading. */
  readonly followers: readonly FollowerStatus[];
}

/** Entries that are read at once while the stored log is searched for configurations. */
const SCAN_COUNT = 1024;
const SCAN_BYTES = 4 * 1024 * 1024;

/**
 * Raft as a state machine: events go in (`tick`, `step`, `propose`, …), work comes out (`ready`). No clock, no disk, no
 * network, no chance of its own, so that a simulator can live a thousand years in it.
 */
export class Engine {
  readonly #state: EngineState;
  #savedHard: HardState;
  /** What was handed out and is not reported back as durable yet. */
  #handedOut: { readonly applied: LogIndex } | null = null;

  constructor({ id, stored, reader, timing, random, limits }: EngineOptions) {
    const allLimits = { ...DEFAULT_LIMITS, ...limits };
    assert(stored.last.term <= stored.hard.term, "no entry is newer than the stored term");
    // The stored commit may lag behind what was applied; it is never an authority.
    const commit = Math.max(stored.hard.commit, stored.applied, stored.floor.index) as LogIndex;
    const log = new RaftLog(
      reader,
      { floor: stored.floor, last: stored.last, commit, applied: stored.applied },
      allLimits.cachedEntriesMax,
    );
    const membership = new Membership({
      index: stored.floor.index,
      config: stored.floorConfig ?? EMPTY_CONFIG,
    });
    for (let at = next(stored.floor.index); at <= stored.last.index; ) {
      const entries = log.slice(at, SCAN_COUNT, SCAN_BYTES);
      membership.append(entries);
      at = (at + entries.length) as LogIndex;
    }
    membership.commitTo(commit);
    this.#state = new EngineState({
      id,
      log,
      membership,
      promotableFrom: stored.promotableFrom,
      timing,
      limits: allLimits,
      random,
      hard: stored.hard,
    });
    this.#savedHard = stored.hard;
  }

  // --- Events in --------------------------------------------------------------------------------------------------

  tick(): void {
    this.#assertIdle();
    const { role } = this.#state;
    if (role.kind === "leader") tickLeader(this.#state, role);
    else tickElection(this.#state);
  }

  /** The one gate for messages: who is behind learns the newer term here, and only here (Raft §5.1). */
  step(message: Message): void {
    this.#assertIdle();
    const state = this.#state;
    if (message.to !== state.id || message.from === state.id) return;
    if (message.type === "pre-vote" || message.type === "vote") {
      // Without an answer, and without learning the term: thesis §4.2.3.
      if (message.term >= state.term && !message.isTransfer && isLoyal(state)) return;
    }
    if (message.term > state.term) this.#learnTerm(message);
    if (message.term < state.term) this.#answerOld(message);
    else this.#dispatch(message);
  }

  /** Leader only: there is no forwarding in Raft; whoever forwards must know how to retry. All of `data` or nothing. */
  propose(data: readonly Uint8Array[]): ProposeAnswer {
    this.#assertIdle();
    const { role, leaderId, limits } = this.#state;
    if (role.kind !== "leader") return { ok: false, reason: "not-leader", leaderId };
    if (role.transfer !== null) return { ok: false, reason: "transferring", leaderId };
    const bytes = data.reduce((sum, { byteLength }) => sum + byteLength, 0);
    // One that is too large by itself still passes when it is alone: it would never fit otherwise.
    const isFull = role.uncommittedBytes > 0 && role.uncommittedBytes + bytes > limits.uncommittedBytesMax;
    if (isFull) return { ok: false, reason: "overloaded", leaderId };
    const ids = this.#state.appendOwn(data.map((item) => ({ kind: "command", data: item })));
    role.uncommitted.push({ last: this.#state.log.last.index, bytes });
    role.uncommittedBytes += bytes;
    return { ok: true, ids };
  }

  /**
   * Leader only: one more voter, which counts from now on, for the commit of this very change too.
   *
   * One at a time, and only after an entry of the own term is committed: without that, two leaders of different terms
   * could each add one member and decide with quorums that do not meet (Ongaro on raft-dev, 2015).
   */
  addVoter(id: MemberId): ConfigAnswer {
    this.#assertIdle();
    const { role, leaderId, membership, log, term } = this.#state;
    if (role.kind !== "leader") return { ok: false, reason: "not-leader", leaderId };
    const { config } = membership.latest;
    if (config.voters.includes(id)) return { ok: true, id: null };
    if (role.transfer !== null) return { ok: false, reason: "transferring", leaderId };
    if (log.termAt(log.commitIndex) !== term) return { ok: false, reason: "not-ready", leaderId };
    if (this.#isConfigPending || config.outgoing.length > 0) {
      return { ok: false, reason: "config-pending", leaderId };
    }
    const changed: ClusterConfig = {
      voters: [...config.voters, id],
      outgoing: [],
      learners: config.learners.filter((learner) => learner !== id),
    };
    const [entry] = this.#state.appendOwn([{ kind: "config", data: encodeConfig(changed) }]);
    syncProgress(this.#state);
    return { ok: true, id: entry ?? null };
  }

  transferLeadership(to: MemberId): TransferAnswer {
    this.#assertIdle();
    return startTransfer(this.#state, to);
  }

  /**
   * Elects itself without waiting, if it is the only voter; with others it does nothing: a member that just started does
   * not know whom it promised loyalty.
   */
  campaign(): void {
    this.#assertIdle();
    const state = this.#state;
    if (state.role.kind !== "leader" && state.isOnlyVoter && state.isPromotable) startPreVote(state);
  }

  // --- Work out ---------------------------------------------------------------------------------------------------

  /** Null: there is nothing to do. Otherwise nothing else may be called until `persisted()`. */
  ready(): Ready | null {
    this.#assertIdle();
    const state = this.#state;
    if (state.role.kind === "leader") replicate(state, state.role);
    const entries = state.log.unstable();
    const hard = this.#changedHard();
    const committed = state.log.unapplied(state.limits.applyBytesMax);
    const messages = state.outbox;
    if (entries.length + committed.length + messages.length === 0 && hard === null) return null;
    state.outbox = [];
    this.#handedOut = { applied: committed.at(-1)?.index ?? state.log.appliedIndex };
    if (hard !== null) this.#savedHard = hard;
    return { entries, hard, committed, messages };
  }

  /** Everything that the last `ready` handed out is durable, and its committed entries are applied. */
  persisted(): void {
    assert(this.#handedOut !== null, "only what was handed out comes back");
    const { applied } = this.#handedOut;
    this.#handedOut = null;
    const state = this.#state;
    state.log.markStable();
    state.log.markApplied(applied);
    // Only now does this member count for its own election and its own commits: counting earlier acknowledges what a
    // crash forgets (etcd #14370).
    if (state.role.kind === "candidate") recordVote(state, state.id, true);
    else if (state.role.kind === "leader") advanceCommit(state, state.role);
  }

  status(): EngineStatus {
    const state = this.#state;
    const { role, log, membership } = state;
    const leader = role.kind === "leader" ? role : null;
    return {
      role: role.kind,
      term: state.term,
      leaderId: state.leaderId,
      commitIndex: log.commitIndex,
      lastIndex: log.last.index,
      appliedIndex: log.appliedIndex,
      config: membership.latest.config,
      isConfigPending: this.#isConfigPending,
      isReady: leader !== null && log.appliedIndex >= leader.termStart,
      isTransferring: leader !== null && leader.transfer !== null,
      followers: [...(leader?.progress ?? [])].map(([id, progress]) => ({
        id,
        matchIndex: progress.matchIndex,
        isActive: leader !== null && isActive(state, leader, id),
        needsSnapshot: progress.state === "snapshot",
      })),
    };
  }

  // --- Inside -----------------------------------------------------------------------------------------------------

  get #isConfigPending(): boolean {
    return this.#state.membership.latest.index > this.#state.log.commitIndex;
  }

  #learnTerm(message: Message): void {
    // A pre-vote asks about a term that nobody is in yet, and a yes to one repeats it.
    if (message.type === "pre-vote") return;
    if (message.type === "pre-vote-response" && message.isGranted) return;
    const isFromLeader = message.type === "append" || message.type === "heartbeat";
    becomeFollower(this.#state, message.term, isFromLeader ? message.from : null);
  }

  /** Who asks in an old term is told the new one: silence would leave a deposed leader or a stuck member as it is. */
  #answerOld(message: Message): void {
    const state = this.#state;
    switch (message.type) {
      case "append":
      case "heartbeat":
        // Not the message's round: it was counted in another term.
        state.send(message.from, { type: "heartbeat-response", round: 0 });
        return;
      case "pre-vote":
        state.send(message.from, { type: "pre-vote-response", isGranted: false });
        return;
      case "vote":
        state.send(message.from, { type: "vote-response", isGranted: false });
        return;
      case "append-response":
      case "heartbeat-response":
      case "pre-vote-response":
      case "vote-response":
      case "timeout-now":
        return;
      default:
        unreachable(message);
    }
  }

  #dispatch(message: Message): void {
    const state = this.#state;
    switch (message.type) {
      case "pre-vote":
      case "vote":
        handleVoteRequest(state, message);
        return;
      case "pre-vote-response":
      case "vote-response":
        handleVoteResponse(state, message);
        return;
      case "append":
        this.#followLeader(message.from);
        handleAppend(state, message);
        return;
      case "heartbeat":
        this.#followLeader(message.from);
        handleHeartbeat(state, message);
        return;
      case "append-response":
        if (state.role.kind === "leader") handleAppendResponse(state, state.role, message);
        return;
      case "heartbeat-response":
        if (state.role.kind === "leader") handleHeartbeatResponse(state, state.role, message.from);
        return;
      case "timeout-now":
        // Also where the log is behind: the voters will see to that. Not where this member does not vote (any more).
        if (message.from === state.leaderId && state.isPromotable) startVote(state, true);
        return;
      default:
        unreachable(message);
    }
  }

  /** `from` leads this term. */
  #followLeader(from: MemberId): void {
    const state = this.#state;
    assert(state.role.kind !== "leader", "a term has one leader");
    if (state.role.kind !== "follower" || state.leaderId !== from) becomeFollower(state, state.term, from);
    state.quietTicks = 0;
    state.electionElapsed = 0;
  }

  #changedHard(): HardState | null {
    const { term, vote, log } = this.#state;
    const saved = this.#savedHard;
    const isSame = saved.term === term && saved.vote === vote && saved.commit === log.commitIndex;
    return isSame ? null : { term, vote, commit: log.commitIndex };
  }

  #assertIdle(): void {
    assert(this.#handedOut === null, "what was handed out is durable before anything else happens");
  }
}
