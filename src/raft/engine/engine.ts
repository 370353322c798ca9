import { assert, unreachable } from "../../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../base/ids.ts";
import type { Random } from "../../base/random.ts";
import type { StagedSnapshot, StoredRaft } from "../ports.ts";
import { type ConfigAnswer, type ConfigTarget, changeConfig, leaveJoint } from "./config-change.ts";
import {
  handleVoteRequest,
  handleVoteResponse,
  isLoyal,
  recordVote,
  startPreVote,
  startVote,
  tickElection,
} from "./election.ts";
import { isActive, isCaughtUp } from "./followers.ts";
import { DEFAULT_LIMITS, type EngineLimits } from "./limits.ts";
import { type LogReader, RaftLog } from "./log.ts";
import { EMPTY_CONFIG, Membership } from "./membership.ts";
import type { ClusterConfig, Entry, EntryId, HardState, Message } from "./message.ts";
import type { Progress } from "./progress.ts";
import { type ReadAnswer, type ReadId, type ReadState, startRead } from "./reads.ts";
import {
  advanceCommit,
  beatForReads,
  endSnapshot,
  handleAppend,
  handleAppendResponse,
  handleHeartbeat,
  handleHeartbeatResponse,
  replicate,
  tickLeader,
} from "./replication.ts";
import { handleSnapshot } from "./restore.ts";
import { becomeFollower } from "./roles.ts";
import { EngineState, type Timing } from "./state.ts";
import { retire, startTransfer, type TransferAnswer } from "./transfer.ts";

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
 * Work that the engine hands out. In this order: send `urgent`; make `snapshot`, `entries` and `hard` durable; apply
 * `committed`, in the same transaction or later; call `persisted()`; send `messages`, each of which may depend on what was
 * made durable. `reads` and `snapshotsWanted` are news for whoever drives the engine.
 */
export interface Ready {
  /** A leader's appends and heartbeats: its own disk writes while they travel (thesis §10.2.1). */
  readonly urgent: readonly Message[];
  /** Replaces the state machine and the log, before `entries`. */
  readonly snapshot: StagedSnapshot | null;
  readonly entries: readonly Entry[];
  /** Null: unchanged. */
  readonly hard: HardState | null;
  readonly committed: readonly Entry[];
  /** False: a power failure may take back what this hands out; nothing that is sent depends on it. */
  readonly mustSync: boolean;
  readonly messages: readonly Message[];
  readonly reads: readonly ReadState[];
  /** To each of these a snapshot is to be sent; `reportSnapshot` says how that ended. */
  readonly snapshotsWanted: readonly MemberId[];
}

export type ProposeAnswer =
  | { readonly ok: true; readonly ids: readonly EntryId[] }
  | {
      readonly ok: false;
      /** `overloaded`: too much is waiting for its commit; nothing of this proposal was taken. */
      readonly reason: "not-leader" | "transferring" | "overloaded";
      readonly leaderId: MemberId | null;
    };

export interface FollowerStatus {
  readonly id: MemberId;
  /** Everything up to here is durable on the follower. */
  readonly matchIndex: LogIndex;
  /** It was heard of within the minimum election timeout. */
  readonly isActive: boolean;
  readonly state: Progress["state"];
  /** It would not slow the group down as a voter. */
  readonly isCaughtUp: boolean;
}

export interface EngineStatus {
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: Term;
  readonly leaderId: MemberId | null;
  readonly commitIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  /** Everything up to here was compacted away. */
  readonly floorIndex: LogIndex;
  /** The latest configuration, committed or not: the one that counts. */
  readonly config: ClusterConfig;
  readonly isConfigPending: boolean;
  /** Leading, and an entry of the own term is committed and applied: what is applied here is what is agreed. */
  readonly isReady: boolean;
  readonly isTransferring: boolean;
  /** Empty unless leading. */
  readonly followers: readonly FollowerStatus[];
}

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
    const membership = new Membership(
      stored.floorConfig ?? { index: stored.floor.index, config: EMPTY_CONFIG },
      stored.configs,
    );
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

  /**
   * One tick.
   *
   * @param trueTicks how many have really passed since the last one. Patience counts one: what waits in the sockets of a
   *   member that stood still must be heard first. Authority counts them all: it lapses, whoever slept.
   */
  tick(trueTicks = 1): void {
    this.#assertIdle();
    assert(trueTicks >= 1, "time passes between two ticks");
    const { role } = this.#state;
    if (role.kind === "leader") tickLeader(this.#state, role, trueTicks);
    else tickElection(this.#state);
  }

  /** The one gate for messages: who is behind learns the newer term here, and only here (Raft §5.1). */
  step(message: Message): void {
    assert(message.type !== "snapshot", "a snapshot comes with its contents");
    this.#step(message, null);
  }

  /** A snapshot has arrived whole; `content` goes to the disk as it is, or nowhere if it brings no news. */
  stepSnapshot(message: Extract<Message, { type: "snapshot" }>, content: unknown): void {
    this.#step(message, content);
  }

  #step(message: Message, content: unknown): void {
    this.#assertIdle();
    const state = this.#state;
    if (message.to !== state.id || message.from === state.id) return;
    if (message.type === "pre-vote" || message.type === "vote") {
      // Without an answer, and without learning the term: thesis §4.2.3.
      if (message.term >= state.term && !message.isTransfer && isLoyal(state)) return;
    }
    if (message.term > state.term) this.#learnTerm(message);
    if (message.term < state.term) this.#answerOld(message);
    else this.#dispatch(message, content);
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

  /** Leader only: see `config-change.ts`. */
  changeConfig(target: ConfigTarget): ConfigAnswer {
    this.#assertIdle();
    return changeConfig(this.#state, target);
  }

  /** Leader only: see `reads.ts`. */
  readIndex(id: ReadId): ReadAnswer {
    this.#assertIdle();
    return startRead(this.#state, id);
  }

  /** How the sending of a snapshot ended. Whether it was installed, the follower's next answer tells. */
  reportSnapshot(id: MemberId): void {
    this.#assertIdle();
    const { role } = this.#state;
    if (role.kind === "leader") endSnapshot(this.#state, role, id);
  }

  /** The connection to this member broke: what was under way did not arrive. */
  reportUnreachable(id: MemberId): void {
    this.#assertIdle();
    const { role } = this.#state;
    if (role.kind === "leader") role.progress.get(id)?.unreachable();
  }

  /** The disk has forgotten what lies at or below `floor`. */
  compactedTo(floor: EntryId): void {
    this.#assertIdle();
    this.#state.log.compactedTo(floor);
  }

  transferLeadership(to: MemberId | null): TransferAnswer {
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
    this.#lead();
    const ready = this.#collect();
    if (isEmpty(ready)) return null;
    state.urgentOutbox = [];
    state.outbox = [];
    state.readStates = [];
    state.snapshotsWanted = [];
    state.staged = null;
    this.#handedOut = { applied: ready.committed.at(-1)?.index ?? state.log.appliedIndex };
    if (ready.hard !== null) this.#savedHard = ready.hard;
    return ready;
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

  get appliedIndex(): LogIndex {
    return this.#state.log.appliedIndex;
  }

  /** Everything up to here was compacted away. */
  get floorIndex(): LogIndex {
    return this.#state.log.floor.index;
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
      floorIndex: log.floor.index,
      config: membership.latest.config,
      isConfigPending: state.isConfigPending,
      isReady: leader !== null && log.appliedIndex >= leader.termStart,
      isTransferring: leader !== null && leader.transfer !== null,
      followers: [...(leader?.progress ?? [])].map(([id, progress]) => ({
        id,
        matchIndex: progress.matchIndex,
        isActive: leader !== null && isActive(state, leader, id),
        state: progress.state,
        isCaughtUp: leader !== null && isCaughtUp(state, leader, id),
      })),
    };
  }

  // --- Inside -----------------------------------------------------------------------------------------------------

  /** What a leader does once per turn, whatever the turn brought. */
  #lead(): void {
    const state = this.#state;
    const { role } = state;
    if (role.kind !== "leader") return;
    leaveJoint(state, role);
    retire(state, role);
    if (state.role !== role) return;
    replicate(state, role);
    beatForReads(state, role);
  }

  #collect(): Ready {
    const state = this.#state;
    const saved = this.#savedHard;
    const entries = state.log.unstable();
    const isNewPromise = saved.term !== state.term || saved.vote !== state.vote;
    return {
      urgent: state.urgentOutbox,
      snapshot: state.staged,
      entries,
      hard: this.#changedHard(),
      committed: state.log.unapplied(state.limits.applyBytesMax),
      mustSync: entries.length > 0 || state.staged !== null || isNewPromise,
      messages: state.outbox,
      reads: state.readStates,
      snapshotsWanted: state.snapshotsWanted,
    };
  }

  #learnTerm(message: Message): void {
    // A pre-vote asks about a term that nobody is in yet, and a yes to one repeats it.
    if (message.type === "pre-vote") return;
    if (message.type === "pre-vote-response" && message.isGranted) return;
    // Who leads it, if the message tells, is told by handling it.
    becomeFollower(this.#state, message.term, null);
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
      // Not from a leader of another term: the next heartbeat brings it here if it is one still.
      case "snapshot":
        return;
      default:
        unreachable(message);
    }
  }

  #dispatch(message: Message, content: unknown): void {
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
        if (state.role.kind === "leader") handleHeartbeatResponse(state, state.role, message);
        return;
      case "snapshot":
        this.#followLeader(message.from);
        handleSnapshot(state, message, content);
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

function isEmpty({
  urgent,
  snapshot,
  entries,
  hard,
  committed,
  messages,
  reads,
  snapshotsWanted,
}: Ready): boolean {
  const count =
    urgent.length +
    entries.length +
    committed.length +
    messages.length +
    reads.length +
    snapshotsWanted.length;
  return count === 0 && hard === null && snapshot === null;
}
