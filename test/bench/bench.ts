/**
 * `make bench`: our consensus beside etcd, and what a healthy cluster costs while it is idle. What is compared is measured
 * in turn, in one run, on one machine: look at the ratios first. Failovers are `bench-failover.ts`'s.
 */
import { randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { TIMING_PROFILES } from "../../src/cluster/spec.ts";
import { findPostgres } from "../support/find-postgres.ts";
import { remember } from "../support/left-behind.ts";
import { CleanUps } from "./clean-ups.ts";
import { ConsensusBench } from "./consensus/consensus-bench.ts";
import { CONSENSUS_PARTS, type ConsensusPart, DURATIONS, FULL, HOUR_MS, QUICK } from "./consensus/effort.ts";
import { drawLatencyOverLoad } from "./consensus/latency-plot.ts";
import { type ConsensusReport, markdown } from "./consensus/report.ts";
import { type IdleProcess, idleTable, measureIdle } from "./idle-bench.ts";

type Part = ConsensusPart | "idle";

const ROOT = resolve(import.meta.dir, "../..");
const PICTURE = join(import.meta.dir, "consensus/latency-over-load.svg");
const MEASURED = join(import.meta.dir, "consensus/measured.json");
const README = join(ROOT, "README.md");
const README_BEGIN = "<!-- consensus, measured: written by make bench -->";
const README_END = "<!-- consensus, measured: end -->";

const HELP = `make bench ARGS="[what …] [options]"

  consensus              ours beside etcd and beside the bare disk
${DURATIONS.map(([part, quick, full]) => `    ${part.padEnd(20)} ${quick}; --full: ${full}`).join("\n")}
  idle                   memory and processor time of three members that have nothing to do: 1 min

Without a name: everything, quickly (about 4 min; --full: about 14 min).

  --full                 as many rounds as the README's tables have
  --hour                 'steady' lasts an hour
  --json FILE            everything that was measured, as JSON
  --publish              write the picture, its data and the README's table anew (of 'consensus --full')

etcd is looked for on PATH (Debian: apt-get install etcd-server); without it ours is measured alone.
`;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: "boolean", default: false },
    hour: { type: "boolean", default: false },
    json: { type: "string" },
    publish: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (flags.help) {
  process.stdout.write(HELP);
  process.exit();
}

const cleanUps = new CleanUps();
const directory = mkdtempSync(join(tmpdir(), "guacamole-bench-"));
// Where it is told to end, too.
remember({ remove: removeAll });

try {
  await main(chosenParts(positionals));
} catch (error) {
  process.exitCode = 1;
  say(`bench: stopped: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  await removeAll();
}
process.exit();

async function removeAll(): Promise<void> {
  await cleanUps.run();
  rmSync(directory, { recursive: true, force: true });
}

async function main(parts: ReadonlySet<Part>): Promise<void> {
  say(`bench: ${place()}; the last minute's load: ${loadNow().toFixed(2)}`);
  const consensusParts = new Set(CONSENSUS_PARTS.filter((part) => parts.has(part)));
  const results: Record<string, unknown> = {};
  try {
    if (consensusParts.size > 0) results["consensus"] = await runConsensus(consensusParts);
    if (parts.has("idle")) results["idle"] = await runIdle();
  } finally {
    if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
  }
}

async function runConsensus(parts: ReadonlySet<ConsensusPart>): Promise<ConsensusReport> {
  const etcd = Bun.which("etcd");
  if (etcd === null) {
    say("bench: there is no etcd on PATH, so ours is measured alone (Debian: apt-get install etcd-server)");
  }
  const { lan } = TIMING_PROFILES;
  const before = loadNow();
  const effort = flags.full ? FULL : QUICK;
  const bench = new ConsensusBench({
    parts,
    effort: flags.hour ? { ...effort, steadyMs: HOUR_MS } : effort,
    etcd,
    directory,
    timing: { heartbeatMs: lan.heartbeatMs, electionMs: lan.electionMsMin },
    cleanUps,
    integer: randomInteger,
    say,
  });
  const report = (): ConsensusReport => ({
    place: etcd === null ? place() : `${place()}, ${etcdVersion(etcd)}`,
    atWallMs: Date.now(),
    loadAverages: [before, loadNow()],
    ...bench.results,
  });
  try {
    await bench.run();
  } finally {
    // What was measured before a failure is worth something still.
    process.stdout.write(`\n${report().place}\n\n${markdown(report())}\n`);
  }
  if (flags.publish) publish(report());
  return report();
}

async function runIdle(): Promise<readonly IdleProcess[]> {
  const binDirectory = process.env["TESTED_POSTGRES_BIN_DIR"] ?? findPostgres()[0]?.binDirectory ?? "";
  const binary = resolve(process.env["TESTED_BINARY"] ?? join(ROOT, "dist/guacamole"));
  const idle = await measureIdle({ binary, binDirectory, cleanUps, integer: randomInteger, say });
  process.stdout.write(`\n${idleTable(idle)}\n`);
  await cleanUps.run();
  return idle;
}

function publish(report: ConsensusReport): void {
  const text = readFileSync(README, "utf8");
  const [begin, end] = [text.indexOf(README_BEGIN), text.indexOf(README_END)];
  if (begin < 0 || end < begin) throw new Error(`${README} has no place for the table: ${README_BEGIN}`);
  writeFileSync(PICTURE, drawLatencyOverLoad(report));
  writeFileSync(MEASURED, `${JSON.stringify(report, null, 2)}\n`);
  const day = new Date(report.atWallMs).toISOString().slice(0, 10);
  const loads = report.loadAverages.map((load) => load.toFixed(1)).join(" before and ");
  const rounds = report.cells[0]?.rounds.length ?? 1;
  const how = `${rounds === 1 ? "one round" : `medians of ${rounds} rounds`}, load of the machine ${loads} after`;
  const table = `${markdown(report)}\n\n${report.place}, ${day}; ${how}.`;
  writeFileSync(README, `${text.slice(0, begin)}${README_BEGIN}\n\n${table}\n\n${text.slice(end)}`);
  say(`bench: wrote ${PICTURE}, ${MEASURED} and the table in ${README}`);
}

function chosenParts(names: readonly string[]): ReadonlySet<Part> {
  const all: readonly Part[] = [...CONSENSUS_PARTS, "idle"];
  const groups: Readonly<Record<string, readonly Part[]>> = {
    consensus: CONSENSUS_PARTS,
  };
  if (names.length === 0) return new Set(all);
  return new Set(
    names.flatMap((name) => {
      const chosen = groups[name] ?? all.filter((part) => part === name);
      if (chosen.length === 0) throw new Error(`there is no part ${name}; --help lists them`);
      return chosen;
    }),
  );
}

function place(): string {
  return `${cpus().length} cores, Linux ${release()}, Bun ${Bun.version}`;
}

function etcdVersion(program: string): string {
  const said = Bun.spawnSync([program, "--version"]).stdout.toString();
  return `etcd ${/etcd Version: (\S+)/.exec(said)?.[1] ?? "of an unknown version"}`;
}

function loadNow(): number {
  return loadavg()[0] ?? Number.NaN;
}

function randomInteger(min: number, max: number): number {
  return randomInt(min, max + 1);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
