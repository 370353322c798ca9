/** Who is measured how often, and what that costs in time. */
import { MODES, type Mode, type System, type Tuning } from "./rival.ts";
import { SCENARIOS, type Scenario } from "./scenario.ts";

export interface Entrant {
  readonly system: System;
  readonly tuning: Tuning;
}

/** The name by which one is chosen on the command line. */
export function nameOf({ system, tuning }: Entrant): string {
  return system === "patroni" || system === "pg_auto_failover" ? `${system}-${tuning}` : system;
}

export const ENTRANTS: readonly Entrant[] = [
  { system: "bare", tuning: "default" },
  { system: "guacamole", tuning: "default" },
  { system: "patroni", tuning: "tight" },
  { system: "patroni", tuning: "default" },
  { system: "pg_auto_failover", tuning: "tight" },
  { system: "pg_auto_failover", tuning: "default" },
];

type Runs = Readonly<Record<Scenario, number>>;

export interface Effort {
  readonly entrants: readonly Entrant[];
  readonly modes: readonly Mode[];
  runs(entrant: Entrant, scenario: Scenario): number;
  /** Of the comparison of small and large databases, and of few and many clients. */
  readonly independenceRuns: number;
}

/** The agent's freeze lasts a minute, however good its owner is. */
function sameRuns(runs: number, frozenAgent: number): Runs {
  return {
    crash: runs,
    "host-death": runs,
    partition: runs,
    "frozen-postgres": runs,
    switchover: runs,
    "frozen-agent": frozenAgent,
  };
}

const QUICK_RUNS: Readonly<Record<System, Runs>> = {
  bare: sameRuns(2, 0),
  guacamole: sameRuns(3, 0),
  patroni: sameRuns(1, 0),
  pg_auto_failover: sameRuns(1, 0),
};

const FULL_RUNS: Readonly<Record<System, Runs>> = {
  bare: sameRuns(5, 0),
  guacamole: sameRuns(20, 3),
  patroni: sameRuns(3, 1),
  pg_auto_failover: sameRuns(3, 1),
};

export const QUICK: Effort = {
  entrants: ENTRANTS.filter(
    ({ system, tuning }) => system === "bare" || system === "guacamole" || tuning === "tight",
  ),
  modes: ["sync"],
  runs: ({ system }, scenario) => QUICK_RUNS[system][scenario],
  independenceRuns: 0,
};

export const FULL: Effort = {
  entrants: ENTRANTS,
  modes: MODES,
  runs: ({ system }, scenario) => FULL_RUNS[system][scenario],
  independenceRuns: 5,
};

/** Says how often everything that has a name in `chosen` is done; nothing else is. */
export function chosenEffort(
  base: Effort,
  chosen: {
    readonly names: readonly string[];
    readonly scenarios: readonly string[];
    readonly modes: readonly string[];
    readonly runs: number | null;
  },
): Effort {
  const entrants = pick(ENTRANTS, chosen.names, (entrant) => [nameOf(entrant), entrant.system], "rival");
  const scenarios = new Set(pick(SCENARIOS, chosen.scenarios, (scenario) => [scenario], "scenario"));
  const areNamed = chosen.scenarios.length > 0;
  return {
    entrants: chosen.names.length === 0 ? base.entrants : entrants,
    modes: chosen.modes.length === 0 ? base.modes : pick(MODES, chosen.modes, (mode) => [mode], "mode"),
    runs: (entrant, scenario) => {
      if (!scenarios.has(scenario) || (entrant.system === "bare" && scenario === "frozen-agent")) return 0;
      // One that was asked for by name is measured, however quick all should be.
      const usual = areNamed ? Math.max(1, base.runs(entrant, scenario)) : base.runs(entrant, scenario);
      if (chosen.runs === null || usual === 0) return usual;
      return scenario === "frozen-agent" ? Math.min(usual, chosen.runs) : chosen.runs;
    },
    independenceRuns: base.independenceRuns,
  };
}

function pick<T>(
  all: readonly T[],
  names: readonly string[],
  namesOf: (each: T) => readonly string[],
  what: string,
): readonly T[] {
  if (names.length === 0) return all;
  for (const name of names) {
    if (!all.some((each) => namesOf(each).includes(name)))
      throw new Error(`there is no ${what} ${name}; there are ${all.flatMap(namesOf).join(", ")}`);
  }
  return all.filter((each) => namesOf(each).some((name) => names.includes(name)));
}
