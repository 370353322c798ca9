/**
 * How long failures, handovers and bring-up take, and what a healthy cluster costs while it is idle.
 *
 * Ours and the floor (the same PostgreSQL without us) are measured in turn in one run, on one machine: look at the ratio
 * first.
 */
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../../src/demo/free-ports.ts";
import { LocalCluster } from "../../src/demo/local-cluster.ts";
import { systemClock } from "../../src/main/system-clock.ts";
import { inspectInstallation } from "../../src/postgres/versions.ts";
import { BARE_USER, BareTrio } from "./bare-trio.ts";
import type { CleanUps } from "./clean-ups.ts";
import { formatTable, type Timed, timedTable } from "./measured.ts";
import { OurTrio } from "./our-trio.ts";
import { memoryOf, processorSeconds } from "./resources.ts";
import { GapMeter } from "./write-gap.ts";

export const FAILOVER_PARTS = ["bring-up", "idle", "crash", "switchover", "death"] as const;
export type FailoverPart = (typeof FAILOVER_PARTS)[number];

export interface FailoverRounds {
  readonly crash: number;
  readonly switchover: number;
  readonly death: number;
  readonly bringUp: number;
}

export const QUICK_ROUNDS: FailoverRounds = { crash: 2, switchover: 2, death: 1, bringUp: 1 };
export const FULL_ROUNDS: FailoverRounds = { crash: 7, switchover: 5, death: 3, bringUp: 3 };

export interface FailoverOptions {
  readonly parts: ReadonlySet<FailoverPart>;
  readonly rounds: FailoverRounds;
  readonly binary: string;
  readonly binDirectory: string;
  /** Where the members' logs are copied to before they are removed. */
  readonly logsDirectory: string | null;
  readonly cleanUps: CleanUps;
  readonly integer: (min: number, max: number) => number;
  readonly say: (line: string) => void;
}

interface IdleProcess {
  readonly member: string;
  readonly isLeader: boolean;
  readonly isPrimary: boolean;
  readonly process: "member" | "supervisor";
  readonly rssMb: number;
  readonly pssMb: number;
  readonly anonymousMb: number;
  readonly processorPercent: number;
}

interface Pair {
  readonly ours: OurTrio;
  readonly bare: BareTrio;
  readonly ourMeter: GapMeter;
  readonly bareMeter: GapMeter;
}

/** Between two measurements: checkpoints end, retries come to rest. */
const SETTLE_MS = 1_500;
const WARM_UP_MS = 10_000;
const IDLE_MS = 30_000;

export class FailoverBench {
  readonly #options: FailoverOptions;
  readonly #timed: Timed[] = [];
  #idle: readonly IdleProcess[] = [];
  #lost = 0;

  constructor(options: FailoverOptions) {
    this.#options = options;
  }

  /** Acknowledged rows that were not found in the end: more than 0, and nothing else counts. */
  get lost(): number {
    return this.#lost;
  }

  get results(): { readonly timed: readonly Timed[]; readonly idle: readonly IdleProcess[] } {
    return { timed: this.#timed, idle: this.#idle };
  }

  /** What was measured so far, for people. */
  get table(): string {
    const idle = this.#idle.length === 0 ? [] : ["", idleTable(this.#idle)];
    return [timedTable(this.#timed), ...idle].join("\n");
  }

  /** @returns with which PostgreSQL. */
  async run(): Promise<string> {
    const installation = inspectInstallation(this.#options.binDirectory);
    if (!installation.ok) throw new Error(installation.error);
    if (this.#options.parts.has("bring-up")) await this.#measureBringUp();
    await this.#measureRunning();
    return `PostgreSQL ${installation.value.version}`;
  }

  async #measureBringUp(): Promise<void> {
    const { rounds, cleanUps } = this.#options;
    const samplesMs: number[] = [];
    const floorMs: number[] = [];
    for (let round = 0; round < rounds.bringUp; round += 1) {
      const bare = this.#newBare();
      const fromMs = systemClock.nowMs();
      await bare.build();
      floorMs.push(systemClock.nowMs() - fromMs);
      await cleanUps.run();
      const ours = this.#newOurs();
      samplesMs.push(await ours.bringUp());
      await cleanUps.run();
      this.#tell("bring-up", samplesMs, floorMs);
    }
    this.#timed.push({ name: "bring-up of three from nothing", samplesMs, floorMs });
  }

  /** Everything that needs a healthy cluster: one of ours and one bare, at rest while the other is measured. */
  async #measureRunning(): Promise<void> {
    const { parts, cleanUps, rounds, say } = this.#options;
    const hasFailures = parts.has("crash") || parts.has("switchover") || parts.has("death");
    if (!hasFailures && !parts.has("idle")) return;
    const ours = this.#newOurs();
    await ours.bringUp();
    // First of all: the floor's processes shall not share the machine with it.
    if (parts.has("idle")) this.#idle = await this.#measureIdle(ours);
    if (!hasFailures) return;
    const bare = this.#newBare();
    await bare.build();
    await bare.makeDatabase();
    const pair: Pair = {
      ours,
      bare,
      ourMeter: await ours.openMeter(),
      bareMeter: new GapMeter({
        servers: bare.servers,
        username: BARE_USER,
        password: "",
        clock: systemClock,
      }),
    };
    const { ourMeter, bareMeter } = pair;
    cleanUps.add(
      () => ourMeter.close(),
      () => bareMeter.close(),
    );
    await ourMeter.start();
    await bareMeter.start();
    if (parts.has("crash")) {
      const name = "postmaster killed, to the next acknowledged write";
      await this.#alternate(name, rounds.crash, pair, bare.crash.bind(bare), () => ours.crash(ourMeter));
    }
    if (parts.has("switchover")) {
      const name = "switchover, to the next acknowledged write";
      await this.#alternate(name, rounds.switchover, pair, bare.handOver.bind(bare), () =>
        ours.switchover(ourMeter),
      );
    }
    if (parts.has("death")) {
      const name = "whole member killed, to the next acknowledged write";
      await this.#alternate(name, rounds.death, pair, bare.crash.bind(bare), () => ours.death(ourMeter));
    }
    this.#lost = (await ourMeter.finish()) + (await bareMeter.finish());
    say(`bench: acknowledged rows that are lost: ${this.#lost}`);
  }

  async #alternate(
    name: string,
    count: number,
    { ours, bare, ourMeter, bareMeter }: Pair,
    floor: () => Promise<void>,
    measure: () => Promise<number>,
  ): Promise<void> {
    const samplesMs: number[] = [];
    const floorMs: number[] = [];
    for (let round = 0; round < count; round += 1) {
      await systemClock.sleep(SETTLE_MS);
      floorMs.push(await bareMeter.around(floor, async () => true));
      await bare.mend();
      await systemClock.sleep(SETTLE_MS);
      samplesMs.push(await measure());
      await ours.whole();
      this.#tell(name, samplesMs, floorMs, ourMeter.lastGap);
    }
    this.#timed.push({ name, samplesMs, floorMs });
  }

  async #measureIdle(ours: OurTrio): Promise<readonly IdleProcess[]> {
    this.#options.say(`bench: idle for ${(WARM_UP_MS + IDLE_MS) / 1000} s`);
    await systemClock.sleep(WARM_UP_MS);
    const leader = await ours.leaderName();
    const primary = await ours.primary();
    const watched = ours.cluster.members.flatMap((member) => [
      { member, process: "member" as const, pid: member.process?.pid ?? 0 },
      { member, process: "supervisor" as const, pid: ours.cluster.supervisorPid(member) ?? 0 },
    ]);
    const before = watched.map(({ pid }) => processorSeconds(pid));
    const fromMs = systemClock.nowMs();
    await systemClock.sleep(IDLE_MS);
    const seconds = (systemClock.nowMs() - fromMs) / 1000;
    return watched.map(({ member, process: kind, pid }, index) => ({
      member: member.name,
      isLeader: member.name === leader,
      isPrimary: member === primary,
      process: kind,
      ...memoryOf(pid),
      processorPercent: ((processorSeconds(pid) - (before[index] ?? 0)) / seconds) * 100,
    }));
  }

  #newOurs(): OurTrio {
    const cluster = new LocalCluster({
      size: 3,
      command: [this.#options.binary],
      binDirectory: this.#options.binDirectory,
      environment: process.env,
      clock: systemClock,
      integer: this.#options.integer,
      prefix: "guacamole-bench-",
    });
    this.#options.cleanUps.add(async () => {
      const directory = this.#options.logsDirectory;
      if (directory !== null) {
        mkdirSync(directory, { recursive: true });
        for (const { name, logPath, dataDirectory } of cluster.members) {
          copyFileSync(logPath, join(directory, `${name}.log`));
          const serverLog = `${dataDirectory}.guacamole/postgresql.log`;
          if (existsSync(serverLog)) copyFileSync(serverLog, join(directory, `${name}.postgresql.log`));
        }
      }
      await cluster.remove();
    });
    return new OurTrio(cluster, systemClock);
  }

  #newBare(): BareTrio {
    const bare = new BareTrio({
      binDirectory: this.#options.binDirectory,
      ports: freePorts(3, this.#options.integer),
      owner: process.getuid?.() === 0 ? idsOf("postgres") : null,
      clock: systemClock,
    });
    this.#options.cleanUps.add(() => bare.remove());
    return bare;
  }

  /** `when`: to find the moment in the logs. */
  #tell(name: string, samplesMs: readonly number[], floorMs: readonly number[], when = ""): void {
    const [ours, floor] = [samplesMs, floorMs].map((each) => `${Math.round(each.at(-1) ?? 0)} ms`);
    this.#options.say(`bench: ${name}: ${ours}, floor ${floor} ${when}`.trimEnd());
  }
}

function idleTable(idle: readonly IdleProcess[]): string {
  const rows = idle.map(({ member, isLeader, isPrimary, process: kind, ...cost }) => [
    `${member} ${kind}${isLeader ? ", leader" : ""}${isPrimary ? ", primary" : ""}`,
    ...costCells(cost),
  ]);
  const names = [...new Set(idle.map(({ member }) => member))];
  const sums = names.map((name) => {
    const own = idle.filter(({ member }) => member === name);
    const sum = (key: "rssMb" | "pssMb" | "anonymousMb" | "processorPercent"): number =>
      own.reduce((total, each) => total + each[key], 0);
    return [
      `${name} together${own[0]?.isLeader ? ", leader" : ""}`,
      ...costCells({
        rssMb: sum("rssMb"),
        pssMb: sum("pssMb"),
        anonymousMb: sum("anonymousMb"),
        processorPercent: sum("processorPercent"),
      }),
    ];
  });
  return formatTable([["idle", "RSS MB", "PSS MB", "own MB", "CPU %"], ...rows, ...sums]);
}

function costCells(
  cost: Pick<IdleProcess, "rssMb" | "pssMb" | "anonymousMb" | "processorPercent">,
): string[] {
  const { rssMb, pssMb, anonymousMb, processorPercent } = cost;
  return [rssMb, pssMb, anonymousMb].map((value) => value.toFixed(1)).concat(processorPercent.toFixed(2));
}

function idsOf(user: string): { readonly uid: number; readonly gid: number } {
  const id = (option: string): number => Number(Bun.spawnSync(["id", option, user]).stdout.toString());
  return { uid: id("-u"), gid: id("-g") };
}
