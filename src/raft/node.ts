import { assert } from "../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Random } from "../base/random.ts";
import type { ConfigAnswer, ConfigTarget } from "./engine/config-change.ts";
import { Engine, type EngineStatus, type ProposeAnswer, type Ready } from "./engine/engine.ts";
import { DEFAULT_LIMITS, type EngineLimits } from "./engine/limits.ts";
import { encodeConfig } from "./engine/membership.ts";
import type { Entry, Message } from "./engine/message.ts";
import type { ReadAnswer, ReadId, ReadState } from "./engine/reads.ts";
import type { Timing } from "./engine/state.ts";
import type { TransferAnswer } from "./engine/transfer.ts";
import type { Applied, LogStore, Transport } from "./ports.ts";

export type NodeStatus = EngineStatus;

export interface NodeOptions {
  readonly id: MemberId;
  readonly store: LogStore;
  readonly transport: Transport;
  /** Each member needs its own seed. */
  readonly random: Random;
  readonly timing: Timing;
  readonly limits?: Partial<EngineLimits>;
  /** What the state machine answered, in order; durable by then. May call `propose` and the like, and `receive`. */
  readonly onApplied: (applied: readonly Applied[]) => void;
  /** Reads that were confirmed, or cannot be any more. Those that were confirmed wait until `index` is applied. */
  readonly onReads: (reads: readonly ReadState[]) => void;
  /** Leader: this follower needs a snapshot. However the sending ends, `reportSnapshot` is owed. */
  readonly onSnapshotNeeded: (to: MemberId) => void;
  /** At the end of `process()`, if role, term, leader, an index, the configuration or readiness changed. */
  readonly onStatus: (status: NodeStatus) => void;
}

/**
 * Drives an engine: what it decides is made durable, then sent, then reported. Only a leader's appends and heartbeats go
 * out before its own disk has them, and travel while it writes.
 *
 * `tick`, `receive`, `propose` and the rest only tell the engine; the owner calls `process()` once per turn of its event
 * loop, so that everything that came in during the turn shares one transaction.
 *
 * A proposal that was taken may still be lost with the leadership. Keep its `EntryId` and look at what is applied:
 *
 * - an `Applied` with the same index *and* term: it happened, and this is the answer;
 * - an `Applied` with the same index and another term, or `status().appliedIndex` at or beyond the index without any
 *   `Applied` of the same index and term (entries of Raft's own have none): it is lost and will never happen.
 *   `onApplied` comes before `onStatus`, so whoever checks in `onStatus` has seen every answer;
 * - neither yet, or a snapshot has covered the index (`status().floorIndex` is at or beyond it, without an answer): unknown.
 */
export class RaftNode {
  readonly #options: NodeOptions;
  readonly #engine: Engine;
  readonly #limits: EngineLimits;
  #reported: NodeStatus;
  #phase: "idle" | "processing" | "broken" = "idle";

  /** Reads the store. Sends nothing and reports nothing before the first `process()`. */
  constructor(options: NodeOptions) {
    this.#options = options;
    const { id, store, timing, random } = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#engine = new Engine({
      id,
      stored: store.load(),
      reader: store,
      timing,
      random,
      limits: this.#limits,
    });
    this.#reported = this.#engine.status();
  }

  /**
   * One tick has passed. After a long pause: deliver what waited in the sockets first, then tick once.
   *
   * @param trueTicks how many have really passed: a leader's authority lapses with them.
   */
  tick(trueTicks = 1): void {
    this.#engine.tick(trueTicks);
  }

  receive(message: Message): void {
    this.#engine.step(message);
  }

  /**
   * A snapshot has arrived whole and was verified. After the next `process()` its contents are on the disk, or were not
   * needed: either way the caller may drop what it staged.
   */
  receiveSnapshot(message: Extract<Message, { type: "snapshot" }>, content: unknown): void {
    this.#engine.stepSnapshot(message, content);
  }

  /** One command per item; all of them or none. */
  propose(data: readonly Uint8Array[]): ProposeAnswer {
    return this.#engine.propose(data);
  }

  /** Leader only: from now on these vote, and these only receive the log. Joint where more than one voter changes. */
  changeConfig(target: ConfigTarget): ConfigAnswer {
    return this.#engine.changeConfig(target);
  }

  /**
   * Leader only: what index must be applied for a read that begins now? Answered by `onReads`, within an election timeout.
   *
   * @param id of this attempt; never used again.
   */
  readIndex(id: ReadId): ReadAnswer {
    return this.#engine.readIndex(id);
  }

  /** @param to null: the voter that needs the least to catch up. */
  transferLeadership(to: MemberId | null): TransferAnswer {
    return this.#engine.transferLeadership(to);
  }

  /** The snapshot for this follower was sent, or could not be. */
  reportSnapshot(id: MemberId): void {
    this.#engine.reportSnapshot(id);
  }

  /** The connection to this member broke. */
  reportUnreachable(id: MemberId): void {
    this.#engine.reportUnreachable(id);
  }

  /**
   * Forgets applied entries but the last `trailingEntries`; `process()` does so by itself now and then. Between two calls
   * of `process()` only.
   */
  compact(trailingEntries: number): void {
    assert(this.#phase === "idle", "the log is compacted between two turns");
    this.#compact(trailingEntries);
  }

  /** At the start of a member: the only voter of a group need not wait for anybody. Otherwise without effect. */
  campaign(): void {
    this.#engine.campaign();
  }

  status(): NodeStatus {
    return this.#engine.status();
  }

  /**
   * Makes durable, sends and reports until there is nothing left to do.
   *
   * @throws what the store throws. The node is broken then, and says so on each later call: the process must end, since
   *   nobody knows what is on the disk.
   */
  process(): void {
    assert(this.#phase !== "broken", "a member whose disk failed does not go on");
    // Called from one of the callbacks below: the loop that called it takes care.
    if (this.#phase === "processing") return;
    this.#phase = "processing";
    try {
      for (let ready = this.#engine.ready(); ready !== null; ready = this.#engine.ready())
        this.#carryOut(ready);
      this.#compactIfLong();
      this.#reportStatus(this.#engine.status());
    } catch (error) {
      this.#phase = "broken";
      throw error;
    }
    this.#phase = "idle";
  }

  #carryOut({ urgent, snapshot, entries, hard, committed, mustSync, ...rest }: Ready): void {
    const { store, transport, onApplied, onReads, onSnapshotNeeded } = this.#options;
    // What only says how far all may apply waits for nobody's disk, but whoever waits here for an answer comes first.
    const isNews = (message: Message): boolean =>
      committed.length > 0 && message.type === "append" && message.entries.length === 0;
    for (const message of urgent) if (!isNews(message)) transport.send(message);
    // Heartbeats change nothing durable: they must not wait for the disk.
    const needsDisk = snapshot !== null || entries.length > 0 || hard !== null || committed.length > 0;
    const applied = needsDisk ? store.commit({ snapshot, entries, hard, committed, mustSync }) : [];
    this.#engine.persisted();
    for (const message of rest.messages) transport.send(message);
    if (applied.length > 0) onApplied(applied);
    for (const message of urgent) if (isNews(message)) transport.send(message);
    if (rest.reads.length > 0) onReads(rest.reads);
    for (const id of rest.snapshotsWanted) onSnapshotNeeded(id);
  }

  #compactIfLong(): void {
    const { trailingEntries, compactEveryEntries } = this.#limits;
    const { appliedIndex, floorIndex } = this.#engine;
    if (appliedIndex - floorIndex >= trailingEntries + compactEveryEntries) this.#compact(trailingEntries);
  }

  #compact(trailingEntries: number): void {
    const { appliedIndex, floorIndex } = this.#engine;
    const upTo = appliedIndex - trailingEntries;
    if (upTo <= floorIndex) return;
    this.#engine.compactedTo(this.#options.store.compact(upTo as LogIndex));
  }

  #reportStatus(status: NodeStatus): void {
    if (isSameStatus(status, this.#reported)) return;
    this.#reported = status;
    this.#options.onStatus(status);
  }
}

/**
 * The log of a new group with one member: who votes, and the first command. Stored in one transaction with the hard
 * state `{term: 1, vote: null, commit: 0}`, before a node is made; then `campaign()`.
 */
export function bootstrapEntries(id: MemberId, command: Uint8Array): readonly Entry[] {
  const term = 1 as Term;
  return [
    {
      index: 1 as LogIndex,
      term,
      kind: "config",
      data: encodeConfig({ voters: [id], outgoing: [], learners: [], learnersNext: [] }),
    },
    { index: 2 as LogIndex, term, kind: "command", data: command },
  ];
}

function isSameStatus(a: NodeStatus, b: NodeStatus): boolean {
  return (
    a.role === b.role &&
    a.term === b.term &&
    a.leaderId === b.leaderId &&
    a.commitIndex === b.commitIndex &&
    a.appliedIndex === b.appliedIndex &&
    // The engine makes a new configuration only when it reads one from an entry.
    a.config === b.config &&
    a.isConfigPending === b.isConfigPending &&
    a.isReady === b.isReady &&
    a.isTransferring === b.isTransferring
  );
}
