import { expect, test } from "bun:test";
import { PrimaryWatch } from "../../../src/agent/primary-watch.ts";
import type { StandbyConnection } from "../../../src/cluster/observation.ts";
import { lsn } from "../../support/situation.ts";

function connection(name: string, flushed: number): StandbyConnection {
  return {
    name,
    state: "streaming",
    flushedLsn: lsn(flushed),
    replayedLsn: lsn(flushed),
    syncState: "quorum",
  };
}

test("PrimaryWatch tells for how long the oldest commit that still waits has been waiting", () => {
  const watch = new PrimaryWatch();
  const look = (waitingCommits: readonly string[], nowMs: number) =>
    watch.observe({ writtenLsn: lsn(100), standbys: [], waitingCommits }, nowMs).commitWaitMs;
  expect(look([], 0)).toBeNull();
  expect(look(["a"], 100)).toBe(0);
  expect(look(["a", "b"], 300)).toBe(200);
  expect(look(["b"], 500)).toBe(200);
  expect(look(["c"], 700)).toBe(0);
  watch.forget();
  expect(look(["c"], 900)).toBe(0);
});

test("PrimaryWatch tells for how long a standby has flushed nothing of what it lacks", () => {
  const watch = new PrimaryWatch();
  const look = (written: number, flushed: number, nowMs: number) =>
    watch.observe(
      { writtenLsn: lsn(written), standbys: [connection("m2", flushed)], waitingCommits: [] },
      nowMs,
    ).standbys[0]?.stuckMs;
  expect(look(100, 100, 0)).toBeUndefined();
  expect(look(100, 100, 5_000)).toBeUndefined();
  expect(look(200, 100, 5_100)).toBe(100);
  expect(look(300, 100, 5_600)).toBe(600);
  expect(look(300, 150, 5_700)).toBeUndefined();
  expect(look(300, 150, 5_800)).toBe(100);
});
