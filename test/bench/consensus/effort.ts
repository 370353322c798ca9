/** How long the benchmark of consensus takes for what. */

export const CONSENSUS_PARTS = ["load", "replacement", "steady", "restart", "growth"] as const;
export type ConsensusPart = (typeof CONSENSUS_PARTS)[number];

export interface Effort {
  /** Of everything that is measured in turn. */
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Leaders killed in each group. */
  readonly kills: number;
  readonly steadyMs: number;
  /** Written while a follower is away. */
  readonly entries: number;
}

export const QUICK: Effort = {
  rounds: 1,
  warmUpMs: 500,
  measureMs: 1_000,
  kills: 5,
  steadyMs: 15_000,
  entries: 20_000,
};

export const FULL: Effort = {
  rounds: 3,
  warmUpMs: 500,
  measureMs: 1_500,
  kills: 50,
  steadyMs: 60_000,
  entries: 100_000,
};

export const HOUR_MS = 3_600_000;

/** About, on two cores; for the help text. */
export const DURATIONS: readonly (readonly [part: ConsensusPart, quick: string, full: string])[] = [
  ["load", "50 s", "3 min"],
  ["replacement", "50 s", "6 min"],
  ["steady", "20 s", "1 min, --hour the hour"],
  ["restart", "20 s", "1 min"],
  ["growth", "40 s", "2 min"],
];
