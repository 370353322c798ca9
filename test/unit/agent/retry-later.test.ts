import { expect, test } from "bun:test";
import { RetryLater } from "../../../src/agent/retry-later.ts";

test("a plan that was never carried out may be at once", () => {
  expect(new RetryLater().delayMs("promote", 1_000)).toBe(0);
});

test("the same plan waits twice as long each time, up to ten seconds", () => {
  const retry = new RetryLater();
  const waits: number[] = [];
  let nowMs = 0;
  for (let round = 0; round < 10; round += 1) {
    retry.done("promote", nowMs);
    waits.push(retry.delayMs("promote", nowMs));
    nowMs += 60_000;
  }
  expect(waits).toEqual([50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
});

test("another plan is not held back, and the first begins anew after it", () => {
  const retry = new RetryLater();
  retry.done("promote", 0);
  retry.done("promote", 0);
  expect(retry.delayMs("stop", 0)).toBe(0);
  retry.done("stop", 0);
  expect(retry.delayMs("promote", 0)).toBe(0);
  retry.done("promote", 0);
  expect(retry.delayMs("promote", 20)).toBe(30);
});
