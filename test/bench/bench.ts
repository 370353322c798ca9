/**
 * `make bench`: how long failures, handovers and bring-up take, and what a healthy cluster costs while it is idle.
 *
 * Ours and the floor (the same PostgreSQL without us) are measured in turn in one run, on one machine: look at the ratio
 * first. Options: `--rounds N`, `--quick`, `--json FILE`, `--only crash,switchover,death,bring-up,idle`, `--keep-logs DIR`.
 */
import { randomInt } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { freePorts } from "../../src/demo/free-ports.ts";
import { LocalCluster } from "../../src/demo/local-cluster.ts";
import { systemClock } from "../../src/main/system-clock.ts";
import { inspectInstallation } from "../../src/postgres/versions.ts";
import { findPostgres } from "../support/find-postgres.ts";
import { BARE_USER, BareTrio } from "./bare-trio.ts";
import { formatTable, type Timed, timedTable } from "./measured.ts";
import { OurTrio } from "./our-trio.ts";
import { memoryOf, processorSeconds } from "./resources.ts";
import { GapMeter } from "./write-gap.ts";

const PARTS = ["crash", "switchover", "death", "bring-up", "idle"] as const;
type Part = (typeof PARTS)[number];

interface Rounds {
  readonly crash: number;
  readonly switchover: number;
  readonly death: number;
  readonly bringUp: number;
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

const USUAL: Rounds = { crash: 7, switchover: 5, death: 3, bringUp: 3 };
const QUICK: Rounds = { crash: 2, switchover: 2, death: 1, bringUp: 1 };
/** Between two measurements: checkpoints end, retries come to rest. */
const SETTLE_MS = 1_500;
const WARM_UP_MS = 10_000;
const IDLE_MS = 30_000;

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    only: { type: "string" },
    "keep-logs": { type: "string" },
  },
});
const parts = chosenParts(flags.only);
const rounds = chosenRounds(flags.quick, flags.rounds);
const binary = resolve(process.env["TESTED_BINARY"] ?? join(import.meta.dir, "../../dist/guacamole"));
const binDirectory = process.env["TESTED_POSTGRES_BIN_DIR"] ?? findPostgres()[0]?.binDirectory ?? "";
const cleanUps: (() => Promise<void>)[] = [];
const timed: Timed[] = [];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    void cleanUp().finally(() => process.exit(130));
  });
}

try {
  await main();
} catch (error) {
  process.exitCode = 1;
  // What was measured before is worth something still.
  process.stdout.write(`\n${timedTable(timed)}\n`);
  say(`bench: stopped: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  await cleanUp();
}
process.exit();

async function main(): Promise<void> {
  const installation = inspectInstallation(binDirectory);
  if (!installation.ok) throw new Error(installation.error);
  const place = `PostgreSQL ${installation.value.version}, ${cpus().length} cores, Linux ${release()}`;
  say(`bench: ${binary}, ${place}`);
  if (parts.has("bring-up")) await measureBringUp();
  const idle = await measureRunning();
  const lines = [place, "", timedTable(timed)];
  if (idle.length > 0) lines.push("", idleTable(idle));
  process.stdout.write(`\n${lines.join("\n")}\n`);
  if (flags.json !== undefined) {
    writeFileSync(flags.json, `${JSON.stringify({ place, timed, idle }, null, 2)}\n`);
  }
}

async function measureBringUp(): Promise<void> {
  const samplesMs: number[] = [];
  const floorMs: number[] = [];
  for (let round = 0; round < rounds.bringUp; round += 1) {
    const bare = newBare();
    const fromMs = systemClock.nowMs();
    await bare.build();
    floorMs.push(systemClock.nowMs() - fromMs);
    await cleanUp();
    const ours = newOurs();
    samplesMs.push(await ours.bringUp());
    await cleanUp();
    tell("bring-up", samplesMs, floorMs);
  }
  timed.push({ name: "bring-up of three from nothing", samplesMs, floorMs });
}

/** Everything that needs a healthy cluster: one of ours and one bare, at rest while the other is measured. */
async function measureRunning(): Promise<readonly IdleProcess[]> {
  if (!["crash", "switchover", "death", "idle"].some((part) => parts.has(part as Part))) return [];
  const ours = newOurs();
  await ours.bringUp();
  // First of all: the floor's processes shall not share the machine with it.
  const idle = parts.has("idle") ? await measureIdle(ours) : [];
  if (!["crash", "switchover", "death"].some((part) => parts.has(part as Part))) return idle;
  const bare = newBare();
  await bare.build();
  await bare.makeDatabase();
  const ourMeter = await ours.openMeter();
  const bareMeter = new GapMeter({
    servers: bare.servers,
    username: BARE_USER,
    password: "",
    clock: systemClock,
  });
  cleanUps.push(
    () => ourMeter.close(),
    () => bareMeter.close(),
  );
  await ourMeter.start();
  await bareMeter.start();
  const alternate = async (
    name: string,
    count: number,
    floor: () => Promise<void>,
    measure: () => Promise<number>,
  ): Promise<void> => {
    const samplesMs: number[] = [];
    const floorMs: number[] = [];
    for (let round = 0; round < count; round += 1) {
      await systemClock.sleep(SETTLE_MS);
      floorMs.push(await bareMeter.around(floor, async () => true));
      await bare.mend();
      await systemClock.sleep(SETTLE_MS);
      samplesMs.push(await measure());
      await ours.whole();
      tell(name, samplesMs, floorMs, ourMeter.lastGap);
    }
    timed.push({ name, samplesMs, floorMs });
  };
  if (parts.has("crash")) {
    await alternate(
      "postmaster killed, to the next acknowledged write",
      rounds.crash,
      () => bare.crash(),
      () => ours.crash(ourMeter),
    );
  }
  if (parts.has("switchover")) {
    await alternate(
      "switchover, to the next acknowledged write",
      rounds.switchover,
      () => bare.handOver(),
      () => ours.switchover(ourMeter),
    );
  }
  if (parts.has("death")) {
    await alternate(
      "whole member killed, to the next acknowledged write",
      rounds.death,
      () => bare.crash(),
      () => ours.death(ourMeter),
    );
  }
  const lost = (await ourMeter.finish()) + (await bareMeter.finish());
  say(`bench: acknowledged rows that are lost: ${lost}`);
  if (lost > 0) process.exitCode = 1;
  return idle;
}

async function measureIdle(ours: OurTrio): Promise<readonly IdleProcess[]> {
  say(`bench: idle for ${(WARM_UP_MS + IDLE_MS) / 1000} s`);
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

function newOurs(): OurTrio {
  const cluster = new LocalCluster({
    size: 3,
    command: [binary],
    binDirectory,
    environment: process.env,
    clock: systemClock,
    integer: randomInteger,
    prefix: "guacamole-bench-",
  });
  cleanUps.push(async () => {
    const directory = flags["keep-logs"];
    if (directory !== undefined) {
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

function newBare(): BareTrio {
  const bare = new BareTrio({
    binDirectory,
    ports: freePorts(3, randomInteger),
    owner: process.getuid?.() === 0 ? idsOf("postgres") : null,
    clock: systemClock,
  });
  cleanUps.push(() => bare.remove());
  return bare;
}

async function cleanUp(): Promise<void> {
  for (let step = cleanUps.pop(); step !== undefined; step = cleanUps.pop()) await step();
}

function idsOf(user: string): { readonly uid: number; readonly gid: number } {
  const id = (option: string): number => Number(Bun.spawnSync(["id", option, user]).stdout.toString());
  return { uid: id("-u"), gid: id("-g") };
}

function randomInteger(min: number, max: number): number {
  return randomInt(min, max + 1);
}

function chosenParts(text: string | undefined): ReadonlySet<Part> {
  if (text === undefined) return new Set(PARTS);
  const wanted = text.split(",");
  const unknown = wanted.filter((each) => !PARTS.includes(each as Part));
  if (unknown.length > 0) throw new Error(`--only ${unknown.join(",")}: there is only ${PARTS.join(", ")}`);
  return new Set(PARTS.filter((part) => wanted.includes(part)));
}

function chosenRounds(isQuick: boolean, text: string | undefined): Rounds {
  const usual = isQuick ? QUICK : USUAL;
  if (text === undefined) return usual;
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Error(`--rounds ${text}: a number from 1 is wanted`);
  return { crash: count, switchover: count, death: count, bringUp: count };
}

/** `when`: to find the moment in the logs. */
function tell(name: string, samplesMs: readonly number[], floorMs: readonly number[], when = ""): void {
  const [ours, floor] = [samplesMs, floorMs].map((each) => `${Math.round(each.at(-1) ?? 0)} ms`);
  say(`bench: ${name}: ${ours}, floor ${floor} ${when}`.trimEnd());
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
