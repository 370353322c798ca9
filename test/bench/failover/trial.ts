/** One failure, from the moment it is done to the moment at which three stream again. */
import type { Clock } from "../../../src/base/clock.ts";
import { postmasterPid, signal } from "./bench-hosts.ts";
import type { Rival } from "./rival.ts";
import type { Scenario } from "./scenario.ts";
import type { Servers } from "./servers.ts";
import type { Writers } from "./writers.ts";

export interface Trial {
  readonly atWallMs: number;
  /** The longest silence over all writers, from the failure until three stream again. */
  readonly gapMs: number;
  /** The longest silence of any one of them. */
  readonly worstWriterMs: number;
  /**
   * Until three stream again: from the failure, or, where that has an end of its own (the host boots, the cut is mended,
   * what was frozen goes on), from that end. Null: it did not come in time.
   */
  readonly wholeMs: number | null;
  readonly acknowledged: number;
  /** Acknowledged rows that the primary does not have in the end. */
  readonly lost: number;
  /** What did not go as it should; then the times say only how long was waited. */
  readonly problem: string | null;
}

/** The slowest of all takes a minute; who has not gone on by then is said not to. */
const WAIT_MS_MAX = 120_000;
const FROZEN_AGENT_MS = 60_000;
/** How long a cut or a frozen server lasts at least, and goes on after the writers have left. */
const STAYS_BROKEN_MS = 2_000;
const POLL_MS = 10;

export interface TrialPlace {
  readonly rival: Rival;
  readonly servers: Servers;
  readonly writers: Writers;
  readonly clock: Clock;
}

export async function runTrial(scenario: Scenario, place: TrialPlace): Promise<Trial> {
  const { rival, servers, writers, clock } = place;
  const primary = await servers.primary();
  if (primary === null) throw new Error("no server takes writes");
  const host = rival.hosts.host(primary);
  const fromMs = clock.nowMs();
  const fromWallMs = clock.wallMs();
  const newest = writers.newestConnection;
  const before = writers.acknowledgedCount;
  const left = (): boolean => writers.allLeft(primary);
  let problem: string | null = null;
  let wholeFromMs = fromMs;

  const wait = async (what: string, isOver: () => Promise<boolean> | boolean) => {
    if (!(await reached(clock, isOver))) problem ??= `not in ${WAIT_MS_MAX / 1000} s: ${what}`;
  };

  switch (scenario) {
    case "crash": {
      const pid = postmasterPid(serverOf(rival, primary).dataDirectory);
      if (pid === null) throw new Error("the primary has no postmaster");
      signal(pid, "SIGKILL");
      await rival.react(primary);
      await wait("every writer goes on", () => left() || writers.allReconnectedSince(newest));
      await rival.restore(primary);
      break;
    }
    case "host-death": {
      await rival.hosts.die(host);
      await rival.react(primary);
      await wait("every writer goes on elsewhere", left);
      rival.hosts.mend();
      wholeFromMs = clock.nowMs();
      await rival.restore(primary);
      break;
    }
    case "partition": {
      rival.hosts.cutOff(host);
      await rival.react(primary);
      await wait("every writer goes on elsewhere", left);
      await clock.sleep(STAYS_BROKEN_MS);
      rival.hosts.mend();
      wholeFromMs = clock.nowMs();
      await rival.restore(primary);
      break;
    }
    case "frozen-postgres": {
      const frozen = rival.hosts.freeze(() => rival.hosts.postgresPids(host));
      try {
        await rival.react(primary);
        await wait("every writer goes on elsewhere", left);
        await clock.sleep(STAYS_BROKEN_MS);
      } finally {
        rival.hosts.wake(frozen);
      }
      wholeFromMs = clock.nowMs();
      await rival.restore(primary);
      break;
    }
    case "switchover": {
      await rival.switchover();
      await wait("every writer goes on elsewhere", left);
      await rival.restore(primary);
      break;
    }
    case "frozen-agent": {
      const frozen = rival.hosts.freeze(() => rival.agents(primary));
      try {
        await clock.sleep(FROZEN_AGENT_MS);
      } finally {
        rival.hosts.wake(frozen);
      }
      wholeFromMs = clock.nowMs();
      break;
    }
  }

  await wait("three stream", () => servers.areWhole(rival.mode));
  const toMs = clock.nowMs();
  await wait("every writer writes", () => writers.allWriteSince(toMs));
  const { allMs, worstMs } = writers.silence(fromMs, toMs);
  const last = await servers.primary();
  return {
    atWallMs: fromWallMs,
    gapMs: allMs,
    worstWriterMs: worstMs,
    wholeMs: problem === null ? toMs - wholeFromMs : null,
    acknowledged: writers.acknowledgedCount - before,
    lost: last === null ? 0 : await writers.missing(serverOf(rival, last), fromMs),
    problem: last === null ? (problem ?? "no server takes writes in the end") : problem,
  };
}

async function reached(clock: Clock, isOver: () => Promise<boolean> | boolean): Promise<boolean> {
  const untilMs = clock.nowMs() + WAIT_MS_MAX;
  for (;;) {
    if (await isOver()) return true;
    if (clock.nowMs() > untilMs) return false;
    await clock.sleep(POLL_MS);
  }
}

function serverOf(rival: Rival, index: number) {
  const found = rival.servers[index];
  if (found === undefined) throw new Error(`there is no server ${index}`);
  return found;
}
