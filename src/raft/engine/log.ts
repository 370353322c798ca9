import { assert, defined } from "../../base/assert.ts";
import type { LogIndex, Term } from "../../base/ids.ts";
import type { LogStore } from "../ports.ts";
import type { Entry, EntryId } from "./message.ts";

/** The part of the disk that the engine reads. What is not durable yet never comes from here. */
export type LogReader = Pick<LogStore, "read" | "termAt">;

export interface LogStart {
  readonly floor: EntryId;
  readonly last: EntryId;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
}

/**
 * The log as the engine sees it: what is on the disk, and over it a tail in memory.
 *
 * ```
 *   floor      applied    commit    stable     last
 *     |-----------|----------|---------|---------|
 *     compacted   ^ on disk, read through the port
 *                        |--- tail, in memory ---|
 * ```
 *
 * The tail holds every entry that is not durable yet and some that are. Where the tail begins, the disk no longer
 * counts: after a truncation it holds entries that are wrong until the next transaction.
 *
 * Invariants: floor <= applied <= commit <= last; stable <= last.
 */
export class RaftLog {
  #floor: EntryId;
  readonly #reader: LogReader;
  readonly #cachedEntriesMax: number;
  #tail: Entry[] = [];
  /** Index of the first entry of the tail; `last + 1` while it is empty. */
  #tailFirst: LogIndex;
  #last: EntryId;
  #stable: LogIndex;
  #commit: LogIndex;
  #applied: LogIndex;

  constructor(reader: LogReader, start: LogStart, cachedEntriesMax: number) {
    assert(start.floor.index <= start.applied, "the state machine holds everything that was compacted");
    assert(start.applied <= start.commit, "only committed entries were applied");
    assert(
      start.commit <= start.last.index,
      "every committed entry is in the log (was data lost from the disk?)",
    );
    this.#reader = reader;
    this.#cachedEntriesMax = cachedEntriesMax;
    this.#floor = start.floor;
    this.#last = start.last;
    this.#stable = start.last.index;
    this.#tailFirst = next(start.last.index);
    this.#commit = start.commit;
    this.#applied = start.applied;
  }

  /** Everything up to here was compacted away, or came as a snapshot. */
  get floor(): EntryId {
    return this.#floor;
  }

  get last(): EntryId {
    return this.#last;
  }

  /** Everything up to here is durable on this member. */
  get stableIndex(): LogIndex {
    return this.#stable;
  }

  get commitIndex(): LogIndex {
    return this.#commit;
  }

  get appliedIndex(): LogIndex {
    return this.#applied;
  }

  /** Null for what was compacted away and for what does not exist: never 0, which would look like a term. */
  termAt(index: LogIndex): Term | null {
    if (index === this.#last.index) return this.#last.term;
    if (index === this.#floor.index) return this.#floor.term;
    if (index < this.#floor.index || index > this.#last.index) return null;
    if (index >= this.#tailFirst) return this.#inTail(index).term;
    return this.#reader.termAt(index);
  }

  holds(id: EntryId): boolean {
    return this.termAt(id.index) === id.term;
  }

  /**
   * Raft §5.4.1: is a log that ends with `other` at least as up to date as this one? The later term wins, then the
   * greater length. (Comparing the two one by one instead lets a stale candidate win.)
   */
  isUpToDate(other: EntryId): boolean {
    return (
      other.term > this.#last.term || (other.term === this.#last.term && other.index >= this.#last.index)
    );
  }

  /**
   * The last entry at or before `from` with a term of at most `term`: nothing after it can be where two logs agree, if
   * the other log has `term` at `from`. Lets a leader skip whole terms of a diverged follower in one round trip.
   */
  findAgreement(from: LogIndex, term: Term): EntryId {
    let index = Math.min(from, this.#last.index) as LogIndex;
    while (index > this.#floor.index) {
      const own = this.termAt(index);
      if (own === null) break;
      if (own <= term) return { index, term: own };
      index = previous(index);
    }
    return this.#floor;
  }

  /** Entries from `first` on, at least one, within the limits. May return fewer than the limits allow. */
  slice(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[] {
    assert(first > this.#floor.index && first <= this.#last.index, "only entries that exist are read");
    if (first < this.#tailFirst) {
      const count = Math.min(countMax, this.#tailFirst - first);
      const entries = this.#reader.read(first, count, bytesMax);
      assert(entries[0]?.index === first, "the disk holds every durable entry");
      return entries;
    }
    const entries: Entry[] = [];
    let bytes = 0;
    for (let at = first - this.#tailFirst; at < this.#tail.length && entries.length < countMax; at += 1) {
      const entry = defined(this.#tail[at], "the tail has no gap");
      bytes += entry.data.byteLength;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Entries that are not durable yet. */
  unstable(): readonly Entry[] {
    return this.#stable >= this.#last.index ? [] : this.#tail.slice(next(this.#stable) - this.#tailFirst);
  }

  /** Committed entries that the state machine has not got yet. */
  unapplied(bytesMax: number): readonly Entry[] {
    if (this.#applied >= this.#commit) return [];
    return this.slice(next(this.#applied), this.#commit - this.#applied, bytesMax);
  }

  /**
   * Puts `entries` at the end, dropping what this log has from `entries[0].index` on.
   *
   * The caller promises that `entries[0]` is either the next entry or one that conflicts.
   */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    const last = entries.at(-1);
    if (first === undefined || last === undefined) return;
    assert(first.index > this.#commit, "a committed entry is never overwritten");
    assert(first.index <= next(this.#last.index), "the log has no gap");
    assert(last.index - first.index === entries.length - 1, "appended entries have no gap");
    assert(last.term >= this.#last.term || first.index <= this.#last.index, "terms never go back in the log");
    if (first.index < this.#tailFirst) {
      this.#tail = [];
      this.#tailFirst = first.index;
    } else {
      this.#tail.length = first.index - this.#tailFirst;
    }
    for (const entry of entries) this.#tail.push(entry);
    this.#stable = Math.min(this.#stable, previous(first.index)) as LogIndex;
    this.#last = { index: last.index, term: last.term };
  }

  /** @returns true if the commit index grew. It never goes back. */
  commitTo(index: LogIndex): boolean {
    if (index <= this.#commit) return false;
    assert(
      index <= this.#last.index,
      "this log holds every entry that this member acknowledged (was data lost from the disk?)",
    );
    this.#commit = index;
    return true;
  }

  /** Everything that is in the log now is durable. */
  markStable(): void {
    this.#stable = this.#last.index;
    // Amortised: trimmed to half, so that the copying costs O(1) per entry.
    if (this.#tail.length > this.#cachedEntriesMax) {
      const excess = this.#tail.length - Math.floor(this.#cachedEntriesMax / 2);
      this.#tail = this.#tail.slice(excess);
      this.#tailFirst = (this.#tailFirst + excess) as LogIndex;
    }
  }

  markApplied(index: LogIndex): void {
    assert(index >= this.#applied && index <= this.#commit, "only committed entries are applied, in order");
    this.#applied = index;
  }

  /** The disk has forgotten what lies at or below `floor`. */
  compactedTo(floor: EntryId): void {
    assert(floor.index >= this.#floor.index, "the floor never sinks");
    assert(floor.index <= this.#applied, "only what is applied is compacted away");
    assert(this.holds(floor), "the floor is an entry of this log");
    this.#floor = floor;
    const excess = next(floor.index) - this.#tailFirst;
    if (excess <= 0) return;
    this.#tail = this.#tail.slice(excess);
    this.#tailFirst = next(floor.index);
  }

  /** A snapshot replaces everything: what it stands for is applied, and nothing comes after it. */
  restore({ index, term }: EntryId): void {
    assert(index > this.#commit, "a snapshot never takes back what is committed");
    this.#floor = { index, term };
    this.#last = this.#floor;
    this.#tail = [];
    this.#tailFirst = next(index);
    this.#stable = index;
    this.#commit = index;
    this.#applied = index;
  }

  #inTail(index: LogIndex): Entry {
    return defined(this.#tail[index - this.#tailFirst], "the tail has no gap");
  }
}

/** The index after this one. */
export function next(index: LogIndex): LogIndex {
  return (index + 1) as LogIndex;
}

/** The index before this one; 0 is the place before the first entry. */
export function previous(index: LogIndex): LogIndex {
  return (index - 1) as LogIndex;
}
