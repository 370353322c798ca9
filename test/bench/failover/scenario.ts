/** The failures that are measured, and how each is done to whoever is the primary. */

export const SCENARIOS = [
  "crash",
  "host-death",
  "partition",
  "frozen-postgres",
  "switchover",
  "frozen-agent",
] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface ScenarioText {
  /** In tables and plots. */
  readonly title: string;
  readonly how: string;
}

export const SCENARIO_TEXTS: Readonly<Record<Scenario, ScenarioText>> = {
  crash: { title: "postmaster killed", how: "SIGKILL to the primary's postmaster" },
  "host-death": {
    title: "host death",
    how: "the primary's host is unplugged and everything on it killed: nobody hears it end",
  },
  partition: {
    title: "partition",
    how: "the primary's host is cut off from every other host; the writers still reach all of them",
  },
  "frozen-postgres": {
    title: "PostgreSQL frozen",
    how: "SIGSTOP to every PostgreSQL process of the primary's host",
  },
  switchover: { title: "switchover", how: "asked for through its API" },
  "frozen-agent": {
    title: "agent frozen for 60 s",
    how: "SIGSTOP to what speaks for the primary's host (member, patroni, pg_autoctl), SIGCONT 60 s later",
  },
};
