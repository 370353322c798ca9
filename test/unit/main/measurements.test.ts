import { expect, test } from "bun:test";
import { Lateness } from "../../../src/main/lateness.ts";
import { RECENT_MS, RecentWorst } from "../../../src/main/recent-worst.ts";

test("the worst of the last ten seconds, and how often it was slow", () => {
  const recent = new RecentWorst(250);
  expect(recent.worstMs(0)).toBe(0);
  recent.add(900, 100);
  recent.add(3, 150);
  recent.add(300, 4000);
  expect([recent.worstMs(4000), recent.slowCount(4000), recent.count(4000)]).toEqual([900, 2, 3]);
  expect([recent.worstMs(100 + RECENT_MS), recent.slowCount(100 + RECENT_MS)]).toEqual([300, 1]);
  expect(recent.worstMs(60_000)).toBe(0);
  for (let nowMs = 0; nowMs < 100_000; nowMs += 10) recent.add(nowMs / 1000, nowMs);
  expect(recent.worstMs(100_000)).toBeCloseTo(99.99);
});

test("one late wake-up is chance; lateness counts from when it began, and ends", () => {
  const lateness = new Lateness();
  let nowMs = 0;
  const wake = (lateMs: number) => {
    nowMs += 75;
    lateness.add(lateMs, nowMs, 37);
  };
  for (let count = 0; count < 19; count += 1) wake(50);
  expect([lateness.p99Ms(nowMs), lateness.lateSinceMs]).toEqual([0, null]);
  wake(50);
  const sinceMs = nowMs;
  expect([lateness.p99Ms(nowMs), lateness.lateSinceMs]).toEqual([50, sinceMs]);
  wake(60);
  expect(lateness.lateSinceMs).toBe(sinceMs);
  for (let count = 0; count < 140; count += 1) wake(0);
  expect([lateness.p99Ms(nowMs), lateness.lateSinceMs]).toEqual([0, null]);
  wake(500);
  expect([lateness.p99Ms(nowMs), lateness.lateSinceMs]).toEqual([0, null]);
});
