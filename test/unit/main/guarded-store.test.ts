import { expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import type { Log } from "../../../src/base/log.ts";
import { GuardedStore } from "../../../src/main/guarded-store.ts";
import type { LogStore, StoreBatch } from "../../../src/raft/ports.ts";
import { DiskFullError } from "../../../src/store/store-error.ts";

const BATCH: StoreBatch = { snapshot: null, entries: [], hard: null, committed: [], mustSync: true };

function world(answers: readonly (Error | "taken")[]) {
  const left = [...answers];
  const at = { nowMs: 0, commitMs: 0, hasRoom: false, freed: 0 };
  const lines: string[] = [];
  const note = (event: string) => lines.push(event);
  const log: Log = { error: note, warn: note, info: note, debug: note };
  const write = () => {
    at.nowMs += at.commitMs;
    const answer = left.shift();
    if (answer instanceof Error) throw answer;
  };
  const store = {
    commit: () => {
      write();
      return [];
    },
    compact: () => {
      write();
      return { index: 0 as LogIndex, term: 0 };
    },
  } as unknown as LogStore;
  const guarded = new GuardedStore({
    store,
    freeBallast: () => {
      at.freed += 1;
      return true;
    },
    makeBallast: () => at.hasRoom,
    nowMs: () => at.nowMs,
    log,
  });
  return { at, lines, guarded, left };
}

const full = () => new DiskFullError("/data/guacamole.db");

test("a full disk gives up the ballast, and the same batch is taken then; so it is with a compaction", () => {
  const { at, lines, guarded } = world([full(), "taken", "taken"]);
  guarded.commit(BATCH);
  expect([at.freed, guarded.isFull, lines]).toEqual([1, true, ["disk.full"]]);
  guarded.commit(BATCH);
  expect(at.freed).toBe(1);
  let compacted = 0;
  for (let turn = 0; turn < 2; turn += 1) {
    guarded.makeRoom(() => {
      compacted += 1;
    });
  }
  expect(compacted).toBe(1);
  const compacting = world([full(), "taken"]);
  compacting.guarded.compact(5 as LogIndex);
  expect([compacting.at.freed, compacting.guarded.isFull]).toEqual([1, true]);
});

test("full again is the end, at once or later, unless there was room in between", () => {
  expect(() => world([full(), full()]).guarded.commit(BATCH)).toThrow(DiskFullError);
  const later = world([full(), "taken", full()]);
  later.guarded.commit(BATCH);
  expect(() => later.guarded.commit(BATCH)).toThrow(DiskFullError);
  const between = world([full(), "taken", full(), "taken"]);
  between.guarded.commit(BATCH);
  between.guarded.lookForRoom();
  expect(between.guarded.isFull).toBe(true);
  between.at.hasRoom = true;
  between.at.nowMs += 9999;
  between.guarded.lookForRoom();
  expect(between.guarded.isFull).toBe(true);
  between.at.nowMs += 1;
  between.guarded.lookForRoom();
  expect([between.guarded.isFull, between.lines]).toEqual([false, ["disk.full", "disk.room"]]);
  between.guarded.commit(BATCH);
  expect(between.at.freed).toBe(2);
});

test("any other error passes through, and nothing is tried again", () => {
  const { at, guarded, left } = world([new Error("disk I/O error"), "taken"]);
  expect(() => guarded.commit(BATCH)).toThrow("disk I/O error");
  expect([at.freed, guarded.isFull, left.length]).toEqual([0, false, 1]);
});

test("how long commits take is known", () => {
  const { at, guarded } = world([]);
  for (const commitMs of [2, 400, 3]) {
    at.commitMs = commitMs;
    guarded.commit(BATCH);
  }
  expect([guarded.commits.worstMs(at.nowMs), guarded.commits.slowCount(at.nowMs)]).toEqual([400, 1]);
});
