/**
 * What a process or a machine that dies leaves on the disk, on the real thing: the store must open again to exactly what
 * it had committed, or a prefix of it where the disk lost what nobody waited for.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { openDatabase, type StoreDatabase } from "../../../src/store/database.ts";
import { verifySnapshot } from "../../../src/store/snapshot-file.ts";
import { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { historyOf, live } from "./history.ts";
import {
  CLUSTER,
  commandEntry,
  configEntry,
  entry,
  formIn,
  inDirectory,
  inMemory,
  joinIn,
  M1,
  openStore,
  RULES,
  tokenCommand,
  write,
} from "./sample.ts";

// Hundreds of databases are opened here, and processes started.
setDefaultTimeout(60_000);

const index = (value: number) => value as LogIndex;
const hard = (term: number, commit: number) => ({ term: term as Term, vote: M1, commit: index(commit) });

/** Everything that a store knows. */
function look(store: SqliteLogStore) {
  const { floor } = store.load();
  return {
    ...store.load(),
    entries: store.read(index(floor.index + 1), 1e6, 1e9).map(({ index: at, term, kind, data }) => ({
      at,
      term,
      kind,
      data: new TextDecoder().decode(data),
    })),
    state: store.state,
    events: store.readEvents(0, 1e6),
    hash: store.stateHash(),
    sessions: store.sessionCount,
  };
}

/** A life with a bit of everything; each step is one transaction. */
function steps(directory: string): readonly ((store: SqliteLogStore) => void)[] {
  const history = historyOf(11, 80);
  const place = join(directory, "leader");
  mkdirSync(place);
  const leader = openStore(formIn(place));
  live(leader, history, 10);
  const file = leader.writeSnapshot(join(directory, "snapshot"));
  leader.close();
  const own = [configEntry(1, 1, [M1]), ...[2, 3, 4, 5].map((at) => entry(at, 1, "noop"))];
  const after = [81, 82, 83, 84].map((at) => commandEntry(at, 3, tokenCommand(`after${at}`)));
  return [
    (store) => write(store, { entries: own, hard: hard(1, 0) }),
    (store) => write(store, { hard: { ...hard(1, 2), vote: null } }),
    (store) => write(store, { committed: own.slice(0, 2), mustSync: false }),
    // A later leader replaces the tail.
    (store) => write(store, { entries: [entry(4, 2, "noop")], hard: hard(2, 2) }),
    (store) => {
      write(store, {
        snapshot: { meta: file.meta, content: file.path },
        entries: after.slice(0, 2),
        hard: hard(3, 80),
      });
    },
    (store) => write(store, { committed: after.slice(0, 2), hard: hard(3, 82) }),
    (store) => write(store, { entries: after.slice(2), committed: after.slice(2), hard: hard(3, 84) }),
    (store) => store.compact(index(82)),
    (store) => write(store, { entries: [configEntry(85, 3, [M1])] }),
    (store) => store.compact(index(84)),
  ];
}

/** The store as another process would find it, and gone afterwards. */
function found<Result>(path: string, body: (store: SqliteLogStore) => Result): Result {
  const store = openStore(path);
  try {
    return body(store);
  } finally {
    store.close();
  }
}

describe("a machine that lost its power", () => {
  test("opens to a prefix of what was committed, wherever the write-ahead log ends", () =>
    inMemory((directory) => {
      const path = joinIn(directory);
      const store = openStore(path);
      const walBytes = () => (existsSync(`${path}-wal`) ? statSync(`${path}-wal`).size : 0);
      const stages = [{ bytes: walBytes(), holds: look(store) }];
      for (const step of steps(directory)) {
        step(store);
        stages.push({ bytes: walBytes(), holds: look(store) });
      }
      const wal = readFileSync(`${path}-wal`);
      const copy = join(directory, "copy.db");
      const seen = new Set<number>();
      for (const bytes of cutsOf(wal.byteLength)) {
        copyFileSync(path, copy);
        writeFileSync(`${copy}-wal`, wal.subarray(0, bytes));
        const stage = stages.findLastIndex((one) => one.bytes <= bytes);
        seen.add(stage);
        expect(found(copy, look)).toEqual((stages[stage] ?? stages[0])?.holds as ReturnType<typeof look>);
      }
      // Every stage was cut at, or this test has seen nothing.
      expect(seen.size).toBe(stages.length);
      store.close();
    }));

  test("finds its promises although nobody waited for what came after them", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      const added = commandEntry(3, 4, tokenCommand("c3"));
      write(store, { entries: [added], hard: hard(4, 2) });
      const kept = statSync(`${path}-wal`).size;
      write(store, { committed: [added], hard: hard(4, 3), mustSync: false });
      const wal = readFileSync(`${path}-wal`).subarray(0, kept + 1000);
      const copy = join(directory, "copy.db");
      copyFileSync(path, copy);
      writeFileSync(`${copy}-wal`, wal);
      found(copy, (cut) => {
        expect(cut.load()).toMatchObject({ hard: hard(4, 2), last: { index: 3, term: 4 }, applied: 2 });
        // The same is committed again, and applied again from where the state is.
        write(cut, { committed: [added], hard: hard(4, 3), mustSync: false });
        expect(look(cut)).toEqual(look(store));
      });
      store.close();
    }));
});

/** Every frame boundary, a byte on either side of it, and places between; a WAL has a header of 32 bytes. */
function cutsOf(bytes: number): readonly number[] {
  const frame = 24 + 4096;
  const cuts = new Set<number>([0, 1, 31]);
  for (let at = 32; at <= bytes; at += frame)
    for (const offset of [-1, 0, 1, 24, 25, 2000]) cuts.add(Math.min(at + offset, bytes));
  return [...cuts].sort((a, b) => a - b);
}

describe("a process that was killed", () => {
  test("leaves the stage before or the stage after, whichever statement it was at", () =>
    inMemory((directory) => {
      const path = joinIn(directory);
      const { raw, ...rest } = openDatabase(path);
      const copy = join(directory, "copy.db");
      // What a SIGKILL leaves is what the files hold at that moment: so they are copied at each statement.
      const copies: { readonly database: Buffer; readonly wal: Buffer }[] = [];
      const store = new SqliteLogStore(
        watched({ raw, ...rest }, () => {
          copies.push({ database: readFileSync(path), wal: readFileSync(`${path}-wal`) });
        }),
        RULES,
      );
      let pointCount = 0;
      for (const step of steps(directory)) {
        const before = look(store);
        copies.length = 0;
        step(store);
        const points = [...copies];
        const after = look(store);
        const stages = points.map(({ database, wal }) => {
          writeFileSync(copy, database);
          writeFileSync(`${copy}-wal`, wal);
          const now = found(copy, look);
          const isAfter = Bun.deepEquals(now, after);
          if (!isAfter) expect(now).toEqual(before);
          return isAfter;
        });
        // Once the stage after is there, it stays.
        expect(stages).toEqual([...stages].sort((a, b) => Number(a) - Number(b)));
        expect(stages.length).toBeGreaterThan(2);
        pointCount += stages.length;
      }
      expect(pointCount).toBeGreaterThan(100);
      store.close();
    }));

  test("loses nothing that it acknowledged", () =>
    inDirectory(async (directory) => {
      const path = formIn(directory);
      for (let round = 0; round < 4; round += 1) {
        const acknowledged = await killAfter(20 + round * 17, "append", path);
        found(path, (store) => {
          const { last, applied } = store.load();
          expect(last.index as number).toBeGreaterThanOrEqual(acknowledged);
          expect(applied).toBe(last.index);
          expect(store.state?.tokens).toHaveLength(applied - 1);
        });
      }
    }));

  test("loses nothing while snapshots are written and installed and logs compacted", () =>
    inDirectory(async (directory) => {
      const places = ["leader", "follower"].map((name) => join(directory, name));
      for (const place of places) mkdirSync(place);
      const leader = formIn(places[0] ?? "");
      const follower = joinIn(places[1] ?? "");
      for (let round = 0; round < 4; round += 1) {
        const acknowledged = await killAfter(5 + round * 11, "follow", follower, leader);
        found(leader, (ahead) => {
          expect(ahead.load().applied as number).toBeGreaterThanOrEqual(acknowledged);
          expect(ahead.state?.tokens).toHaveLength(ahead.appliedIndex - 1);
        });
        found(follower, (store) => {
          const { last, applied } = store.load();
          expect(last.index as number).toBeGreaterThanOrEqual(acknowledged);
          expect(store.state?.tokens).toHaveLength(applied - 1);
        });
        // Whole, and of that index, or not there: a file that was being written has another name.
        const snapshot = verifySnapshot(`${follower}.snapshot`, CLUSTER);
        expect(snapshot.meta.index as number).toBeGreaterThan(1);
      }
    }));
});

/** Calls `onStatement` before and after each statement that is prepared from now on. */
function watched({ raw, ...rest }: StoreDatabase, onStatement: () => void): StoreDatabase {
  const prepare = raw.prepare.bind(raw);
  Object.defineProperty(raw, "prepare", {
    value: (...parameters: Parameters<typeof raw.prepare>) => {
      const statement = prepare(...parameters);
      const run = statement.run.bind(statement);
      return Object.defineProperty(statement, "run", {
        value: (...values: Parameters<typeof statement.run>) => {
          onStatement();
          const result = run(...values);
          onStatement();
          return result;
        },
      });
    },
  });
  return { raw, ...rest };
}

/** Starts the writer, kills it after so many acknowledgements, and returns the last one that was heard. */
async function killAfter(count: number, ...parameters: readonly string[]): Promise<number> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "writer.ts"), ...parameters], {
    stdout: "pipe",
    stderr: "inherit",
  });
  let text = "";
  for await (const chunk of child.stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.split("\n").length > count) break;
  }
  child.kill("SIGKILL");
  await child.exited;
  const acknowledged = Number(text.slice(0, text.lastIndexOf("\n")).split("\n").at(-1));
  expect(acknowledged).toBeGreaterThan(2);
  return acknowledged;
}
