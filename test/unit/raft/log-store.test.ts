import { describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type { Entry } from "../../../src/raft/engine/message.ts";
import type { LogStore, StagedSnapshot } from "../../../src/raft/ports.ts";
import type { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import {
  commandEntry,
  configEntry,
  configOf,
  entry,
  firstEntries,
  formIn,
  inMemory,
  joinIn,
  M1,
  M2,
  openStore,
  tokenCommand,
  write,
} from "../store/sample.ts";

// What the engine may rely on, whichever disk is under it: the one of the tests must not promise more than the real one.

interface Disk {
  /** Starts on what is there: a configuration and a command, both of term 1 and applied. */
  open(): LogStore;
  /** Another one, that joined: its log is empty. */
  openJoiner(): LogStore;
  /** A snapshot of what this disk has applied. */
  stage(): StagedSnapshot;
  close(): void;
}

type UseDisk = (body: (disk: Disk) => void) => void | Promise<void>;

function memoryDisk(): Disk {
  const store = new MemoryLogStore({ entries: firstEntries(), hard: hard(1, 0) });
  write(store, { hard: hard(1, 2), committed: firstEntries() });
  return {
    open: () => store,
    openJoiner: () => new MemoryLogStore(),
    stage: () => store.snapshot(),
    close: () => {},
  };
}

function sqliteDisk(directory: string): Disk {
  const path = formIn(directory);
  let store: SqliteLogStore | null = null;
  let joiner: SqliteLogStore | null = null;
  const close = (): void => {
    store?.close();
    joiner?.close();
  };
  const open = (): SqliteLogStore => {
    store?.close();
    store = openStore(path);
    return store;
  };
  const openJoiner = (): SqliteLogStore => {
    const place = join(directory, "joiner");
    mkdirSync(place);
    joiner = openStore(joinIn(place));
    return joiner;
  };
  const stage = (): StagedSnapshot => {
    const { path: content, meta } = (store ?? open()).writeSnapshot(join(directory, "snapshot"));
    return { meta, content };
  };
  return { open, openJoiner, stage, close };
}

function use(make: () => Disk, body: (disk: Disk) => void): void {
  const disk = make();
  try {
    body(disk);
  } finally {
    disk.close();
  }
}

const KINDS: readonly { readonly name: string; readonly withDisk: UseDisk }[] = [
  { name: "in memory", withDisk: (body) => use(memoryDisk, body) },
  {
    name: "in SQLite",
    withDisk: (body) => inMemory((directory) => use(() => sqliteDisk(directory), body)),
  },
];

function at(index: number): LogIndex {
  return index as LogIndex;
}

function hard(term: number, commit: number): { term: Term; vote: typeof M1; commit: LogIndex } {
  return { term: term as Term, vote: M1, commit: at(commit) };
}

function noops(first: number, ...terms: readonly number[]): readonly Entry[] {
  return terms.map((term, offset) => entry(first + offset, term, "noop", new Uint8Array(10)));
}

function termsOf(store: LogStore, ...indexes: readonly number[]): readonly (number | null)[] {
  return indexes.map((index) => store.termAt(at(index)));
}

/** Stores `entries` and applies those up to `applied`. */
function fill(store: LogStore, entries: readonly Entry[], applied: number): void {
  const term = Math.max(1, ...entries.map((item) => item.term));
  const committed = entries.filter(({ index }) => index <= applied);
  write(store, { entries, hard: hard(term, applied), committed });
}

describe.each(KINDS)("a log store $name", ({ withDisk }) => {
  test("knows the term of each entry and of its floor, and no other", () =>
    withDisk((disk) => {
      const store = disk.open();
      expect(termsOf(store, 0, 1, 2, 3)).toEqual([0, 1, 1, null]);
      fill(store, noops(3, 2, 2, 3), 4);
      expect(termsOf(store, 3, 4, 5, 6)).toEqual([2, 2, 3, null]);
      store.compact(at(3));
      expect(termsOf(store, 2, 3, 4, 5, 6)).toEqual([null, 2, 2, 3, null]);
    }));

  test.each([
    { first: 3, count: 9, bytes: 1_000, wanted: [3, 4, 5, 6] },
    { first: 4, count: 2, bytes: 1_000, wanted: [4, 5] },
    { first: 6, count: 9, bytes: 1_000, wanted: [6] },
    { first: 7, count: 9, bytes: 1_000, wanted: [] },
    { first: 3, count: 9, bytes: 0, wanted: [3] },
    { first: 3, count: 9, bytes: 19, wanted: [3] },
    { first: 3, count: 9, bytes: 20, wanted: [3, 4] },
    { first: 3, count: 9, bytes: 29, wanted: [3, 4] },
  ])("reads from $first at most $count entries of $bytes bytes: $wanted", ({ first, count, bytes, wanted }) =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 1, 1, 2, 2), 2);
      expect(store.read(at(first), count, bytes).map(({ index }) => Number(index))).toEqual([...wanted]);
    }),
  );

  test("reads back what was written, each kind with its data", () =>
    withDisk((disk) => {
      const store = disk.open();
      const entries = [
        entry(3, 1, "noop"),
        configEntry(4, 1, [M1, M2]),
        commandEntry(5, 1, tokenCommand("c5")),
      ];
      fill(store, entries, 2);
      const plain = (items: readonly Entry[]): unknown =>
        items.map(({ index, term, kind, data }) => ({ index, term, kind, data: [...data] }));
      expect(plain(store.read(at(3), 9, 1e6))).toEqual(plain(entries));
      expect(plain(disk.open().read(at(3), 9, 1e6))).toEqual(plain(entries));
    }));

  test("begins after its floor and ends with what was appended last", () =>
    withDisk((disk) => {
      const store = disk.open();
      expect(store.load()).toMatchObject({ floor: { index: 0, term: 0 }, last: { index: 2, term: 1 } });
      fill(store, noops(3, 1, 2), 4);
      expect(store.load()).toMatchObject({ floor: { index: 0 }, last: { index: 4, term: 2 } });
      store.compact(at(4));
      expect(store.load()).toMatchObject({ floor: { index: 4, term: 2 }, last: { index: 4, term: 2 } });
      fill(store, noops(5, 2), 4);
      expect(disk.open().load()).toMatchObject({ floor: { index: 4 }, last: { index: 5, term: 2 } });
    }));

  test.each([
    { name: "at the end", entries: noops(6, 3), terms: [2, 2, 3, 3, null] },
    { name: "again what is there", entries: noops(3, 2, 2, 3), terms: [2, 2, 3, null] },
    { name: "a part of what is there: nothing is cut off", entries: noops(3, 2), terms: [2, 2, 3, null] },
    { name: "a conflict in the middle", entries: noops(3, 2, 3), terms: [2, 3, null, null] },
    { name: "a conflict at once", entries: noops(3, 3, 3, 3, 3), terms: [3, 3, 3, 3, null] },
    { name: "what is there, and more", entries: noops(4, 2, 3, 3), terms: [2, 2, 3, 3, null] },
  ])("appends $name", ({ entries, terms }) =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 2, 2, 3), 2);
      write(store, { entries, hard: hard(3, 2) });
      const indexes = terms.map((_, offset) => 3 + offset);
      expect(termsOf(store, ...indexes)).toEqual([...terms]);
      expect(termsOf(disk.open(), ...indexes)).toEqual([...terms]);
    }),
  );

  test("keeps its promises, and changes none that a batch does not name", () =>
    withDisk((disk) => {
      const store = disk.open();
      write(store, { hard: hard(4, 2) });
      write(store, { entries: noops(3, 4) });
      for (const one of [store, disk.open()]) expect(one.load().hard).toEqual(hard(4, 2));
    }));

  test("hands committed entries to the state machine in order, and answers for the commands among them", () =>
    withDisk((disk) => {
      const store = disk.open();
      const command = commandEntry(4, 1, tokenCommand("c4"));
      write(store, { entries: [...noops(3, 1), command], hard: hard(1, 2) });
      const committed = [...noops(3, 1), command];
      const replies = write(store, { hard: hard(1, 4), committed, mustSync: false });
      expect(replies.map(({ index, term }) => `${index}/${term}`)).toEqual(["4/1"]);
      expect(store.load().applied).toBe(at(4));
      expect(disk.open().load().applied).toBe(at(4));
    }));

  test("applies an entry in the very batch that brings it", () =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 1), 3);
      expect(store.load()).toMatchObject({ applied: 3, last: { index: 3 }, hard: { commit: 3 } });
    }));

  test("knows its configurations above the floor, and the one at the floor", () =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, [configEntry(3, 1, [M1, M2]), entry(4, 1, "noop"), configEntry(5, 1, [M1])], 4);
      const look = (one: LogStore): unknown => {
        const { floorConfig, configs } = one.load();
        return [floorConfig, configs.map(({ index, config }) => [Number(index), config.voters.length])];
      };
      expect(look(store)).toEqual([
        null,
        [
          [1, 1],
          [3, 2],
          [5, 1],
        ],
      ]);
      store.compact(at(4));
      const floorConfig = { index: at(3), config: configOf([M1, M2]) };
      for (const one of [store, disk.open()]) expect(look(one)).toEqual([floorConfig, [[5, 1]]]);
      write(disk.open(), { entries: noops(5, 2), hard: hard(2, 4) });
      expect(look(disk.open())).toEqual([floorConfig, []]);
    }));

  test("forgets up to the wanted entry and says where its floor is; to forget the same again changes nothing", () =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 2, 2, 3), 4);
      expect(store.compact(at(3))).toEqual({ index: at(3), term: 2 as Term });
      expect(store.compact(at(3))).toEqual({ index: at(3), term: 2 as Term });
      expect(store.compact(at(4))).toEqual({ index: at(4), term: 2 as Term });
      expect(store.read(at(5), 9, 1e6).map(({ index }) => Number(index))).toEqual([5]);
      expect(store.load()).toMatchObject({ applied: 4, hard: { term: 3, commit: 4 } });
    }));

  test("never forgets what is not applied", () =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 1, 1), 3);
      expect(() => store.compact(at(4))).toThrow("only what is applied is compacted away");
    }));

  test("takes the snapshot of another: it replaces the whole log, and what follows is appended after it", () =>
    withDisk((disk) => {
      fill(disk.open(), [configEntry(3, 1, [M1, M2]), ...noops(4, 2, 2)], 5);
      const snapshot = disk.stage();
      const placed = { index: at(3), config: configOf([M1, M2]) };
      expect(snapshot.meta).toEqual({ index: at(5), term: 2 as Term, config: placed });
      const joiner = disk.openJoiner();
      write(joiner, { entries: noops(1, 1, 1, 1, 1, 1, 1, 1), hard: hard(1, 0) });
      write(joiner, { snapshot, entries: noops(6, 2), hard: hard(2, 6), committed: noops(6, 2) });
      expect(joiner.load()).toMatchObject({
        floor: { index: 5, term: 2 },
        floorConfig: placed,
        configs: [],
        last: { index: 6, term: 2 },
        applied: 6,
        hard: hard(2, 6),
      });
      expect(termsOf(joiner, 4, 5, 6, 7)).toEqual([null, 2, 2, null]);
    }));

  test("takes no snapshot that would take the state back", () =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 1), 3);
      const snapshot = disk.stage();
      expect(() => write(store, { snapshot })).toThrow(
        /a snapshot (?:takes nothing|never takes the state) back/,
      );
    }));

  test("takes nothing that others count on without waiting for the disk", () =>
    withDisk((disk) => {
      const batch = { hard: hard(9, 2), mustSync: false };
      expect(() => write(disk.open(), batch)).toThrow("entries, promises and snapshots wait for the disk");
    }));

  test.each([
    { name: "a gap", batch: { entries: noops(5, 1) }, complaint: "the log has no gap" },
    {
      name: "an entry that is applied, replaced",
      batch: { entries: noops(3, 2), hard: hard(2, 3) },
      complaint: "what was applied is never",
    },
    {
      name: "entries applied out of order",
      batch: { entries: noops(4, 1, 1), hard: hard(1, 5), committed: noops(5, 1) },
      complaint: "entries are applied in order, each once",
    },
    {
      name: "an entry applied twice",
      batch: { committed: noops(3, 1) },
      complaint: "entries are applied in order, each once",
    },
  ])("ends the process rather than take $name", ({ batch, complaint }) =>
    withDisk((disk) => {
      const store = disk.open();
      fill(store, noops(3, 1), 3);
      expect(() => write(store, batch)).toThrow(complaint);
    }),
  );
});
