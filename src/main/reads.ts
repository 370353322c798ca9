/**
 * Reads that must not be stale: asks the leader which index was committed when the read began, and waits until that is
 * applied here. Each attempt has a number of its own, so that a late answer to an earlier one confirms nothing. Reads that
 * come while the leader is being asked share the next question.
 */
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { BarrierResult } from "../cluster/consensus.ts";
import type { ReadId, ReadState } from "../raft/engine/reads.ts";

export interface ReadPorts {
  /** Null: we lead. `undefined`: nobody is known to lead. */
  leader(): MemberId | null | undefined;
  /** Asks our own Raft, which answers by `confirmed`. @returns why not, or null. */
  readHere(id: ReadId): string | null;
  /** Asks the leader for the index. Rejects if it does not say. */
  readThere(leader: MemberId, deadlineMs: number): Promise<LogIndex>;
  appliedIndex(): LogIndex;
}

/** More that wait at a time are turned away. */
export const READS_MAX = 4096;
const RETRY_MS = 50;
/** A leader that does not answer in this time is asked again. */
const ASK_MS = 1000;

interface Read {
  readonly done: (result: BarrierResult) => void;
  readonly deadline: ReturnType<typeof setTimeout>;
  /** Known once the leader has said it. */
  index: LogIndex | null;
  reason: string;
}

export class Reads {
  readonly #ports: ReadPorts;
  readonly #countMax: number;
  readonly #open = new Set<Read>();
  /** Nobody was asked for these yet. */
  #waiting = new Set<Read>();
  #asking: { readonly reads: ReadonlySet<Read>; readonly leader: MemberId | null } | null = null;
  /** Questions to our own Raft. */
  readonly #here = new Map<ReadId, (index: LogIndex | null) => void>();
  #nextId = 1;
  #retry: ReturnType<typeof setTimeout> | null = null;

  constructor(ports: ReadPorts, countMax = READS_MAX) {
    this.#ports = ports;
    this.#countMax = countMax;
  }

  /** Calls `done` once, within `deadlineMs`. */
  add(deadlineMs: number, done: (result: BarrierResult) => void): void {
    if (this.#open.size >= this.#countMax) {
      done({ kind: "unknown", reason: `overloaded: ${this.#open.size} reads of this member wait already` });
      return;
    }
    const read: Read = {
      done,
      deadline: setTimeout(() => this.#finish(read, { kind: "unknown", reason: read.reason }), deadlineMs),
      index: null,
      reason: "no leader is known",
    };
    this.#open.add(read);
    this.#waiting.add(read);
    this.#ask();
  }

  /** As leader, for another member. Rejects if this member cannot say. */
  async indexForOther(): Promise<LogIndex> {
    const index = await this.#readHere();
    if (index === null) throw new Error("the leadership was lost: ask again");
    return index;
  }

  /** Our own Raft has answered. */
  confirmed(reads: readonly ReadState[]): void {
    for (const { id, index } of reads) {
      const resolve = this.#here.get(id);
      this.#here.delete(id);
      resolve?.(index);
    }
  }

  /** Our own Raft was replaced by a new one, which knows nothing of the questions. */
  forgetQuestions(): void {
    this.confirmed([...this.#here.keys()].map((id) => ({ id, index: null })));
  }

  /** Something was applied, or somebody else leads. */
  raftChanged(): void {
    const appliedIndex = this.#ports.appliedIndex();
    for (const read of this.#open) {
      if (read.index !== null && read.index <= appliedIndex)
        this.#finish(read, { kind: "reached", index: appliedIndex });
    }
    const leader = this.#ports.leader();
    if (this.#asking !== null && leader !== undefined && leader !== this.#asking.leader)
      this.#askAgain(this.#asking.reads, "the leader changed");
    this.#ask();
  }

  close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    for (const read of this.#open)
      this.#finish(read, { kind: "unknown", reason: "this member is shutting down" });
    this.forgetQuestions();
  }

  #ask(): void {
    if (this.#asking !== null || this.#waiting.size === 0) return;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    const leader = this.#ports.leader();
    if (leader === undefined) {
      this.#later();
      return;
    }
    const reads = this.#waiting;
    this.#waiting = new Set();
    const asking = { reads, leader };
    this.#asking = asking;
    const question = leader === null ? this.#readHere() : this.#ports.readThere(leader, ASK_MS);
    question.then(
      (index) => {
        if (this.#asking !== asking) return;
        if (index === null) this.#askAgain(reads, "the leadership was lost");
        else this.#known(reads, index);
      },
      (error: unknown) => {
        if (this.#asking !== asking) return;
        this.#askAgain(reads, error instanceof Error ? error.message : String(error));
      },
    );
  }

  #known(reads: ReadonlySet<Read>, index: LogIndex): void {
    this.#asking = null;
    for (const read of reads) {
      read.index = index;
      read.reason = "what was agreed before is not applied here yet";
    }
    this.raftChanged();
  }

  #askAgain(reads: ReadonlySet<Read>, reason: string): void {
    this.#asking = null;
    for (const read of reads) {
      if (!this.#open.has(read)) continue;
      read.reason = reason;
      this.#waiting.add(read);
    }
    this.#later();
  }

  #later(): void {
    if (this.#waiting.size === 0) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#ask();
    }, RETRY_MS);
  }

  #readHere(): Promise<LogIndex | null> {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      this.#here.set(id, resolve);
      const refusal = this.#ports.readHere(id);
      if (refusal === null) return;
      this.#here.delete(id);
      reject(new Error(refusal));
    });
  }

  #finish(read: Read, result: BarrierResult): void {
    if (!this.#open.delete(read)) return;
    this.#waiting.delete(read);
    clearTimeout(read.deadline);
    read.done(result);
  }
}
