import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { explain, Totals } from "./report.ts";
import { simulate } from "./simulate.ts";

// `SEED=17` lives in one world, `SEEDS=5000` in many.
const ONLY_SEED = process.env["SEED"];
const SEED_COUNT = Number(process.env["SEEDS"] ?? "100");
const MS_PER_SEED_MAX = 5_000;
/** Every so many seeds one is lived twice. */
const TWICE_EVERY = 20;

const seeds =
  ONLY_SEED === undefined ? Array.from({ length: SEED_COUNT }, (_, at) => at + 1) : [Number(ONLY_SEED)];

function livesWell(seed: number, totals: Totals): void {
  const result = simulate({ seed });
  totals.add(result.counts);
  if (result.finding !== null) throw new Error(explain(result));
}

describe("a simulated group", () => {
  test(
    "keeps every promise of Raft through whatever goes wrong, and recovers",
    () => {
      const totals = new Totals();
      for (const seed of seeds) livesWell(seed, totals);
      if (ONLY_SEED !== undefined) return;
      // A world in which nothing happens keeps every promise too.
      const perSeed = (name: Parameters<Totals["of"]>[0]): number => totals.of(name) / seeds.length;
      expect(perSeed("recovered")).toBeGreaterThan(0.95);
      expect(perSeed("undecidedKeys")).toBeLessThan(0.05);
      expect(perSeed("acknowledged")).toBeGreaterThan(20);
      expect(perSeed("reads")).toBeGreaterThan(10);
      expect(perSeed("leaders")).toBeGreaterThan(4);
      expect(perSeed("crashes")).toBeGreaterThan(2);
      expect(perSeed("snapshots")).toBeGreaterThan(2);
      expect(perSeed("configs")).toBeGreaterThan(4);
      expect(totals.of("jointConfigs")).toBeGreaterThan(0);
      expect(totals.of("truncations")).toBeGreaterThan(0);
      expect(totals.of("lostTransactions")).toBeGreaterThan(0);
    },
    Math.max(SEED_COUNT, 1) * MS_PER_SEED_MAX,
  );

  test("lives the same life for the same seed, word by word", () => {
    const sample = seeds.filter((_, at) => at % TWICE_EVERY === 0).slice(0, 20);
    for (const seed of sample) {
      const first = simulate({ seed, isTraced: true });
      const second = simulate({ seed, isTraced: true });
      expect(second).toEqual(first);
      // Whether somebody listens changes nothing either.
      expect(simulate({ seed }).traceHash).toBe(first.traceHash);
    }
    expect(simulate({ seed: 6 }).traceHash).not.toBe(simulate({ seed: 7 }).traceHash);
  }, 60_000);
});

describe("what once went wrong", () => {
  const lines = readFileSync(join(import.meta.dir, "regressions.txt"), "utf8").split("\n");
  const known = lines.filter((line) => line !== "" && !line.startsWith("#"));

  test.each(known.map((line) => [line]))(
    "seed %s",
    (line) => {
      const seed = /^(\d+) [0-9a-f]{7,} \S/.exec(line)?.[1];
      if (seed === undefined) throw new Error(`regressions.txt: '${line}' is not 'seed commit what'`);
      livesWell(Number(seed), new Totals());
    },
    20_000,
  );
});
