import { Violation } from "./recorder.ts";
import { recover } from "./recovery.ts";
import { World, type WorldCounts, type WorldOptions } from "./world.ts";

export interface Finding {
  /** `broken`: the code found it out itself, by an assertion. */
  readonly kind: "safety" | "liveness" | "broken";
  readonly text: string;
}

export interface WorldResult {
  readonly seed: number;
  /** Null: every promise was kept. */
  readonly finding: Finding | null;
  /** Empty unless it was wanted. */
  readonly trace: readonly string[];
  readonly traceHash: number;
  readonly counts: WorldCounts;
}

/** Lives one whole life: first everything goes wrong, then nothing. */
export function simulate(options: WorldOptions): WorldResult {
  const world = new World(options);
  let finding: Finding | null = null;
  try {
    world.form();
    world.runFor(world.swarm.safetyUnits);
    world.hasRecovered = recover(world);
    world.checkLost();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    finding = { kind: error instanceof Violation ? error.kind : "broken", text: textOf(error) };
    world.note(() => `VIOLATION ${error.message}`);
  }
  const { lines, hash } = world.trace;
  return { seed: options.seed, finding, trace: lines, traceHash: hash, counts: world.counts() };
}

function textOf(error: Error): string {
  if (error instanceof Violation) return error.message;
  const place = error.stack?.split("\n").slice(1, 6).join("\n") ?? "";
  return `${error.name}: ${error.message}\n${place}`;
}
