/**
 * Bits that flipped while the disk had them. A store that was damaged is refused, or is not damaged where it counts: it
 * never opens to something that was not committed, and it never cuts anything off to make itself fit.
 */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LogIndex } from "../../../src/base/ids.ts";
import { openDatabase } from "../../../src/store/database.ts";
import { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { StoreError } from "../../../src/store/store-error.ts";
import { storeKeyPathOf } from "../../../src/store/store-key.ts";
import { UNSYNCED_COMMITS_MAX } from "../../../src/store/wal-check.ts";
import { historyOf, live } from "./history.ts";
import { entry, formIn, inMemory, openStore, RULES, write } from "./sample.ts";

const index = (value: number) => value as LogIndex;

/** A database with rows in every table, all of it in the one file. */
function databaseIn(directory: string): string {
  const path = formIn(directory);
  const store = openStore(path);
  live(store, historyOf(21, 90), 10);
  store.compact(index(20));
  // Pages without a use are part of the file, too.
  write(store, { hard: { ...store.load().hard, commit: index(90) } });
  store.checkpoint();
  store.close();
  return path;
}

function look(store: SqliteLogStore, snapshotPath: string) {
  return {
    ...store.load(),
    entries: store.read(index(21), 1e6, 1e9).map(({ data, ...rest }) => ({ ...rest, data: [...data] })),
    content: store.writeSnapshot(snapshotPath).sha256,
  };
}

/** What the store says when it is opened, or null where it is refused. */
function open(path: string): ReturnType<typeof look> | null {
  let store: SqliteLogStore;
  try {
    store = openStore(path);
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    expect((error as Error).message).not.toContain("in use");
    return null;
  }
  try {
    return look(store, `${path}.snapshot`);
  } finally {
    store.close();
  }
}

test(
  "a flipped bit in the database is refused, or is nowhere that counts",
  () =>
    inMemory((directory) => {
      const path = databaseIn(directory);
      const good = readFileSync(path);
      const whole = open(path);
      expect(whole).not.toBeNull();
      const place = join(directory, "copy");
      mkdirSync(place);
      const copy = join(place, "copy.db");
      copyFileSync(storeKeyPathOf(path), storeKeyPathOf(copy));
      const step = Number(process.env["GUACAMOLE_FLIP_STEP"] ?? 197);
      let refusedCount = 0;
      let count = 0;
      for (let at = 0; at < good.byteLength; at += step) {
        const bytes = Buffer.from(good);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
        rmSync(`${copy}-wal`, { force: true });
        writeFileSync(copy, bytes);
        const now = open(copy);
        count += 1;
        if (now === null) {
          refusedCount += 1;
          // Nothing was cut off or put right on the way.
          expect(readFileSync(copy).equals(bytes)).toBe(true);
        } else {
          expect({ at, ...now }).toEqual({ at, ...(whole as ReturnType<typeof look>) });
        }
      }
      expect(count).toBeGreaterThan(100);
      // Most of the pages are in use only in part.
      expect(refusedCount).toBeGreaterThan(count / 5);
    }),
  60_000,
);

test(
  "a flipped bit in the write-ahead log leaves a prefix of what was committed, or nothing that opens",
  () =>
    inMemory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      const place = join(directory, "copy");
      mkdirSync(place);
      const copy = join(place, "copy.db");
      copyFileSync(storeKeyPathOf(path), storeKeyPathOf(copy));
      const stages = [look(store, `${copy}.snapshot`)];
      for (const each of historyOf(22, 40)) {
        live(store, [each], 1);
        stages.push(look(store, `${copy}.snapshot`));
      }
      const wal = readFileSync(`${path}-wal`);
      const seen = new Set<number>();
      let refusedCount = 0;
      const offsets = [0, 9, 17, 26];
      for (let at = 32; at < wal.byteLength; at += 3307) offsets.push(at);
      for (const at of offsets) {
        const bytes = Buffer.from(wal);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
        copyFileSync(path, copy);
        writeFileSync(`${copy}-wal`, bytes);
        const now = open(copy);
        if (now === null) {
          refusedCount += 1;
          expect(readFileSync(`${copy}-wal`).equals(bytes)).toBe(true);
          continue;
        }
        const stage = stages.findIndex((one) => Bun.deepEquals(one, now));
        expect(stage).toBeGreaterThanOrEqual(stages.length - 1 - UNSYNCED_COMMITS_MAX - 2);
        seen.add(stage);
      }
      expect(refusedCount).toBeGreaterThan(offsets.length / 2);
      expect(seen.size).toBeGreaterThan(5);
      store.close();
    }),
  60_000,
);

test("what a power failure leaves of commits that nobody waited for is no damage", () =>
  inMemory((directory) => {
    const path = formIn(directory);
    const database = openDatabase(path);
    const store = new SqliteLogStore(database, RULES);
    const level = () =>
      database.raw.query<{ synchronous: number }, []>("PRAGMA synchronous").get()?.synchronous;
    const entries = Array.from({ length: 20 }, (_, at) => entry(at + 3, 1, "noop"));
    write(store, { entries, hard: { ...store.load().hard, commit: index(22) } });
    const kept = look(store, `${path}.snapshot`);
    const end = statSync(`${path}-wal`).size;
    for (let at = 0; at < UNSYNCED_COMMITS_MAX; at += 1) {
      write(store, { committed: entries.slice(at, at + 1), mustSync: false });
      expect(level()).toBe(1);
    }
    const files = [readFileSync(path), readFileSync(`${path}-wal`)] as const;
    // The next one waits, although nobody asked: so many may be lost, and not one more.
    write(store, {
      committed: entries.slice(UNSYNCED_COMMITS_MAX, UNSYNCED_COMMITS_MAX + 1),
      mustSync: false,
    });
    expect(level()).toBe(2);
    store.close();
    const copy = join(directory, "copy.db");
    for (const zeroed of [24, 4096, 9000]) {
      const wal = Buffer.from(files[1]);
      wal.fill(0, end, end + zeroed);
      writeFileSync(copy, files[0]);
      writeFileSync(`${copy}-wal`, wal);
      expect(open(copy)).toEqual(kept);
    }
  }));

test.each([
  ["a second vote", "UPDATE raft_hard SET vote = NULL", "a row of raft_hard"],
  ["an older term", "UPDATE raft_hard SET term = 1, vote = NULL", "a row of raft_hard"],
  ["another identity", "UPDATE raft_identity SET promotable_from = 0, peers = ''", "a row of raft_identity"],
  ["another state", "UPDATE sm_state SET state = zeroblob(length(state))", "a row of sm_state"],
  ["a lost answer", "UPDATE sm_reply SET outcome = '{}' WHERE sequence = 2", "a row of sm_reply"],
  ["a forgotten session", "UPDATE sm_session SET acknowledged = acknowledged + 1", "a row of sm_session"],
  ["a row without a checksum", "UPDATE sm_event SET checksum = NULL WHERE id = 1", "a row of sm_event"],
  [
    "an entry of another type",
    "UPDATE raft_log SET data = CAST(data AS TEXT) WHERE idx = 40",
    "entry 40 is not",
  ],
  ["an older schema", "PRAGMA user_version = 2", "it says that it is of an earlier release"],
  ["a table that is gone", "DROP TABLE sm_session", "its tables are not as guacamole made them"],
  ["another hash", "UPDATE raft_applied SET state_hash = zeroblob(32)", "a row of raft_applied"],
])("%s is refused at start", (_, statement, reason) =>
  inMemory((directory) => {
    const path = databaseIn(directory);
    const raw = new Database(path);
    raw.run("UPDATE raft_hard SET term = term");
    raw.run(statement);
    raw.close();
    expect(() => openStore(path)).toThrow(`is damaged: ${reason}`);
  }),
);
