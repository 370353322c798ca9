import { assert, defined } from "../../src/base/assert.ts";
import type { LogIndex, MemberId } from "../../src/base/ids.ts";
import { Engine, type EngineStatus, type Ready } from "../../src/raft/engine/engine.ts";
import type { EngineLimits } from "../../src/raft/engine/limits.ts";
import type { Message } from "../../src/raft/engine/message.ts";
import type { MemoryLogStore } from "../support/memory-log-store.ts";
import { configText, entriesText, hardText, idText, messageText } from "./wording.ts";

export const TIMING = { heartbeatTicks: 5, electionTicksMin: 10, electionTicksMax: 20 };

/** What an actor needs of the stage. */
export interface Surroundings {
  tell(line: string): void;
  /** @returns false if it is lost at once. */
  send(message: Message): boolean;
}

export interface ActorOptions {
  readonly id: MemberId;
  readonly store: MemoryLogStore;
  readonly limits: Partial<EngineLimits>;
  readonly surroundings: Surroundings;
  patienceTicks: number;
}

type Snapshot = Extract<Message, { type: "snapshot" }>;

/**
 * One member: its engine, its disk, and a voice that tells what they do. What its owner would do (make durable, then send,
 * then report) is done here, step by step, and may stop where the disk is slow.
 */
export class Actor {
  readonly id: MemberId;
  readonly store: MemoryLogStore;
  patienceTicks: number;
  /** A slow disk leaves each write that must be synced outstanding, until it is let go on. */
  isDiskSlow = false;
  readonly #limits: Partial<EngineLimits>;
  readonly #surroundings: Surroundings;
  #engine: Engine | null = null;
  /** Handed out, and not on the disk yet. */
  #outstanding: Ready | null = null;
  /** What has arrived while the member could not look: it waits for its disk, or is down. */
  #inbox: Message[] = [];
  #told: EngineStatus | null = null;

  constructor({ id, store, limits, surroundings, patienceTicks }: ActorOptions) {
    this.id = id;
    this.store = store;
    this.patienceTicks = patienceTicks;
    this.#limits = limits;
    this.#surroundings = surroundings;
    this.start();
  }

  get isUp(): boolean {
    return this.#engine !== null;
  }

  get isWaitingForDisk(): boolean {
    return this.#outstanding !== null;
  }

  get engine(): Engine {
    const engine = this.#engine;
    if (engine === null) throw new Error(`${this.id} is down; restart it first`);
    if (this.#outstanding !== null)
      throw new Error(`${this.id} waits for its disk; let it go on with 'disk'`);
    return engine;
  }

  /** Null while it is down. */
  get status(): EngineStatus | null {
    return this.#engine?.status() ?? null;
  }

  start(): void {
    assert(this.#engine === null, "who is up does not start");
    this.#engine = new Engine({
      id: this.id,
      stored: this.store.load(),
      reader: this.store,
      timing: TIMING,
      random: { integer: (min, max) => Math.min(Math.max(this.patienceTicks, min), max) },
      limits: this.#limits,
    });
    this.#told = this.#engine.status();
    this.#work();
  }

  /** Whatever is only in memory is gone. @param isWritten whether the outstanding write had reached the disk. */
  crash(isWritten: boolean): void {
    const ready = this.#outstanding;
    this.#engine = null;
    this.#outstanding = null;
    this.#inbox = [];
    if (ready !== null && isWritten) this.#commit(ready);
  }

  /** Does something to the engine, then what the engine wants. */
  act<T>(event: (engine: Engine) => T): T {
    const answer = event(this.engine);
    this.#work();
    return answer;
  }

  receive(message: Message): void {
    if (!this.isUp) {
      this.#tell(`${messageText(message)}  (nobody is there)`);
      return;
    }
    if (this.#outstanding !== null) {
      this.#tell(`${messageText(message)}  (waits for ${this.id}'s disk)`);
      this.#inbox.push(message);
      return;
    }
    this.#tell(messageText(message));
    this.act((engine) => engine.step(message));
  }

  receiveSnapshot(message: Snapshot, content: unknown): void {
    this.#tell(messageText(message));
    this.act((engine) => engine.stepSnapshot(message, content));
  }

  /** The outstanding write is on the disk now. */
  letDiskGoOn(): void {
    const ready = defined(this.#outstanding, `${this.id} waits for its disk`);
    this.#outstanding = null;
    this.#finish(ready);
    this.#work();
    const waited = this.#inbox;
    this.#inbox = [];
    for (const message of waited) this.receive(message);
  }

  #work(): void {
    const engine = defined(this.#engine, "who is down does nothing");
    for (;;) {
      if (this.#outstanding !== null) return;
      const ready = engine.ready();
      this.#tellChanges();
      if (ready === null) return;
      this.#begin(ready);
    }
  }

  #begin(ready: Ready): void {
    this.#tellAll("at once", ready.urgent.map(this.#sent));
    const lines = this.#batchTexts(ready);
    if (this.isDiskSlow && ready.mustSync) {
      this.#tellAll("writing", lines);
      this.#outstanding = ready;
      return;
    }
    this.#tellAll(ready.mustSync ? "sync" : "lazy", lines);
    this.#finish(ready);
  }

  #finish(ready: Ready): void {
    this.#commit(ready);
    this.#engine?.persisted();
    if (ready.committed.length > 0) this.#tellAll("apply", [entriesText(ready.committed)]);
    this.#tellAll("send", ready.messages.map(this.#sent));
    this.#tellAll(
      "reads",
      ready.reads.map(({ id, index }) => (index === null ? `${id}: ask again` : `${id}: at ${index}`)),
    );
    this.#tellAll(
      "wants",
      ready.snapshotsWanted.map((id) => `a snapshot for ${id}`),
    );
    this.#tellChanges();
  }

  #commit({ snapshot, entries, hard, committed, mustSync }: Ready): void {
    if (snapshot === null && entries.length === 0 && hard === null && committed.length === 0) return;
    this.store.commit({ snapshot, entries, hard, committed, mustSync });
  }

  #batchTexts({ snapshot, entries, hard }: Ready): readonly string[] {
    const parts = [
      ...(snapshot === null ? [] : [`snapshot up to ${idText(snapshot.meta)} instead of the whole log`]),
      ...(entries.length === 0 ? [] : [entriesText(entries)]),
      ...(hard === null ? [] : hardText(hard, this.store.hard)),
    ];
    return parts.length === 0 ? [] : [parts.join("; ")];
  }

  readonly #sent = (message: Message): string => {
    const isLost = !this.#surroundings.send(message);
    return `${messageText(message)}${isLost ? "  (lost)" : ""}`;
  };

  #tellChanges(): void {
    const now = defined(this.status, "only who is up changes");
    const before = this.#told;
    this.#told = now;
    const isSameRole =
      before?.role === now.role && before.term === now.term && before.leaderId === now.leaderId;
    if (!isSameRole) this.#tell(`  ${this.id} ${roleText(now)}`);
    const config = configText(now.config);
    if (before !== null && configText(before.config) !== config) this.#tell(`  ${this.id} counts ${config}`);
  }

  #tellAll(label: string, lines: readonly string[]): void {
    for (const [index, line] of lines.entries()) {
      this.#tell(`  ${(index === 0 ? label : "").padEnd(9)}${line}`);
    }
  }

  #tell(line: string): void {
    this.#surroundings.tell(line);
  }
}

/** `leads term 2`, `follows m1 in term 2`. */
export function roleText({ role, term, leaderId }: EngineStatus): string {
  switch (role) {
    case "leader":
      return `leads term ${term}`;
    case "follower":
      return leaderId === null ? `follows nobody in term ${term}` : `follows ${leaderId} in term ${term}`;
    case "pre-candidate":
      return `is pre-candidate in term ${term}`;
    case "candidate":
      return `is candidate in term ${term}`;
  }
}

/** The index as the engine's type. */
export function at(index: number): LogIndex {
  return index as LogIndex;
}
