import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { commandReply } from "../../../src/store/command-reply.ts";
import { openDatabase } from "../../../src/store/database.ts";
import { sealRows } from "../../../src/store/row-checksum.ts";
import { SqliteLogStore } from "../../../src/store/sqlite-log-store.ts";
import { REPLIES_MAX } from "../../../src/store/state-machine.ts";
import {
  commandEntry,
  configEntry,
  configOf,
  entry,
  formIn,
  inDirectory,
  M1,
  M2,
  openStore,
  RULES,
  tokenCommand,
  write,
} from "./sample.ts";

const index = (value: number) => value as LogIndex;
const hard = (term: number, commit: number) => ({ term: term as Term, vote: M1, commit: index(commit) });

describe("log", () => {
  test("what a batch wrote is found again", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      const added = commandEntry(3, 2, tokenCommand("c3"));
      const replies = write(store, {
        entries: [added, entry(4, 2, "noop")],
        hard: hard(2, 3),
        committed: [added],
      });
      expect(replies.map(commandReply)).toMatchObject([{ kind: "applied", outcome: { ok: true } }]);
      store.close();

      const again = openStore(path);
      const { last, applied, hard: kept, floor, floorConfig } = again.load();
      expect({ last, applied, kept, floor, floorConfig }).toEqual({
        last: { term: 2 as Term, index: index(4) },
        applied: index(3),
        kept: hard(2, 3),
        floor: { term: 0 as Term, index: index(0) },
        floorConfig: null,
      });
      expect(again.state?.tokens.map((token) => token.id)).toEqual(["t0", "c3"]);
      expect(again.read(index(3), 10, 1e6).map(({ kind, term }) => [kind, term as number])).toEqual([
        ["command", 2],
        ["noop", 2],
      ]);
      expect([0, 1, 4, 5].map((at) => again.termAt(index(at)) as number | null)).toEqual([0, 1, 2, null]);
      again.close();
    }));

  test("reading stops at the number and the size, but gives at least one", () =>
    inDirectory((directory) => {
      const store = openStore(formIn(directory));
      const large = Array.from({ length: 100 }, (_, at) => entry(at + 3, 1, "noop", new Uint8Array(1000)));
      write(store, { entries: large, hard: null, committed: [] });
      expect(store.read(index(3), 70, 1e6)).toHaveLength(70);
      expect(store.read(index(3), 200, 1e6)).toHaveLength(100);
      expect(store.read(index(3), 70, 3500)).toHaveLength(3);
      expect(store.read(index(3), 70, 10)).toHaveLength(1);
      expect(store.read(index(103), 70, 10)).toHaveLength(0);
      store.close();
    }));

  test("a conflicting suffix is replaced, and what agrees is kept", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      const tail = [3, 4, 5, 6].map((at) => entry(at, 2, "noop"));
      write(store, { entries: tail, hard: hard(2, 2), committed: [] });
      // A late duplicate of a shorter prefix truncates nothing.
      write(store, { entries: tail.slice(0, 2), hard: null, committed: [] });
      expect(store.termAt(index(6)) as number | null).toBe(2);
      write(store, { entries: [entry(4, 2, "noop"), entry(5, 3, "noop")], hard: hard(3, 2), committed: [] });
      expect([4, 5, 6].map((at) => store.termAt(index(at)) as number | null)).toEqual([2, 3, null]);
      store.close();
      openStore(path).close();
    }));

  test("broken promises of the caller are refused and nothing is written after them", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      expect(() => write(store, { entries: [entry(5, 1, "noop")], hard: null, committed: [] })).toThrow(
        "no gap",
      );
      expect(() => write(store, { entries: [], hard: null, committed: [] })).toThrow("after a failed commit");
      store.close();
      const again = openStore(path);
      expect(again.load().last.index as number).toBe(2);
      again.close();
    }));
});

describe("configurations", () => {
  test("are known from the start on, follow the log, and go back with it", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      const places = () =>
        store.load().configs.map(({ index: at, config }) => [at as number, config.voters.length]);
      expect(places()).toEqual([[1, 1]]);
      write(store, { entries: [configEntry(3, 2, [M1, M2]), entry(4, 2, "noop")], hard: hard(2, 2) });
      write(store, { entries: [configEntry(5, 2, [M1])] });
      expect(places()).toEqual([
        [1, 1],
        [3, 2],
        [5, 1],
      ]);
      // Another leader knows of neither.
      write(store, { entries: [entry(3, 3, "noop")], hard: hard(3, 2) });
      expect(places()).toEqual([[1, 1]]);
      store.close();
      store = openStore(path);
      expect(store.load().configs).toEqual([{ index: index(1), config: configOf([M1]) }]);
      store.close();
    }));

  test("of release 0.1.0 have no learners to come", () =>
    inDirectory((directory) => {
      const store = openStore(formIn(directory));
      const old = new TextEncoder().encode(JSON.stringify({ voters: [M1], outgoing: [], learners: [M2] }));
      write(store, { entries: [entry(3, 1, "config", old)] });
      expect(store.load().configs.at(-1)?.config).toEqual({ ...configOf([M1]), learners: [M2] });
      store.close();
    }));
});

describe("compaction", () => {
  test("forgets what lies below, and what is left goes on", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      const entries = Array.from({ length: 30 }, (_, at) => commandEntry(at + 3, 1, tokenCommand(`c${at}`)));
      write(store, { entries, committed: entries, hard: hard(1, 32) });
      expect(store.compact(index(20))).toEqual({ index: index(20), term: 1 as Term });
      // Again, and further back: nothing happens.
      expect(store.compact(index(20))).toEqual({ index: index(20), term: 1 as Term });
      expect(store.compact(index(3))).toEqual({ index: index(20), term: 1 as Term });
      for (const look of ["as it is", "after a restart"]) {
        const { floor, floorConfig, configs, last } = store.load();
        expect({ look, floor, floorConfig, configs, last }).toEqual({
          look,
          floor: { index: index(20), term: 1 as Term },
          floorConfig: { index: index(1), config: configOf([M1]) },
          configs: [],
          last: { index: index(32), term: 1 as Term },
        });
        expect([19, 20, 21].map((at) => store.termAt(index(at)) as number | null)).toEqual([null, 1, 1]);
        expect(store.read(index(21), 100, 1e6)).toHaveLength(12);
        store.close();
        store = openStore(path);
      }
      const next = commandEntry(33, 1, tokenCommand("next"));
      write(store, { entries: [next], committed: [next], hard: hard(1, 33) });
      // To the tip: the log is empty, and still knows where it is.
      expect(store.compact(index(33)).index as number).toBe(33);
      store.close();
      store = openStore(path);
      expect(store.load().last).toEqual({ index: index(33), term: 1 as Term });
      write(store, { entries: [entry(34, 2, "noop")], hard: hard(2, 33) });
      expect(store.termAt(index(34)) as number | null).toBe(2);
      expect(() => store.compact(index(34))).toThrow("only what is applied");
      store.close();
    }));
});

test("what follows a compacted past may still be replaced", () =>
  inDirectory((directory) => {
    const path = formIn(directory);
    let store = openStore(path);
    const entries = [3, 4, 5, 6].map((at) => entry(at, 1, "noop"));
    write(store, { entries, committed: entries.slice(0, 2), hard: hard(1, 4) });
    store.compact(index(4));
    write(store, { entries: [entry(5, 2, "noop")], hard: hard(2, 4) });
    expect(store.load().last).toEqual({ index: index(5), term: 2 as Term });
    store.close();
    store = openStore(path);
    expect(store.load().last).toEqual({ index: index(5), term: 2 as Term });
    store.close();
  }));

describe("waiting for the disk", () => {
  test("is asked of SQLite for each batch, and never left out where it counts", () =>
    inDirectory((directory) => {
      const database = openDatabase(formIn(directory));
      const store = openStoreOn(database);
      const level = () =>
        database.raw.query<{ synchronous: number }, []>("PRAGMA synchronous").get()?.synchronous;
      const added = entry(3, 1, "noop");
      write(store, { entries: [added], hard: hard(1, 2) });
      expect(level()).toBe(2);
      write(store, { hard: hard(1, 3), committed: [added], mustSync: false });
      expect(level()).toBe(1);
      expect(store.appliedIndex as number).toBe(3);
      write(store, { hard: { ...hard(2, 3), vote: M2 } });
      expect(level()).toBe(2);
      expect(() => write(store, { hard: { ...hard(3, 3), vote: M2 }, mustSync: false })).toThrow(
        "wait for the disk",
      );
      expect(() => write(store, { hard: { ...hard(2, 3), vote: M1 }, mustSync: false })).toThrow(
        "wait for the disk",
      );
      expect(() => write(store, { entries: [entry(4, 2, "noop")], mustSync: false })).toThrow(
        "wait for the disk",
      );
      // That was refused before anything was written: the store goes on.
      write(store, { entries: [entry(4, 2, "noop")] });
      store.close();
    }));

  test("a grown write-ahead log is copied into the database, and its room used again", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const store = openStore(path);
      const size = () => statSync(`${path}-wal`).size;
      for (let at = 3; at < 400; at += 1) {
        write(store, { entries: [entry(at, 1, "noop", new Uint8Array(30_000))] });
      }
      // Twelve megabytes went through it.
      expect(size()).toBeLessThan(6 * 1024 * 1024);
      store.checkpoint();
      expect(size()).toBe(0);
      store.close();
    }));
});

describe("state machine", () => {
  test("the same command proposed twice has the effect of once", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      const first = commandEntry(3, 1, tokenCommand("same", "a"));
      write(store, { entries: [first], hard: hard(1, 3), committed: [first] });
      store.close();
      store = openStore(path);
      const second = commandEntry(4, 1, tokenCommand("same", "b"));
      const [reply] = write(store, { entries: [second], hard: hard(1, 4), committed: [second] });
      expect(reply && commandReply(reply)).toEqual({
        kind: "applied",
        commandId: "same",
        outcome: { ok: true },
        isRepeat: true,
        session: null,
      });
      expect(store.state?.tokens.map((token) => token.id)).toEqual(["t0", "a"]);
      expect(store.appliedIndex as number).toBe(4);
      store.close();
    }));

  test("a command is known by its id for a thousand others, however they came, also after a restart", () =>
    inDirectory((directory) => {
      const path = formIn(directory);
      let store = openStore(path);
      const commit = (...ids: readonly string[]) => {
        const first = store.appliedIndex + 1;
        const entries = ids.map((id, at) => commandEntry(first + at, 1, tokenCommand(id, `t${first + at}`)));
        const applied = write(store, { entries, committed: entries, hard: hard(1, first + ids.length - 1) });
        return applied.map(commandReply).map((reply) => reply.kind === "applied" && reply.isRepeat);
      };
      commit("first", "second");
      commit(...Array.from({ length: REPLIES_MAX - 1 }, (_, at) => `c${at}`));
      // The first is one too old now.
      expect(commit("second", "first")).toEqual([true, false]);
      store.close();
      store = openStore(path);
      expect(commit("first", "second", "c0")).toEqual([true, false, false]);
      store.close();
      const raw = new Database(path);
      expect(raw.query("SELECT count(*) AS count FROM sm_reply").get()).toEqual({ count: REPLIES_MAX });
      raw.close();
    }));

  test("events are numbered from 1 and read in order after one that is known", () =>
    inDirectory((directory) => {
      const store = openStore(formIn(directory));
      const all = store.readEvents(0, 100);
      expect(all.map((event) => event.id)).toEqual(all.map((_, at) => at + 1));
      expect(all.length).toBeGreaterThan(0);
      expect(store.readEvents(all.length, 100)).toEqual([]);
      store.close();
    }));
});

describe("damage", () => {
  const damages: readonly [string, string, string][] = [
    ["a changed row", "UPDATE raft_log SET data = x'00' WHERE idx = 2", "hash chain"],
    ["a changed hash", "UPDATE raft_log SET chain = zeroblob(32) WHERE idx = 1", "hash chain"],
    ["a missing row", "DELETE FROM raft_log WHERE idx = 1", "entry 1 is missing"],
    ["a commit beyond the end", "UPDATE raft_hard SET commit_index = 9", "committed up to 9"],
    ["applied beyond the end", "UPDATE raft_applied SET idx = 9", "applied up to 9"],
    ["a term that went back", "UPDATE raft_hard SET term = 0", "only term 0 is known"],
    ["no term and vote", "DELETE FROM raft_hard", "term and vote are missing"],
    ["no beginning", "DELETE FROM raft_floor", "beginning of the log is missing"],
    ["an empty log", "DELETE FROM raft_log", "ends at 0"],
  ];
  test.each(damages)("%s is refused at start", (_, statement, reason) =>
    inDirectory((directory) => {
      const path = formIn(directory);
      const raw = new Database(path);
      raw.run(statement);
      // Damage that a checksum does not see.
      sealRows(raw);
      raw.close();
      const database = openDatabase(path);
      expect(() => {
        openStoreOn(database);
      }).toThrow(reason);
      database.close();
    }),
  );
});

test("the database is private", () =>
  inDirectory((directory) => {
    expect(statSync(formIn(directory)).mode & 0o777).toBe(0o600);
  }));

function openStoreOn(database: ReturnType<typeof openDatabase>) {
  return new SqliteLogStore(database, RULES);
}
