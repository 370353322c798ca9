/** Brings one rival up after the other, breaks it as often as is wanted, and keeps what was seen. */
import { randomBytes } from "node:crypto";
import { loadavg } from "node:os";
import type { Clock } from "../../../src/base/clock.ts";
import type { CleanUps } from "../clean-ups.ts";
import { type Effort, type Entrant, nameOf } from "./effort.ts";
import type { BringUp, Condition, Described, Sample } from "./report.ts";
import type { Mode, Rival, RivalServer } from "./rival.ts";
import { SCENARIO_TEXTS, SCENARIOS, type Scenario } from "./scenario.ts";
import { Servers } from "./servers.ts";
import { runTrial } from "./trial.ts";
import { createLedger, Writers } from "./writers.ts";

export interface ContestOptions {
  readonly effort: Effort;
  /** Null: it is not on this machine. */
  readonly newRival: (entrant: Entrant, mode: Mode) => Rival | null;
  readonly cleanUps: CleanUps;
  readonly clock: Clock;
  readonly say: (line: string) => void;
  /** Called after every sample: what was measured shall not be lost. */
  readonly keep: () => void;
}

/** A rival that stands, with writers at work. */
export interface Arena {
  readonly rival: Rival;
  readonly servers: Servers;
  readonly writers: Writers;
  readonly password: string;
  close(): Promise<void>;
}

/** Between two failures: checkpoints end, retries come to rest, and no reign is as short as in a loop of crashes. */
const SETTLE_MS = 3_500;
const SETTLED_MS_MAX = 120_000;
const WHOLE_MS_MAX = 120_000;
/** A rival that fell down is built anew this often, and then left out. */
const REBUILDS_MAX = 2;

export class Contest {
  readonly #options: ContestOptions;
  readonly samples: Sample[];
  readonly bringUps: BringUp[];
  readonly described: Described[];

  constructor(
    options: ContestOptions,
    earlier: {
      readonly samples: readonly Sample[];
      readonly bringUps: readonly BringUp[];
      readonly described: readonly Described[];
    },
  ) {
    this.#options = options;
    this.samples = [...earlier.samples];
    this.bringUps = [...earlier.bringUps];
    this.described = [...earlier.described];
  }

  async run(): Promise<void> {
    const { effort } = this.#options;
    for (const mode of effort.modes) {
      for (const entrant of effort.entrants) await this.#measure(entrant, mode);
    }
  }

  /** From nothing to writers at work; what is made is removed at the latest with everything else. */
  async enter(entrant: Entrant, mode: Mode): Promise<Arena | null> {
    const { newRival, clock, cleanUps, say } = this.#options;
    const rival = newRival(entrant, mode);
    if (rival === null) {
      say(`bench: ${nameOf(entrant)} is not on this machine, and is left out`);
      return null;
    }
    cleanUps.add(() => rival.remove());
    const fromMs = clock.nowMs();
    await rival.bringUp();
    const password = randomBytes(18).toString("hex");
    const primary = await makeLedger(rival.servers, password);
    const servers = new Servers(rival.servers, password, clock);
    await this.#until(`${nameOf(entrant)}: three stream (first ${primary.name})`, WHOLE_MS_MAX, () =>
      servers.areWhole(mode),
    );
    const tookMs = clock.nowMs() - fromMs;
    this.bringUps.push({ ...entrant, mode, tookMs, atWallMs: clock.wallMs() });
    this.#describe(rival);
    say(`bench: ${nameOf(entrant)} ${mode}: three stream after ${seconds(tookMs)}`);
    const writers = new Writers({ servers: rival.servers, password, clock });
    writers.start();
    let isClosed = false;
    const close = async (): Promise<void> => {
      if (isClosed) return;
      isClosed = true;
      await writers.stop();
      await servers.close();
    };
    cleanUps.add(close);
    return { rival, servers, writers, password, close };
  }

  /** One failure, and what there is to say of it. */
  async fail(arena: Arena, scenario: Scenario, condition: Condition): Promise<Sample> {
    const { rival, servers, writers } = arena;
    const { clock, say, keep } = this.#options;
    const { system, tuning, mode } = rival;
    await this.#until(`${nameOf(rival)} is at rest`, SETTLED_MS_MAX, () => rival.isSettled(scenario));
    await clock.sleep(SETTLE_MS);
    const load = loadavg()[0] ?? Number.NaN;
    const trial = await runTrial(scenario, { rival, servers, writers, clock });
    const sample: Sample = { system, tuning, mode, scenario, condition, load, ...trial };
    this.samples.push(sample);
    keep();
    const { gapMs, worstWriterMs, wholeMs, lost, problem } = trial;
    const rest = [
      `worst writer ${seconds(worstWriterMs)}`,
      wholeMs === null ? "not whole again" : `whole after ${seconds(wholeMs)}`,
      ...(lost > 0 ? [`${lost} ROWS LOST`] : []),
      ...(problem === null ? [] : [problem]),
    ];
    const title = SCENARIO_TEXTS[scenario].title;
    const where = condition === "plain" ? "" : ` (${condition})`;
    say(`bench: ${nameOf(rival)} ${mode}: ${title}${where}: ${seconds(gapMs)}, ${rest.join(", ")}`);
    return sample;
  }

  async #measure(entrant: Entrant, mode: Mode): Promise<void> {
    const { effort, cleanUps, say } = this.#options;
    const wanted = SCENARIOS.flatMap((scenario) =>
      Array.from({ length: effort.runs(entrant, scenario) }, () => scenario),
    );
    let falls = 0;
    let arena: Arena | null = null;
    while (wanted.length > 0 && falls <= REBUILDS_MAX) {
      try {
        arena ??= await this.enter(entrant, mode);
        if (arena === null) return;
        const [scenario] = wanted;
        if (scenario === undefined) break;
        wanted.shift();
        const { problem } = await this.fail(arena, scenario, "plain");
        if (problem !== null) throw new Error(problem);
      } catch (error) {
        falls += 1;
        say(
          `bench: ${nameOf(entrant)} ${mode} fell down: ${error instanceof Error ? error.message : String(error)}`,
        );
        arena = null;
        await cleanUps.run();
      }
    }
    await cleanUps.run();
  }

  #describe({ system, tuning, mode, version, settings }: Rival): void {
    const at = this.described.findIndex(
      (each) => each.system === system && each.tuning === tuning && each.mode === mode,
    );
    if (at >= 0) this.described.splice(at, 1);
    this.described.push({ system, tuning, mode, version, settings });
  }

  async #until(what: string, maxMs: number, condition: () => Promise<boolean>): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + maxMs;
    while (!(await condition())) {
      if (clock.nowMs() > untilMs) throw new Error(`not in ${maxMs / 1000} s: ${what}`);
      await clock.sleep(20);
    }
  }
}

/** On whichever server takes it. */
async function makeLedger(servers: readonly RivalServer[], password: string): Promise<RivalServer> {
  const refusals: unknown[] = [];
  for (const server of servers) {
    try {
      await createLedger(server, password);
      return server;
    } catch (error) {
      refusals.push(error);
    }
  }
  throw new AggregateError(refusals, "no server takes the writers' table");
}

function seconds(durationMs: number): string {
  return durationMs < 1_000 ? `${Math.round(durationMs)} ms` : `${(durationMs / 1000).toFixed(1)} s`;
}
