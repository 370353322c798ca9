import { assert } from "../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Random } from "../base/random.ts";
import {
  type ConfigAnswer,
  Engine,
  type EngineStatus,
  type ProposeAnswer,
  type Ready,
} from "./engine/engine.ts";
import type { EngineLimits } from "./engine/limits.ts";
import { encodeConfig } from "./engine/membership.ts";
import type { Entry, Message } from "./engine/message.ts";
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
  /** At the end of `process()`, if role, term, leader, an index, the configuration or readiness changed. */
  readonly onStatus: (status: NodeStatus) => void;
}

/**
 * Drives an engine: what it decides is made durable, then sent, then reported.
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
 * - neither yet: unknown.
 */
export class RaftNode {
  readonly #options: NodeOptions;
  readonly #engine: Engine;
  #reported: NodeStatus;
  #phase: "idle" | "processing" | "broken" = "idle";

  /** Reads the store. Sends nothing and reports nothing before the first `process()`. */
  constructor(options: NodeOptions) {
    this.#options = options;
    const { id, store, timing, random, limits } = options;
    this.#engine = new Engine({
      id,
      stored: store.load(),
      reader: store,
      timing,
      random,
      ...(limits === undefined ? {} : { limits }),
    });
    this.#reported = this.#engine.status();
  }

  /** One tick has passed. After a long pause: deliver what waited in the sockets first, then tick once. */
  tick(): void {
    this.#engine.tick();
  }

  receive(message: Message): void {
    this.#engine.step(message);
  }

  /** One command per item; all of them or none. */
  propose(data: readonly Uint8Array[]): ProposeAnswer {
    return this.#engine.propose(data);
  }

  /**
   * Adds a voter that is running and can be reached: it counts at once, so with one voter before, nothing is committed
   * until it answers.
   */
  addVoter(id: MemberId): ConfigAnswer {
    return this.#engine.addVoter(id);
  }

  transferLeadership(to: MemberId): TransferAnswer {
    return this.#engine.transferLeadership(to);
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
      this.#reportStatus();
    } catch (error) {
      this.#phase = "broken";
      throw error;
    }
    this.#phase = "idle";
  }

  #carryOut({ entries, hard, committed, messages }: Ready): void {
    const { store, transport, onApplied } = this.#options;
    // Heartbeats change nothing durable: they must not wait for the disk.
    const needsDisk = entries.length > 0 || hard !== null || committed.length > 0;
    const applied = needsDisk ? store.commit({ entries, hard, committed }) : [];
    this.#engine.persisted();
    for (const message of messages) transport.send(message);
    if (applied.length > 0) onApplied(applied);
  }

  #reportStatus(): void {
    const status = this.#engine.status();
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
      data: encodeConfig({ voters: [id], outgoing: [], learners: [] }),
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
