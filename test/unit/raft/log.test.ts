import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { RaftLog } from "../../../src/raft/engine/log.ts";
import type { Entry } from "../../../src/raft/engine/message.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import { entry, id, logOf, termsOf } from "../../support/raft-bench.ts";

const MUCH = 1_000_000;

function at(index: number): LogIndex {
  return index as LogIndex;
}

interface LogOptions {
  /** What the disk holds. */
  readonly stored?: readonly Entry[];
  /** What was appended since, and is in memory only. */
  readonly unstable?: readonly Entry[];
  readonly commit?: number;
  readonly applied?: number;
  /** The disk has forgotten everything up to here. */
  readonly floor?: number;
  readonly cachedEntriesMax?: number;
}

function logWith(options: LogOptions = {}): RaftLog {
  const { stored = [], unstable = [], commit = 0, applied = 0, floor = 0, cachedEntriesMax = 100 } = options;
  const store = new MemoryLogStore({ entries: stored });
  store.applied = at(Math.max(applied, floor));
  if (floor > 0) store.compact(at(floor));
  const start = { floor: store.floor, last: store.last, commit: at(commit), applied: store.applied };
  const log = new RaftLog(store, start, cachedEntriesMax);
  log.append(unstable);
  return log;
}

/** Entries 1 to 6 with the terms 1 1 2 2 3 3, the last three in memory only. */
function halfStored(options: LogOptions = {}): RaftLog {
  const all = logOf(1, 1, 2, 2, 3, 3);
  return logWith({ stored: all.slice(0, 3), unstable: all.slice(3), ...options });
}

describe("the term of an entry", () => {
  test.each([
    { index: 1, term: null },
    { index: 2, term: 1 },
    { index: 3, term: 2 },
    { index: 4, term: 2 },
    { index: 6, term: 3 },
    { index: 7, term: null },
  ])("$index, where 2 is the floor, 3 is on the disk and 4 to 6 in memory: $term", ({ index, term }) => {
    const log = halfStored({ floor: 2, commit: 2 });
    expect(log.termAt(at(index))).toBe(term as Term | null);
    if (term !== null) expect(log.holds(id(index, term))).toBe(true);
    expect(log.holds(id(index, 9))).toBe(false);
  });

  test("before the first entry there is term 0, and nothing else without entries", () => {
    expect(logWith().termAt(at(0))).toBe(0 as Term);
    expect(logWith().termAt(at(1))).toBeNull();
  });

  test("after a snapshot that is not on the disk yet, only its last entry is known", () => {
    const log = halfStored();
    log.restore(id(20, 5));
    expect([1, 6, 19, 20, 21].map((index) => log.termAt(at(index)))).toEqual([
      null,
      null,
      null,
      5,
      null,
    ] as Term[]);
  });
});

describe("whose log is more up to date", () => {
  test.each([
    { last: id(5, 4), isUpToDate: true },
    { last: id(6, 4), isUpToDate: true },
    { last: id(7, 4), isUpToDate: true },
    { last: id(5, 2), isUpToDate: false },
    { last: id(6, 2), isUpToDate: false },
    { last: id(7, 2), isUpToDate: false },
    { last: id(5, 3), isUpToDate: false },
    { last: id(6, 3), isUpToDate: true },
    { last: id(7, 3), isUpToDate: true },
  ])("$last against 6/3: the later term, then the greater length", ({ last, isUpToDate }) => {
    expect(halfStored().isUpToDate(last)).toBe(isUpToDate);
  });
});

describe("where two logs may agree", () => {
  test.each([
    { terms: [2, 2, 2], from: 3, term: 2, wanted: 3 },
    { terms: [2, 2, 2], from: 2, term: 2, wanted: 2 },
    { terms: [2, 2, 2], from: 3, term: 1, wanted: 0 },
    { terms: [2, 2, 2], from: 3, term: 9, wanted: 3 },
    { terms: [2, 2, 2], from: 9, term: 2, wanted: 3 },
    { terms: [1, 2, 3, 3, 5], from: 5, term: 4, wanted: 4 },
    { terms: [1, 2, 3, 3, 5], from: 5, term: 3, wanted: 4 },
    { terms: [1, 2, 3, 3, 5], from: 4, term: 2, wanted: 2 },
    { terms: [1, 2, 3, 3, 5], from: 4, term: 1, wanted: 1 },
    { terms: [1, 2, 3, 3, 5], from: 0, term: 1, wanted: 0 },
  ])("$terms, the other has term $term at $from: at most $wanted", ({ terms, from, term, wanted }) => {
    expect(logWith({ stored: logOf(...terms) }).findAgreement(at(from), term as Term).index).toBe(at(wanted));
  });

  test("is not looked for below the floor", () => {
    expect(halfStored({ floor: 2, commit: 2 }).findAgreement(at(6), 0 as Term)).toEqual(id(2, 1));
  });
});

describe("appending", () => {
  test.each([
    { name: "nothing", entries: [], terms: [1, 1, 2, 2, 3, 3], unstable: [4, 5, 6] },
    { name: "at the end", entries: [entry(7, 4)], terms: [1, 1, 2, 2, 3, 3, 4], unstable: [4, 5, 6, 7] },
    {
      name: "over a part of what is in memory",
      entries: [entry(5, 4)],
      terms: [1, 1, 2, 2, 4],
      unstable: [4, 5],
    },
    {
      name: "over all that is in memory",
      entries: [entry(4, 4), entry(5, 4)],
      terms: [1, 1, 2, 4, 4],
      unstable: [4, 5],
    },
    { name: "over what is on the disk", entries: [entry(2, 4)], terms: [1, 4], unstable: [2] },
    { name: "over everything", entries: [entry(1, 4), entry(2, 4)], terms: [4, 4], unstable: [1, 2] },
  ])("$name: what is cut off is gone, what is new is not durable yet", ({ entries, terms, unstable }) => {
    const log = halfStored();
    log.append(entries);
    const indexes = Array.from({ length: terms.length }, (_, index) => at(index + 1));
    expect(indexes.map((index) => Number(log.termAt(index)))).toEqual([...terms]);
    expect(log.last).toEqual(id(terms.length, terms.at(-1) ?? 0));
    expect(log.unstable().map(({ index }) => Number(index))).toEqual([...unstable]);
  });

  test("an entry that is on the disk but was overwritten in memory is read from memory", () => {
    const log = logWith({ stored: logOf(1, 1, 1) });
    log.append([entry(2, 2, "new")]);
    expect(log.slice(at(2), 9, MUCH)).toEqual([entry(2, 2, "new")]);
    expect(log.slice(at(1), 9, MUCH).map(({ term }) => term)).toEqual([1 as Term]);
  });

  test("never over what is committed, never beyond a gap, never with terms that go back", () => {
    const log = halfStored({ commit: 3 });
    expect(() => log.append([entry(3, 4)])).toThrow("a committed entry is never overwritten");
    expect(() => log.append([entry(8, 4)])).toThrow("the log has no gap");
    expect(() => log.append([entry(7, 4), entry(9, 4)])).toThrow("appended entries have no gap");
    expect(() => log.append([entry(7, 2)])).toThrow("terms never go back in the log");
  });
});

describe("what is durable", () => {
  test("everything that was appended, once the disk says so", () => {
    const log = halfStored();
    expect(log.stableIndex).toBe(at(3));
    log.markStable();
    expect(log.stableIndex).toBe(at(6));
    expect(log.unstable()).toEqual([]);
  });

  test("no longer what was overwritten since", () => {
    const log = halfStored();
    log.markStable();
    log.append([entry(3, 4)]);
    expect(log.stableIndex).toBe(at(2));
    expect(log.unstable()).toEqual([entry(3, 4)]);
  });

  test("a snapshot, and everything that was waiting is not needed any more", () => {
    const log = halfStored();
    log.restore(id(9, 4));
    expect(log.unstable()).toEqual([]);
    expect(log.stableIndex).toBe(at(9));
    log.append([entry(10, 4)]);
    expect(log.unstable()).toEqual([entry(10, 4)]);
    log.markStable();
    expect(log.stableIndex).toBe(at(10));
  });
});

describe("committing and applying", () => {
  test("the commit index grows to what is there, and never goes back", () => {
    const log = halfStored({ commit: 2 });
    expect(log.commitTo(at(3))).toBe(true);
    expect(log.commitTo(at(1))).toBe(false);
    expect(log.commitIndex).toBe(at(3));
    expect(() => log.commitTo(at(7))).toThrow("was data lost from the disk?");
  });

  test.each([
    { commit: 0, applied: 0, wanted: [] },
    { commit: 2, applied: 0, wanted: [1, 2] },
    { commit: 2, applied: 2, wanted: [] },
    { commit: 3, applied: 1, wanted: [2, 3] },
    { commit: 6, applied: 4, wanted: [5, 6] },
  ])("committed up to $commit, applied up to $applied: $wanted comes next", ({ commit, applied, wanted }) => {
    const log = halfStored();
    log.commitTo(at(commit));
    log.markApplied(at(applied));
    const handedOut = log.unapplied(MUCH).map(({ index }) => index);
    // What lies on the disk and what lies in memory may come one after the other.
    expect(handedOut).toEqual(wanted.slice(0, handedOut.length) as LogIndex[]);
    expect(handedOut.length > 0).toBe(wanted.length > 0);
  });

  test("comes in portions of the wanted size, without a gap, and at least one entry at a time", () => {
    const stored = Array.from({ length: 9 }, (_, index) => entry(index + 1, 1, "x".repeat(10)));
    const log = logWith({ stored: stored.slice(0, 5), unstable: stored.slice(5), commit: 0 });
    log.commitTo(at(9));
    const portions: number[][] = [];
    for (let items = log.unapplied(25); items.length > 0; items = log.unapplied(25)) {
      portions.push(items.map(({ index }) => index));
      log.markApplied(items.at(-1)?.index ?? at(0));
    }
    expect(portions.flat()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const portion of portions) expect(portion.length).toBeLessThanOrEqual(2);
    const large = logWith({ stored: [entry(1, 1, "x".repeat(99))], commit: 1 });
    expect(large.unapplied(25)).toHaveLength(1);
  });

  test("only what is committed is applied, and each entry once", () => {
    const log = halfStored({ commit: 3 });
    log.markApplied(at(2));
    expect(() => log.markApplied(at(1))).toThrow("only committed entries are applied, in order");
    expect(() => log.markApplied(at(4))).toThrow("only committed entries are applied, in order");
  });
});

describe("reading a range", () => {
  test.each([
    { first: 3, count: 9, wanted: [3] },
    { first: 4, count: 9, wanted: [4, 5, 6] },
    { first: 4, count: 2, wanted: [4, 5] },
    { first: 6, count: 1, wanted: [6] },
  ])("from $first, $count at most: what one place holds of it", ({ first, count, wanted }) => {
    const log = halfStored({ floor: 2, commit: 2 });
    expect(log.slice(at(first), count, MUCH).map(({ index }) => Number(index))).toEqual([...wanted]);
  });

  test.each([
    { bytesMax: 0, count: 1 },
    { bytesMax: 9, count: 1 },
    { bytesMax: 20, count: 2 },
    { bytesMax: 29, count: 2 },
    { bytesMax: 30, count: 3 },
    { bytesMax: MUCH, count: 4 },
  ])(
    "within $bytesMax bytes: $count entries of ten each, in memory and on the disk",
    ({ bytesMax, count }) => {
      const entries = Array.from({ length: 4 }, (_, index) => entry(index + 1, 1, "x".repeat(10)));
      for (const log of [logWith({ stored: entries }), logWith({ unstable: entries })])
        expect(log.slice(at(1), 9, bytesMax)).toHaveLength(count);
    },
  );

  test.each([{ first: 1 }, { first: 2 }, { first: 7 }])("never outside of the log: $first", ({ first }) => {
    expect(() => halfStored({ floor: 2, commit: 2 }).slice(at(first), 1, MUCH)).toThrow(
      "only entries that exist",
    );
  });

  test("page by page meets every entry once", () => {
    const log = logWith({ stored: logOf(...Array.from({ length: 60 }, () => 1)), unstable: [entry(61, 2)] });
    const seen: number[] = [];
    for (let index = 1; index <= 61; index = (seen.at(-1) ?? 0) + 1)
      seen.push(...log.slice(at(index), 7, MUCH).map((item) => item.index));
    expect(seen).toEqual(Array.from({ length: 61 }, (_, index) => index + 1));
  });
});

describe("compaction", () => {
  function compactable(cachedEntriesMax = 100): RaftLog {
    const log = logWith({ unstable: logOf(1, 1, 2, 2, 3, 3), cachedEntriesMax });
    log.markStable();
    log.commitTo(at(5));
    log.markApplied(at(4));
    return log;
  }

  test.each([
    { floor: id(1, 1), left: [2, 3, 4, 5, 6] },
    { floor: id(3, 2), left: [4, 5, 6] },
    { floor: id(4, 2), left: [5, 6] },
  ])("up to $floor leaves $left", ({ floor, left }) => {
    const log = compactable();
    log.compactedTo(floor);
    expect(log.floor).toEqual(floor);
    expect(log.last).toEqual(id(6, 3));
    expect(log.termAt(at(floor.index - 1))).toBeNull();
    expect(log.slice(at(floor.index + 1), 9, MUCH).map(({ index }) => Number(index))).toEqual([...left]);
    log.append([entry(7, 4)]);
    expect(log.unstable()).toEqual([entry(7, 4)]);
    expect(log.findAgreement(at(7), 0 as Term)).toEqual(floor);
  });

  test("never beyond what is applied, never back, never to an entry that is another", () => {
    const log = compactable();
    expect(() => log.compactedTo(id(5, 3))).toThrow("only what is applied is compacted away");
    expect(() => log.compactedTo(id(3, 1))).toThrow("the floor is an entry of this log");
    log.compactedTo(id(3, 2));
    expect(() => log.compactedTo(id(2, 1))).toThrow("the floor never sinks");
  });

  test("to the last entry leaves a log that goes on from there", () => {
    const log = logWith({ stored: logOf(1, 1), commit: 2, applied: 2 });
    log.compactedTo(id(2, 1));
    expect(log.last).toEqual(id(2, 1));
    expect(log.unstable()).toEqual([]);
    expect(log.unapplied(MUCH)).toEqual([]);
    log.append([entry(3, 2)]);
    expect(log.slice(at(3), 9, MUCH)).toEqual([entry(3, 2)]);
  });
});

describe("what is kept in memory", () => {
  test("is bounded once it is durable, and the rest is read from the disk", () => {
    const store = new MemoryLogStore();
    const log = new RaftLog(store, { floor: id(0, 0), last: id(0, 0), commit: at(0), applied: at(0) }, 4);
    let reads = 0;
    const read = store.read.bind(store);
    store.read = (...range) => {
      reads += 1;
      return read(...range);
    };
    for (let index = 1; index <= 10; index += 1) {
      log.append([entry(index, 1)]);
      store.commit({ snapshot: null, entries: log.unstable(), hard: null, committed: [], mustSync: true });
      log.markStable();
    }
    expect(log.slice(at(10), 9, MUCH)).toHaveLength(1);
    expect(reads).toBe(0);
    expect(log.slice(at(1), 99, MUCH)[0]?.index).toBe(at(1));
    expect(reads).toBe(1);
  });
});

describe("what a disk must not say at start", () => {
  test.each([
    {
      floor: id(5, 1),
      commit: 6,
      applied: 4,
      complaint: "the state machine holds everything that was compacted",
    },
    { floor: id(0, 0), commit: 3, applied: 4, complaint: "only committed entries were applied" },
    { floor: id(0, 0), commit: 9, applied: 4, complaint: "was data lost from the disk?" },
  ])("$complaint", ({ floor, commit, applied, complaint }) => {
    const start = { floor, last: id(8, 1), commit: at(commit), applied: at(applied) };
    expect(() => new RaftLog(new MemoryLogStore(), start, 9)).toThrow(complaint);
  });

  test("a log that came as a snapshot begins after it", () => {
    const log = logWith({ stored: logOf(1, 1, 2), floor: 3, commit: 3 });
    expect(log.floor).toEqual(id(3, 2));
    expect(log.last).toEqual(id(3, 2));
    expect(termsOf(log.unstable())).toEqual([]);
  });
});
