import { expect, test } from "bun:test";
import { Turning } from "../../../src/agent/turning.ts";
import type { Clock } from "../../../src/base/clock.ts";

/** A clock whose sleeps end only when they are aborted. */
const frozen: Clock = {
  nowMs: () => 0,
  wallMs: () => 0,
  sleep: (_durationMs, signal) =>
    new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
};

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await Promise.resolve();
}

test("any number of wake-ups during a turn lead to one more", async () => {
  let turns = 0;
  const gate = Promise.withResolvers<void>();
  const turning = new Turning(frozen, async () => {
    turns += 1;
    if (turns === 1) await gate.promise;
    return 1_000;
  });
  turning.start();
  turning.wake();
  turning.wake();
  await settle();
  expect(turns).toBe(1);
  gate.resolve();
  await settle();
  expect(turns).toBe(2);
  await turning.stop();
});

test("turns never overlap", async () => {
  let inside = 0;
  let widest = 0;
  const turning = new Turning(frozen, async () => {
    inside += 1;
    widest = Math.max(widest, inside);
    await Promise.resolve();
    inside -= 1;
    return 1_000;
  });
  turning.start();
  for (let round = 0; round < 10; round += 1) {
    turning.wake();
    await settle();
  }
  expect(widest).toBe(1);
  await turning.stop();
});

test("no turn begins after stop()", async () => {
  let turns = 0;
  const turning = new Turning(frozen, async () => {
    turns += 1;
    return 1_000;
  });
  turning.start();
  await settle();
  await turning.stop();
  turning.wake();
  await settle();
  expect(turns).toBe(1);
});
