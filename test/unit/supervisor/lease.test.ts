import { describe, expect, test } from "bun:test";
import type { Epoch } from "../../../src/base/ids.ts";
import { bootOffsetMs, hostTime } from "../../../src/supervisor/host-time.ts";
import {
  extended,
  isStanding,
  type Lease,
  stopBudgetMs,
  stopsAtMs,
  stopTimes,
} from "../../../src/supervisor/lease.ts";

const epoch = (value: number): Epoch => value as Epoch;
const extension = (stampMs: number, changes: { epoch?: number; durationMs?: number } = {}) => ({
  epoch: epoch(changes.epoch ?? 3),
  stampMs,
  durationMs: changes.durationMs ?? 3_000,
});
const LEASE: Lease = { epoch: epoch(3), untilMs: 13_000, durationMs: 3_000 };

describe("an extension", () => {
  test("counts from its stamp, not from its receipt", () => {
    expect(extended(null, extension(10_000), 10_900)).toEqual(LEASE);
    expect(extended(LEASE, extension(10_500), 11_900)).toEqual({ ...LEASE, untilMs: 13_500 });
  });

  test("never shortens what stands", () => {
    expect(extended(LEASE, extension(9_000), 10_500)).toBe(LEASE);
    expect(extended(LEASE, extension(10_400, { durationMs: 1_000 }), 10_500)).toBe(LEASE);
  });

  test("is nothing if it is over by now, or so nearly that the stop would begin at once", () => {
    expect(extended(null, extension(10_000), 13_000)).toBeNull();
    expect(extended(null, extension(10_000), 12_000)).toBeNull();
    expect(extended(null, extension(10_000), 11_999)).toEqual(LEASE);
  });

  test("is nothing if its stamp lies in the future: it is of another boot", () => {
    expect(extended(null, extension(10_001), 10_000)).toBeNull();
    expect(extended(LEASE, extension(10_501), 10_500)).toBe(LEASE);
  });

  test("is nothing for an older epoch, and begins anew for a newer one", () => {
    expect(extended(LEASE, extension(10_500, { epoch: 2 }), 10_600)).toBe(LEASE);
    const shorter = extension(10_500, { epoch: 4, durationMs: 1_500 });
    expect(extended(LEASE, shorter, 10_600)).toEqual({ epoch: epoch(4), untilMs: 12_000, durationMs: 1_500 });
  });

  test("takes up an older lease that has run out", () => {
    expect(extended(LEASE, extension(19_000), 19_500)).toEqual({ ...LEASE, untilMs: 22_000 });
  });
});

describe("the end", () => {
  test.each([
    [600, 200],
    [3_000, 1_000],
    [60_000, 1_000],
  ])("of a lease of %d ms begins %d ms before it", (durationMs, budgetMs) => {
    expect(stopBudgetMs(durationMs)).toBe(budgetMs);
    expect(stopsAtMs({ ...LEASE, durationMs })).toBe(LEASE.untilMs - budgetMs);
  });

  test("a lease stands until its stop begins", () => {
    expect(isStanding(LEASE, 11_999)).toBe(true);
    expect(isStanding(LEASE, 12_000)).toBe(false);
    expect(isStanding(null, 0)).toBe(false);
  });

  test("the stop becomes a kill when the lease is over, however late it began", () => {
    for (const nowMs of [12_000, 12_500, 12_999]) {
      const { fastMs, immediateMs } = stopTimes(LEASE, nowMs);
      expect(nowMs + fastMs + immediateMs).toBe(LEASE.untilMs);
      expect(fastMs).toBeGreaterThan(immediateMs);
    }
    expect(stopTimes(LEASE, 99_000)).toEqual({ fastMs: 0, immediateMs: 0 });
  });
});

describe("the host's time", () => {
  test("goes on, in whole milliseconds, and is the same for everybody on this boot", () => {
    const [mine, another] = [hostTime(), hostTime()];
    const first = mine.nowMs();
    expect(Number.isSafeInteger(first)).toBe(true);
    expect(another.nowMs() - first).toBeGreaterThanOrEqual(0);
    expect(another.nowMs() - first).toBeLessThan(60_000);
    expect(mine.bootId).toBe(another.bootId);
  });

  test("a stamp of another boot extends nothing, whichever came first", () => {
    const boots = ["a", "b", "c", "d", "e"].map(bootOffsetMs);
    for (const here of boots) {
      for (const there of boots.filter((each) => each !== here)) {
        expect(extended(null, extension(there + 50_000), here + 50_500)).toBeNull();
      }
    }
    expect(new Set(boots).size).toBe(boots.length);
  });
});
