import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type { Entry } from "../../../src/raft/engine/message.ts";
import type { StoreBatch } from "../../../src/raft/ports.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { DiskFault, type DiskWatcher, SimulatedDisk } from "./disk.ts";

const WATCHER: DiskWatcher = { writing: () => {}, synced: () => {}, applied: () => {} };

function entry(index: number, term = 1): Entry {
  return {
    index: index as LogIndex,
    term: term as Term,
    kind: "command",
    data: new TextEncoder().encode(`c${index}|write|register-0|v${index}|`),
  };
}

function batch(changes: Partial<StoreBatch>): StoreBatch {
  return { snapshot: null, entries: [], hard: null, committed: [], mustSync: true, ...changes };
}

/** Five entries on the disk; then their commits, one by one, which nobody waits for. */
function filled(): SimulatedDisk {
  const disk = new SimulatedDisk("m1", WATCHER);
  const entries = [1, 2, 3, 4, 5].map((index) => entry(index));
  disk.commit(batch({ entries, hard: { term: 1 as Term, vote: null, commit: 0 as LogIndex } }));
  for (const each of entries) {
    const hard = { term: 1 as Term, vote: null, commit: each.index };
    disk.commit(batch({ hard, committed: [each], mustSync: false }));
  }
  return disk;
}

describe("a simulated disk", () => {
  test("reads what was written, and answers what was applied", () => {
    const disk = filled();
    expect(disk.load()).toMatchObject({ applied: 5, last: { index: 5, term: 1 } });
    expect(disk.current.machine.value("register-0")).toBe("v5");
    expect(disk.read(2 as LogIndex, 2, 1_000).map(({ index }) => Number(index))).toEqual([2, 3]);
  });

  test("keeps a beginning of what was not synced when the power is lost, never less than what was", () => {
    const kept = new Set<number>();
    for (let seed = 1; seed <= 100; seed += 1) {
      const disk = filled();
      disk.losePower(new SeededRandom(seed));
      const { applied, hard, last } = disk.load();
      expect(Number(hard.commit)).toBe(applied);
      expect(Number(last.index)).toBe(5);
      expect(disk.current.machine.value("register-0")).toBe(applied === 0 ? "" : `v${applied}`);
      kept.add(applied);
    }
    expect([...kept].sort()).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("loses nothing that a later transaction waited for", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const disk = filled();
      disk.commit(batch({ entries: [entry(6)] }));
      disk.losePower(new SeededRandom(seed));
      expect(disk.load()).toMatchObject({ applied: 5, last: { index: 6 } });
    }
  });

  test("overwrites from the first entry that conflicts", () => {
    const disk = new SimulatedDisk("m1", WATCHER);
    disk.commit(batch({ entries: [entry(1), entry(2), entry(3)] }));
    disk.commit(batch({ entries: [entry(1), entry(2, 2)] }));
    expect(disk.current.last).toEqual({ index: 2 as LogIndex, term: 2 as Term });
  });

  test("fails where a trap is set, before or after it has the transaction", () => {
    for (const when of ["before", "after"] as const) {
      const disk = filled();
      disk.trap = { kind: "failed", when, isForEntries: true };
      disk.commit(batch({}));
      expect(() => disk.commit(batch({ entries: [entry(6)] }))).toThrow(DiskFault);
      expect(Number(disk.current.last.index)).toBe(when === "before" ? 5 : 6);
    }
  });

  test("never starts with a row that has rotted", () => {
    const disk = filled();
    disk.rottenIndex = 3;
    expect(() => disk.load()).toThrow("corrupt");
    expect(() => disk.read(2 as LogIndex, 3, 1_000)).toThrow("corrupt");
  });
});
