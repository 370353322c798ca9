import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import type { LogStore, StoreBatch } from "../../../src/raft/ports.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import { SimulatedGroup, type SimulationOptions, type SimulationResult } from "./simulated-group.ts";

// `SEED=17` runs one world, `SEEDS=5000` many.
const ONLY_SEED = process.env["SEED"];
const SEED_COUNT = Number(process.env["SEEDS"] ?? "100");
const seeds =
  ONLY_SEED === undefined ? Array.from({ length: SEED_COUNT }, (_, at) => at + 1) : [Number(ONLY_SEED)];

function run(options: SimulationOptions): SimulationResult {
  return new SimulatedGroup(options).run();
}

function report(seed: number, { violation, traceTail }: SimulationResult): string {
  return `seed ${seed} (again with SEED=${seed}): ${violation}\n${traceTail.join("\n")}`;
}

/** What was said in the first of many stormy worlds in which the sabotage was noticed; null if it never was. */
function findSabotage(sabotage: (disk: LogStore) => LogStore, pattern: RegExp): string | null {
  const weather = {
    crashPercent: 20,
    delayUnitsMax: 40,
    stragglerPercent: 20,
    dropPercent: 2,
    partitionPercent: 5,
  };
  for (let seed = 1; seed <= 200; seed += 1) {
    const { violation } = run({ seed, sabotage, weather });
    if (violation !== null && pattern.test(violation)) return violation;
  }
  return null;
}

describe("a simulated group", () => {
  test(
    "keeps every promise of Raft through loss, reordering, partitions and crashes, and recovers",
    () => {
      const total = { committed: 0, leaders: 0, acknowledged: 0, events: 0, grown: 0 };
      for (const seed of seeds) {
        const result = run({ seed });
        if (result.violation !== null) throw new Error(report(seed, result));
        total.committed += result.committedCount;
        total.leaders += result.leaderCount;
        total.acknowledged += result.acknowledgedCount;
        total.events += result.eventCount;
        if (result.voterCount >= 3) total.grown += 1;
      }
      if (ONLY_SEED !== undefined) return;
      // A world in which nothing happens keeps every promise too.
      expect(total.committed).toBeGreaterThan(seeds.length * 50);
      expect(total.acknowledged).toBeGreaterThan(seeds.length * 20);
      expect(total.leaders).toBeGreaterThan(seeds.length * 2);
      expect(total.grown).toBeGreaterThan(seeds.length / 2);
    },
    SEED_COUNT * 10_000,
  );

  test("lives the same life for the same seed", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const first = run({ seed });
      const second = run({ seed });
      expect(second).toEqual(first);
    }
    expect(run({ seed: 6 }).traceHash).not.toBe(run({ seed: 7 }).traceHash);
  });
});

describe("sabotage that the simulation must notice", () => {
  test("a disk that forgets whom it voted for", () => {
    const forgetful = (disk: LogStore): LogStore => ({
      ...disk,
      load: () => {
        const stored = disk.load();
        return { ...stored, hard: { ...stored.hard, vote: null } };
      },
    });
    expect(findSabotage(forgetful, /voted twice|election safety/)).not.toBeNull();
  }, 60_000);

  test("a disk that reports a write as durable one write too early", () => {
    const lazy = (disk: LogStore): LogStore => {
      const stored = disk.load();
      const entries = disk.read(1 as LogIndex, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      const cache = new MemoryLogStore({ entries, hard: stored.hard });
      cache.applied = stored.applied;
      let waiting: StoreBatch | null = null;
      return {
        load: () => stored,
        read: (first, countMax, bytesMax) => cache.read(first, countMax, bytesMax),
        termAt: (index) => cache.termAt(index),
        commit: (batch) => {
          if (waiting !== null) disk.commit(waiting);
          waiting = batch;
          return cache.commit(batch);
        },
      };
    };
    expect(findSabotage(lazy, /does not hold|no quorum has it on disk/)).not.toBeNull();
  }, 60_000);

  test("a disk that loses the last entry in a crash", () => {
    const lossy = (disk: LogStore): LogStore => ({
      ...disk,
      load: () => {
        const stored = disk.load();
        const index = Math.max(stored.applied, stored.last.index - 1) as LogIndex;
        const term = disk.termAt(index) ?? stored.last.term;
        return { ...stored, last: { index, term }, hard: { ...stored.hard, commit: stored.applied } };
      },
    });
    expect(findSabotage(lossy, /InvariantError|was data lost from the disk/)).not.toBeNull();
  }, 60_000);
});
