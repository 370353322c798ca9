import { expect, test } from "bun:test";
import { live, liveWhole } from "./history.ts";
import { SABOTAGES, type Sabotage } from "./sabotage.ts";
import { InvariantBroken, type Theme } from "./world.ts";

const SEEDS = Number(process.env["CLUSTER_SEEDS"] ?? process.env["SEEDS"] ?? 100);
const ONE_SEED = process.env["SEED"];
/** Ends a world that hangs. */
const TIMEOUT_MS = 60_000 + SEEDS * 1_000;

const seeds =
  ONE_SEED === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(ONE_SEED)];

test(
  `F1 to F10: ${seeds.length} histories lose no acknowledged commit, have one writer an epoch, and heal`,
  () => {
    let failovers = 0;
    let acknowledged = 0;
    let removed = 0;
    let restarts = 0;
    for (const seed of seeds) {
      const world = liveWhole(seed);
      failovers += world.failovers;
      acknowledged += world.acknowledgedCount;
      removed += world.removed;
      restarts += world.restarts;
    }
    // The histories must contain what they are about.
    if (ONE_SEED === undefined) {
      expect(failovers).toBeGreaterThan(seeds.length);
      expect(acknowledged).toBeGreaterThan(seeds.length * 20);
      expect(removed).toBeGreaterThan(seeds.length);
      expect(restarts).toBeGreaterThan(seeds.length / 4);
    }
  },
  TIMEOUT_MS,
);

/** Histories about something are an eighth as many, of each. */
const someSeeds = seeds.filter((seed) => ONE_SEED !== undefined || seed % 8 === 1);
/** Among so many of them some show what they are about. */
const ENOUGH_SEEDS = 30;

test.each<Theme>(["leased", "promotions", "looks", "cohorts"])(
  "F1 to F10 in histories that are about something: %s",
  (theme) => {
    let failovers = 0;
    for (const seed of someSeeds) failovers += liveWhole(seed, theme).failovers;
    if (ONE_SEED === undefined) expect(failovers).toBeGreaterThan(someSeeds.length);
  },
  TIMEOUT_MS,
);

test(
  `F7 and F8 where WAL is gone soon: ${someSeeds.length} histories`,
  () => {
    let rebuilt = 0;
    for (const seed of someSeeds)
      rebuilt += liveWhole(seed, "short-wal").trace.filter((line) =>
        line.includes("it needs WAL from"),
      ).length;
    if (someSeeds.length >= ENOUGH_SEEDS) expect(rebuilt).toBeGreaterThan(someSeeds.length);
  },
  TIMEOUT_MS,
);

test(
  `F1 holds where people keep naming a member outside the cohort: ${someSeeds.length} histories`,
  () => {
    let named = 0;
    for (const seed of someSeeds) named += liveWhole(seed, "outsider").outsidersAppointed;
    // One that holds everything follows, and there are enough histories in which one does; among a few there may be none.
    if (someSeeds.length >= ENOUGH_SEEDS) expect(named).toBeGreaterThan(someSeeds.length / 10);
  },
  TIMEOUT_MS,
);

test("the same seed gives the same history", () => {
  expect(live(7).trace).toEqual(live(7).trace);
});

/** What only happens in histories about something. */
const THEMES: Partial<Readonly<Record<Sabotage, Theme>>> = {
  "trust-a-named-outsider": "outsider",
  "give-a-standby-name-twice": "cohorts",
  "keep-no-leases": "leased",
  "count-a-lease-from-its-receipt": "leased",
  "count-a-lease-by-the-wall-clock": "leased",
  "appoint-before-the-lease-ends": "leased",
  "forget-whom-a-supervisor-promoted": "promotions",
  "take-a-silence-for-wal-that-is-gone": "short-wal",
};

test.each([...SABOTAGES])(
  "finds the sabotage '%s' within 300 histories",
  (sabotage) => {
    const found = Array.from({ length: 300 }, (_, index) => index + 1).find((seed) => {
      try {
        live(seed, sabotage, THEMES[sabotage]);
        return false;
      } catch (error) {
        if (error instanceof InvariantBroken) return true;
        throw error;
      }
    });
    expect(found).toBeDefined();
  },
  120_000,
);
