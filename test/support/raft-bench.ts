import { assert } from "../../src/base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../src/base/ids.ts";
import type { ConfigAnswer } from "../../src/raft/engine/config-change.ts";
import { Engine, type EngineStatus, type Ready } from "../../src/raft/engine/engine.ts";
import type { EngineLimits } from "../../src/raft/engine/limits.ts";
import { encodeConfig } from "../../src/raft/engine/membership.ts";
import type { ClusterConfig, Entry, EntryId, EntryKind, Message } from "../../src/raft/engine/message.ts";
import type { ReadState } from "../../src/raft/engine/reads.ts";
import type { Body } from "../../src/raft/engine/state.ts";
import type { StagedSnapshot } from "../../src/raft/ports.ts";
import { MemoryLogStore } from "./memory-log-store.ts";

/** One engine on a bench: messages are handed to it by hand, and what it does is looked at. */

export const M1 = "m1" as MemberId;
export const M2 = "m2" as MemberId;
export const M3 = "m3" as MemberId;
export const M4 = "m4" as MemberId;
export const M5 = "m5" as MemberId;

export const TIMING = { heartbeatTicks: 2, electionTicksMin: 10, electionTicksMax: 20 };

export type MessageOf<Type extends Message["type"]> = Message & { readonly type: Type };

export interface BenchOptions {
  readonly id?: MemberId;
  readonly voters?: readonly MemberId[];
  readonly learners?: readonly MemberId[];
  readonly entries?: readonly Entry[];
  readonly term?: number;
  readonly vote?: MemberId;
  readonly commit?: number;
  readonly promotableFrom?: number;
  readonly limits?: Partial<EngineLimits>;
  /** The disk of an earlier life; then voters, entries, term, vote and commit are its own. */
  readonly store?: MemoryLogStore;
  /** Chooses the patience within the limits. Default: the least. */
  readonly integer?: (min: number, max: number) => number;
}

export class Bench {
  readonly id: MemberId;
  readonly engine: Engine;
  readonly store: MemoryLogStore;
  /** Answered reads, in order. */
  readonly reads: ReadState[] = [];
  /** Followers for which a snapshot was asked for, in order. */
  readonly snapshotsWanted: MemberId[] = [];
  readonly #options: BenchOptions;
  /** Sent since the last look; a leader's appends and heartbeats before its own disk had them, all else after. */
  #sent: Message[] = [];

  constructor(options: BenchOptions = {}) {
    this.#options = options;
    this.id = options.id ?? M1;
    this.store = options.store ?? newStore(options);
    this.engine = new Engine({
      id: this.id,
      stored: this.store.load(),
      reader: this.store,
      timing: TIMING,
      random: { integer: options.integer ?? ((min) => min) },
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
  }

  get status(): EngineStatus {
    return this.engine.status();
  }

  /** The same member after a crash: only its disk is left. */
  restart(): Bench {
    return new Bench({ ...this.#options, store: this.store });
  }

  /** Carries out everything that the engine wants: disk first, then the messages. */
  settle(): this {
    for (let ready = this.engine.ready(); ready !== null; ready = this.engine.ready()) this.persist(ready);
    return this;
  }

  /** Carries out what was handed out, for a test that has looked at it first. */
  persist(ready: Ready | null): this {
    assert(ready !== null, "there was work");
    const { urgent, snapshot, entries, hard, committed, mustSync, messages, reads, snapshotsWanted } = ready;
    this.#sent.push(...urgent);
    if (entries.length + committed.length > 0 || hard !== null || snapshot !== null)
      this.store.commit({ snapshot, entries, hard, committed, mustSync });
    this.engine.persisted();
    this.#sent.push(...messages);
    this.reads.push(...reads);
    this.snapshotsWanted.push(...snapshotsWanted);
    return this;
  }

  tick(count = 1, trueTicks = 1): this {
    for (let at = 0; at < count; at += 1) {
      this.engine.tick(trueTicks);
      this.settle();
    }
    return this;
  }

  /** Hears this; what comes of it waits for `settle`. */
  step(from: MemberId, term: number, body: Body): this {
    this.engine.step({ ...body, from, to: this.id, term: term as Term });
    return this;
  }

  receive(from: MemberId, term: number, body: Body): this {
    return this.step(from, term, body).settle();
  }

  receiveSnapshot(from: MemberId, term: number, { meta, content }: StagedSnapshot): this {
    this.engine.stepSnapshot({ type: "snapshot", from, to: this.id, term: term as Term, meta }, content);
    return this.settle();
  }

  /** This leader lives, and says how far one may apply. */
  heartbeat(from: MemberId, term: number, commit = 0): this {
    return this.receive(from, term, { type: "heartbeat", commit: commit as LogIndex, round: 1 });
  }

  changeConfig(voters: readonly MemberId[], learners: readonly MemberId[] = []): ConfigAnswer {
    const answer = this.engine.changeConfig({ voters, learners });
    this.settle();
    return answer;
  }

  propose(...texts: readonly string[]): ReturnType<Engine["propose"]> {
    const answer = this.engine.propose(texts.map((text) => new TextEncoder().encode(text)));
    this.settle();
    return answer;
  }

  hasSent(type: Message["type"]): boolean {
    return this.#sent.some((message) => message.type === type);
  }

  /** What was sent since the last look. */
  take(): readonly Message[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  takeOf<Type extends Message["type"]>(type: Type): readonly MessageOf<Type>[] {
    return this.take().filter((message): message is MessageOf<Type> => message.type === type);
  }

  /** Ticks until the patience is over. With the default chance that is one more than the minimum. */
  losePatience(): this {
    return this.tick(TIMING.electionTicksMin + 1);
  }

  becomeCandidate(): this {
    this.losePatience();
    this.#grantAll("pre-vote-response", this.status.term + 1);
    return this;
  }

  becomeLeader(): this {
    this.becomeCandidate();
    if (this.status.role !== "leader") this.#grantAll("vote-response", this.status.term);
    return this;
  }

  /** All followers hold everything that the leader holds. */
  acknowledgeAll(): this {
    for (const { id } of this.status.followers) this.acknowledge(id, this.status.lastIndex);
    return this;
  }

  acknowledge(from: MemberId, index: number): this {
    return this.receive(from, this.status.term, {
      type: "append-response",
      index: index as LogIndex,
      rejection: null,
    });
  }

  /** @param suggestion where the follower suggests to look for the common past. */
  refuse(from: MemberId, index: number, suggestion: EntryId): this {
    return this.receive(from, this.status.term, {
      type: "append-response",
      index: index as LogIndex,
      rejection: suggestion,
    });
  }

  /** @param round which heartbeat is answered. */
  answer(from: MemberId, round: number): this {
    return this.receive(from, this.status.term, { type: "heartbeat-response", round });
  }

  append(
    from: MemberId,
    term: number,
    previous: readonly [number, number],
    entries: readonly Entry[],
    commit = 0,
  ): this {
    const [index, previousTerm] = previous;
    return this.receive(from, term, {
      type: "append",
      previous: { index: index as LogIndex, term: previousTerm as Term },
      entries,
      commit: commit as LogIndex,
    });
  }

  #grantAll(type: "pre-vote-response" | "vote-response", term: number): void {
    for (const id of this.status.config.voters) {
      const isOpen = this.status.role === "candidate" || this.status.role === "pre-candidate";
      if (id !== this.id && isOpen) this.receive(id, term, { type, isGranted: true });
    }
  }
}

function newStore(options: BenchOptions): MemoryLogStore {
  const store = new MemoryLogStore({
    entries: options.entries ?? [],
    hard: {
      term: (options.term ?? options.entries?.at(-1)?.term ?? 0) as Term,
      vote: options.vote ?? null,
      commit: (options.commit ?? 0) as LogIndex,
    },
    promotableFrom: (options.promotableFrom ?? 0) as LogIndex,
  });
  store.floorConfig = {
    index: 0 as LogIndex,
    config: config(options.voters ?? [M1, M2, M3], options.learners),
  };
  return store;
}

export function config(voters: readonly MemberId[], learners: readonly MemberId[] = []): ClusterConfig {
  return { voters, outgoing: [], learners, learnersNext: [] };
}

export function entry(index: number, term: number, text = "", kind: EntryKind = "command"): Entry {
  return { index: index as LogIndex, term: term as Term, kind, data: new TextEncoder().encode(text) };
}

export function configEntry(
  index: number,
  term: number,
  voters: readonly MemberId[],
  more: Partial<ClusterConfig> = {},
): Entry {
  const data = encodeConfig({ ...config(voters), ...more });
  return { index: index as LogIndex, term: term as Term, kind: "config", data };
}

/** A log by its terms: `logOf(1, 1, 2)` has entries 1/1, 2/1, 3/2. */
export function logOf(...terms: readonly number[]): readonly Entry[] {
  return terms.map((term, at) => entry(at + 1, term));
}

export function termsOf(entries: readonly Entry[]): readonly number[] {
  return entries.map(({ term }) => term);
}

export function id(index: number, term: number): { readonly index: LogIndex; readonly term: Term } {
  return { index: index as LogIndex, term: term as Term };
}
