import { type Sabotage, type Theme, World } from "./world.ts";

const QUIET_STEPS = 600;
const STEPS_WITH_FAULTS = 4_000;
const STEPS_TO_HEAL = 60_000;

/** One history: quiet growth, faults, then everything heals. @returns the world at its end. */
export function live(seed: number, sabotage: Sabotage = "none", theme: Theme = "all"): World {
  const world = new World(seed, seed % 4 === 0 ? 5 : 3, sabotage, theme);
  for (let step = 0; step < QUIET_STEPS; step += 1) world.step(false);
  for (let step = 0; step < STEPS_WITH_FAULTS; step += 1) world.step(true);
  world.heal();
  for (let step = 0; step < STEPS_TO_HEAL && !world.isWhole(); step += 1) world.step(false);
  return world;
}

/** The same, and whole at its end (F8). @throws {Error} with how far it came, where it is not. */
export function liveWhole(seed: number, theme: Theme = "all"): World {
  const world = live(seed, "none", theme);
  if (world.isWhole()) return world;
  throw new Error(
    `seed ${seed} did not heal (F8)\n${world.describe()}\n${world.trace.slice(-40).join("\n")}`,
  );
}
