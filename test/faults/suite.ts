/**
 * Faults, one after the other, on a cluster that is used as long as it is whole. After each: was it as expected while it
 * lasted, is the cluster whole again by itself, and was every promise kept?
 */

import { appendFileSync } from "node:fs";
import { defined } from "../../src/base/assert.ts";
import { realClock } from "../support/postgres-clock.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import type { Fault, Injected, Scene, Setup } from "./fault.ts";
import type { FaultCluster } from "./fault-cluster.ts";
import { type Acknowledgement, longestSilenceMs } from "./judge.ts";
import { bringUp } from "./setups.ts";

export interface SuiteOptions {
  readonly seed: number;
  readonly freezeMs: number;
  readonly rollingMs: number;
  /** One line of JSON for each fault goes there; nowhere if null. */
  readonly reportFile: string | null;
  readonly say: (line: string) => void;
}

/** What one fault did. Times in milliseconds, from its beginning if they do not say otherwise. */
export interface Outcome {
  readonly fault: string;
  readonly setup: Setup;
  readonly seed: number;
  readonly what: string;
  readonly primary: string;
  readonly leader: string;
  readonly hasMoved: boolean;
  /** The first acknowledgement of an insert that was sent after the fault, in the next reign if this one ended. Null: none before it was mended. */
  readonly writableMs: number | null;
  /** The longest silence of all writers, until it was whole again. */
  readonly silenceMs: number;
  readonly lastedMs: number;
  /** From mending to whole. */
  readonly wholeAfterMs: number | null;
  readonly acknowledged: number;
  readonly unknown: number;
  /** Acknowledged rows that are gone, where the durability allows it. */
  readonly lost: number;
  /** Empty: passed. */
  readonly broken: readonly string[];
}

const NOTHING_SEEN: Omit<Outcome, "fault" | "setup" | "seed" | "broken"> = {
  what: "nothing",
  primary: "",
  leader: "",
  hasMoved: false,
  writableMs: null,
  silenceMs: 0,
  lastedMs: 0,
  wholeAfterMs: null,
  acknowledged: 0,
  unknown: 0,
  lost: 0,
};
const EXPECTED_MS_MAX = 60_000;
/** Between two faults, so that one does not hide behind the other. */
const CALM_MS = 500;

export class Suite {
  readonly outcomes: Outcome[] = [];
  readonly #options: SuiteOptions;
  #cluster: { readonly setup: Setup; readonly cluster: FaultCluster } | null = null;

  constructor(options: SuiteOptions) {
    this.#options = options;
  }

  /** @returns whether all passed. */
  async run(faults: readonly Fault[], repetitions = 1): Promise<boolean> {
    try {
      for (let turn = 0; turn < repetitions; turn += 1) {
        const seed = this.#options.seed + turn;
        const random = new SeededRandom(seed);
        for (const setup of new Set(faults.map(setupOf))) {
          const ofSetup = faults.filter((fault) => setupOf(fault) === setup);
          for (const fault of random.shuffle(ofSetup)) await this.#suffer(fault, seed, random.fork());
        }
      }
    } finally {
      await this.#drop();
    }
    return this.outcomes.every(({ broken }) => broken.length === 0);
  }

  async #suffer(fault: Fault, seed: number, random: SeededRandom): Promise<void> {
    const { freezeMs, rollingMs, reportFile, say } = this.#options;
    let cluster: FaultCluster;
    try {
      cluster = await this.#whole(setupOf(fault));
    } catch (error) {
      const why = `no cluster for it: ${error instanceof Error ? error.message : String(error)}`;
      this.outcomes.push({ ...NOTHING_SEEN, fault: fault.name, setup: setupOf(fault), seed, broken: [why] });
      say(`FAILED  ${fault.name}: ${why}`);
      return;
    }
    const outcome = await suffer(fault, cluster, { seed, random, freezeMs, rollingMs });
    this.outcomes.push(outcome);
    if (reportFile !== null) appendFileSync(reportFile, `${JSON.stringify(outcome)}\n`);
    say(describeOutcome(outcome));
    if (outcome.broken.length === 0) return;
    say(`${await cluster.describe()}\nSEED=${seed}: '${fault.name}' failed:\n${outcome.broken.join("\n")}\n`);
    await this.#drop();
  }

  async #whole(setup: Setup): Promise<FaultCluster> {
    if (this.#cluster?.setup === setup) return this.#cluster.cluster;
    await this.#drop();
    const cluster = await bringUp(setup);
    this.#cluster = { setup, cluster };
    return cluster;
  }

  async #drop(): Promise<void> {
    const dropped = this.#cluster;
    this.#cluster = null;
    await dropped?.cluster.remove();
  }
}

interface Circumstances {
  readonly seed: number;
  readonly random: SeededRandom;
  readonly freezeMs: number;
  readonly rollingMs: number;
}

async function suffer(fault: Fault, cluster: FaultCluster, circumstances: Circumstances): Promise<Outcome> {
  const { seed, random, freezeMs, rollingMs } = circumstances;
  await cluster.untilWhole();
  await realClock.sleep(CALM_MS + random.integer(0, CALM_MS));
  const before = defined(await cluster.seen(), "somebody answers");
  const reign = defined(before.reign, "there is a reign");
  const primary = cluster.local.member(reign.primary);
  const leader = cluster.local.member(defined(before.raft.leader, "there is a leader"));
  const standbys = random.shuffle(cluster.othersThan(primary));
  const { recorder } = cluster;
  const counts = { acknowledged: recorder.acknowledged.length, unknown: recorder.unknownCount };
  const timeline = recorder.acknowledged.at(-1)?.timeline ?? 0;
  const broken: string[] = [];
  const scene: Scene = { cluster, primary, leader, standbys, random, freezeMs, rollingMs };

  const askedMs = performance.now();
  const injected = await injectInto(fault, scene, broken);
  const fromMs = injected.beganMs ?? askedMs;
  const injectedMs = performance.now();
  await awaitExpected(fault, { cluster, timeline, injectedMs }, broken);
  await realClock.sleep(Math.max(0, (injected.lastsMs ?? 0) - (performance.now() - injectedMs)));
  await refuteFailover(fault, cluster, reign.epoch, broken);
  const mendedMs = performance.now();
  const wholeAfterMs = await awaitWhole(cluster, injected, mendedMs, broken);
  const toMs = performance.now();
  // Before anything is taken off the books.
  const since = recorder.acknowledged.slice(counts.acknowledged);
  let lost = 0;
  if (wholeAfterMs !== null) {
    await attempt(broken, async () => {
      if (fault.mayLose === true) lost = await cluster.forgiveLost();
      broken.push(...(await cluster.findBroken()));
    });
  }
  const after = await cluster.seen();
  const hasMoved = after?.reign?.epoch !== reign.epoch;
  const firstMs = firstAcknowledgedMs(since, { injectedMs, timeline: hasMoved ? timeline + 1 : timeline });
  return {
    fault: fault.name,
    setup: setupOf(fault),
    seed,
    what: injected.what,
    primary: primary.name,
    leader: leader.name,
    hasMoved,
    writableMs: firstMs !== null && firstMs <= mendedMs ? Math.round(firstMs - fromMs) : null,
    silenceMs: Math.round(longestSilenceMs(since, fromMs, toMs)),
    lastedMs: Math.round(mendedMs - fromMs),
    wholeAfterMs,
    acknowledged: since.length,
    unknown: recorder.unknownCount - counts.unknown,
    lost,
    broken,
  };
}

async function injectInto(fault: Fault, scene: Scene, broken: string[]): Promise<Injected> {
  let injected: Injected = { what: "it could not be done" };
  await attempt(broken, async () => {
    injected = await fault.inject(scene);
  });
  return injected;
}

interface Watched {
  readonly cluster: FaultCluster;
  /** Of the reign that the fault found. */
  readonly timeline: number;
  readonly injectedMs: number;
}

async function awaitExpected({ expects }: Fault, watched: Watched, broken: string[]): Promise<void> {
  if (expects === "nothing") return;
  const { cluster, injectedMs, timeline } = watched;
  const { acknowledged } = cluster.recorder;
  await attempt(broken, () =>
    cluster.until(`it is as expected while it lasts: ${expects}`, EXPECTED_MS_MAX, async () => {
      const later = acknowledged.slice(-200).filter(({ sentMs }) => sentMs > injectedMs);
      return later.some((each) => expects !== "failover" || each.timeline > timeline);
    }),
  );
}

async function refuteFailover(
  { expects }: Fault,
  cluster: FaultCluster,
  epoch: number,
  broken: string[],
): Promise<void> {
  if (expects !== "no failover") return;
  const seen = await cluster.seen();
  if (seen?.reign?.epoch !== epoch) broken.push(`the reign was ended: ${seen?.reign?.reason}`);
}

/** When the first insert was acknowledged that was sent after the fault, in this reign or a later one; null: none was. */
function firstAcknowledgedMs(
  acknowledged: readonly Acknowledgement[],
  from: { readonly injectedMs: number; readonly timeline: number },
): number | null {
  const times = acknowledged
    .filter(({ sentMs, timeline }) => sentMs > from.injectedMs && timeline >= from.timeline)
    .map(({ answeredMs }) => answeredMs);
  return times.length === 0 ? null : Math.min(...times);
}

/** @returns how long after `mendedMs`; null where it did not become whole. */
async function awaitWhole(
  cluster: FaultCluster,
  injected: Injected,
  mendedMs: number,
  broken: string[],
): Promise<number | null> {
  let wholeAfterMs: number | null = null;
  await attempt(broken, async () => {
    await injected.mend?.();
    wholeAfterMs = Math.max(0, Math.round((await cluster.untilWhole()) - mendedMs));
  });
  return wholeAfterMs;
}

/** What goes wrong is a finding, not the end: the rest is looked at all the same. */
async function attempt(broken: string[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    broken.push(error instanceof Error ? error.message : String(error));
  }
}

/** The kind of cluster that a fault wants. */
export function setupOf({ setup = "three" }: Fault): Setup {
  return setup;
}

export function describeOutcome(outcome: Outcome): string {
  const { fault, what, primary, leader, hasMoved, writableMs, silenceMs, lastedMs, wholeAfterMs, broken } =
    outcome;
  const ms = (value: number | null) => (value === null ? "–" : `${value} ms`);
  return [
    `${broken.length === 0 ? "passed" : "FAILED"}  ${fault} (${what}; primary ${primary}, leader ${leader})`,
    `        ${hasMoved ? "another reign" : "the same reign"}; writable after ${ms(writableMs)}, longest silence ${ms(silenceMs)}, ` +
      `lasted ${ms(lastedMs)}, whole ${ms(wholeAfterMs)} after it`,
  ].join("\n");
}
