import type { Sabotage } from "./sabotage.ts";
import { Simulation } from "./simulation.ts";
import type { Theme } from "./world.ts";

const QUIET_STEPS = 300;
const STEPS_WITH_FAULTS = 2_500;
const STEPS_TO_HEAL = 60_000;
/** What is broken on purpose need not heal; it may break more while it tries. */
const STEPS_TO_HEAL_BROKEN = 3_000;

/** One history: quiet growth, faults, then everything heals. @returns it at its end. */
export function live(seed: number, sabotage: Sabotage | "none" = "none", theme: Theme = "all"): Simulation {
  const simulation = new Simulation(seed, seed % 4 === 0 ? 5 : 3, sabotage, theme);
  for (let step = 0; step < QUIET_STEPS; step += 1) simulation.step(false);
  // In every other history a planned restart is under way when the faults begin.
  if (seed % 2 === 0) simulation.restartAll();
  for (let step = 0; step < STEPS_WITH_FAULTS; step += 1) simulation.step(true);
  simulation.heal();
  const stepsMax = sabotage === "none" ? STEPS_TO_HEAL : STEPS_TO_HEAL_BROKEN;
  for (let step = 0; step < stepsMax && !simulation.isWhole(); step += 1) simulation.step(false);
  return simulation;
}

/** The same, and whole at its end (F8). @throws {Error} with how far it came, where it is not. */
export function liveWhole(seed: number, theme: Theme = "all"): Simulation {
  const simulation = live(seed, "none", theme);
  if (simulation.isWhole()) return simulation;
  throw new Error(
    `seed ${seed} did not heal (F8)\n${simulation.describe()}\n${simulation.trace.slice(-40).join("\n")}`,
  );
}
