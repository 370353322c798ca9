import { assert, defined } from "../../src/base/assert.ts";
import type { LogIndex, Term } from "../../src/base/ids.ts";
import { decodeConfig } from "../../src/raft/engine/membership.ts";
import type { Entry, EntryId, HardState, PlacedConfig } from "../../src/raft/engine/message.ts";
import type { Applied, LogStore, StagedSnapshot, StoreBatch, StoredRaft } from "../../src/raft/ports.ts";

export interface MemoryLogStoreOptions {
  readonly entries?: readonly Entry[];
  readonly hard?: HardState;
  readonly promotableFrom?: LogIndex;
  /** The state machine: gets committed commands in order, answers each. Default: answers with the count so far. */
  readonly apply?: (entry: Entry) => unknown;
}

/**
 * A disk in memory that keeps what `LogStore` promises: each `commit` is all there, for ever, once it has returned.
 *
 * A crash of its member therefore changes nothing: make a new node over the same store. It also holds its user to the
 * promises on the other side (no gap, nothing applied twice or before it is committed and stored).
 */
export class MemoryLogStore implements LogStore {
  hard: HardState;
  applied = 0 as LogIndex;
  floor: EntryId = { index: 0 as LogIndex, term: 0 as Term };
  floorConfig: PlacedConfig | null = null;
  /** Every transaction, for tests that look at what was written when. */
  readonly batches: StoreBatch[] = [];
  readonly commands: Entry[] = [];
  readonly #promotableFrom: LogIndex;
  readonly #apply: (entry: Entry) => unknown;
  readonly #entries: Entry[];

  constructor(options: MemoryLogStoreOptions = {}) {
    this.#entries = [...(options.entries ?? [])];
    const lastTerm = this.#entries.at(-1)?.term ?? (0 as Term);
    this.hard = options.hard ?? { term: lastTerm, vote: null, commit: 0 as LogIndex };
    this.#promotableFrom = options.promotableFrom ?? (0 as LogIndex);
    this.#apply = options.apply ?? (() => this.commands.length);
  }

  /** Everything above the floor. */
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get last(): EntryId {
    const last = this.#entries.at(-1);
    return last === undefined ? this.floor : { index: last.index, term: last.term };
  }

  load(): StoredRaft {
    return {
      hard: this.hard,
      floor: this.floor,
      floorConfig: this.floorConfig,
      configs: this.#configs(),
      last: this.last,
      applied: this.applied,
      promotableFrom: this.#promotableFrom,
    };
  }

  read(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[] {
    const start = first - this.floor.index - 1;
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#entries.slice(start, start + countMax)) {
      bytes += entry.data.byteLength;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return entries;
  }

  termAt(index: LogIndex): Term | null {
    if (index === this.floor.index) return this.floor.term;
    return this.#entries[index - this.floor.index - 1]?.term ?? null;
  }

  commit(batch: StoreBatch): readonly Applied[] {
    const isPromise = batch.hard !== null && !isSamePromise(batch.hard, this.hard);
    assert(
      batch.mustSync || (batch.snapshot === null && batch.entries.length === 0 && !isPromise),
      "entries, promises and snapshots wait for the disk",
    );
    this.batches.push(batch);
    if (batch.snapshot !== null) this.#install(batch.snapshot);
    this.#append(batch.entries);
    if (batch.hard !== null) {
      assert(batch.hard.term >= this.hard.term, "a stored term never goes back");
      this.hard = batch.hard;
    }
    const replies: Applied[] = [];
    for (const entry of batch.committed) {
      assert(entry.index === this.applied + 1, "entries are applied in order, each once");
      assert(entry.index <= this.hard.commit, "only committed entries are applied");
      assert(this.termAt(entry.index) === entry.term, "only stored entries are applied");
      this.applied = entry.index;
      if (entry.kind !== "command") continue;
      this.commands.push(entry);
      replies.push({ index: entry.index, term: entry.term, reply: this.#apply(entry) });
    }
    return replies;
  }

  compact(upTo: LogIndex): EntryId {
    assert(upTo <= this.applied, "only what is applied is compacted away");
    if (upTo <= this.floor.index) return this.floor;
    const term = defined(this.termAt(upTo), "only what is there is compacted away");
    this.floorConfig = this.#configs().findLast(({ index }) => index <= upTo) ?? this.floorConfig;
    this.#entries.splice(0, upTo - this.floor.index);
    this.floor = { index: upTo, term };
    return this.floor;
  }

  /** What a snapshot of this disk would be: the commands so far. */
  snapshot(): StagedSnapshot {
    const index = this.applied;
    const term = defined(this.termAt(index), "what is applied is there, or is the floor");
    const config = this.#configs().findLast((placed) => placed.index <= index) ?? this.floorConfig;
    return {
      meta: { index, term, config: defined(config, "whoever applied something knows who votes") },
      content: [...this.commands],
    };
  }

  #configs(): readonly PlacedConfig[] {
    return this.#entries
      .filter(({ kind }) => kind === "config")
      .map(({ index, data }) => ({ index, config: decodeConfig(data) }));
  }

  #install({ meta, content }: StagedSnapshot): void {
    assert(meta.index > this.applied, "a snapshot takes nothing back");
    this.#entries.length = 0;
    this.floor = { index: meta.index, term: meta.term };
    this.floorConfig = meta.config;
    this.applied = meta.index;
    this.commands.splice(0, this.commands.length, ...(content as readonly Entry[]));
  }

  #append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index <= this.last.index + 1, "the log has no gap");
    assert(first.index > this.applied, "what was applied is never overwritten");
    const conflict = entries.findIndex((entry) => this.termAt(entry.index) !== entry.term);
    if (conflict < 0) return;
    this.#entries.length = first.index + conflict - this.floor.index - 1;
    this.#entries.push(...entries.slice(conflict));
  }
}

function isSamePromise(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote;
}
