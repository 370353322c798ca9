import { expect, test } from "bun:test";
import { InvariantBroken, type Sabotage, World } from "./world.ts";

const SEEDS = Number(process.env["SEEDS"] ?? 100);
const ONE_SEED = process.env["SEED"];
/** Ends a world that hangs. */
const TIMEOUT_MS = 60_000 + SEEDS * 1_000;
const STEPS_WITH_FAULTS = 4_000;
const STEPS_TO_HEAL = 20_000;

/** One history: quiet growth, faults, then everything heals. @returns the world at its end. */
function live(seed: number, sabotage: Sabotage = "none"): World {
  const world = new World(seed, seed % 4 === 0 ? 5 : 3, sabotage);
  for (let step = 0; step < 600; step += 1) world.step(false);
  for (let step = 0; step < STEPS_WITH_FAULTS; step += 1) world.step(true);
  world.heal();
  for (let step = 0; step < STEPS_TO_HEAL && !world.isWhole(); step += 1) world.step(false);
  return world;
}

const seeds =
  ONE_SEED === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(ONE_SEED)];

test(
  `F1, F2, F8: ${seeds.length} histories lose no acknowledged commit, have one writer an epoch, and heal`,
  () => {
    let failovers = 0;
    let acknowledged = 0;
    let removed = 0;
    for (const seed of seeds) {
      const world = live(seed);
      if (!world.isWhole()) {
        throw new Error(
          `seed ${seed} did not heal (F8)\n${world.describe()}\n${world.trace.slice(-40).join("\n")}`,
        );
      }
      failovers += world.failovers;
      acknowledged += world.acknowledgedCount;
      removed += world.removed;
    }
    // The histories must contain what they are about.
    if (ONE_SEED === undefined) {
      expect(failovers).toBeGreaterThan(seeds.length);
      expect(acknowledged).toBeGreaterThan(seeds.length * 20);
      expect(removed).toBeGreaterThan(seeds.length);
    }
  },
  TIMEOUT_MS,
);

test("the same seed gives the same history", () => {
  expect(live(7).trace).toEqual(live(7).trace);
});

const SABOTAGES: readonly Sabotage[] = [
  "answer-before-the-pledge",
  "one-pledge-is-enough",
  "promote-the-least-advanced",
  "ignore-the-epoch-of-timelines",
  "give-a-standby-name-twice",
];

test.each([...SABOTAGES])(
  "finds the sabotage '%s' within 300 histories",
  (sabotage) => {
    const found = Array.from({ length: 300 }, (_, index) => index + 1).find((seed) => {
      try {
        live(seed, sabotage);
        return false;
      } catch (error) {
        if (error instanceof InvariantBroken) return true;
        throw error;
      }
    });
    expect(found).toBeDefined();
  },
  60_000,
);
