/**
 * `make bench-failover`: how long writes stand still after each kind of failure, with us, with Patroni and etcd, with
 * pg_auto_failover, and with bare PostgreSQL failed over at once by somebody who knows everything. One harness, the same
 * writers, the same three hosts.
 */
import { randomInt } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/main/system-clock.ts";
import { inspectInstallation } from "../../src/postgres/versions.ts";
import { findPostgres } from "../support/find-postgres.ts";
import { remember } from "../support/left-behind.ts";
import { NamespaceNetwork } from "../support/network-namespaces.ts";
import { CleanUps } from "./clean-ups.ts";
import { Contest } from "./failover/contest.ts";
import { chosenEffort, ENTRANTS, type Entrant, FULL, nameOf, QUICK } from "./failover/effort.ts";
import { drawGaps } from "./failover/gap-plot.ts";
import { measureIndependence } from "./failover/independence.ts";
import { type FailoverReport, lostRows, markdown } from "./failover/report.ts";
import { MODES, type Mode, type Rival } from "./failover/rival.ts";
import { BareServers } from "./failover/rivals/bare.ts";
import { GuacamoleServers } from "./failover/rivals/guacamole.ts";
import { PatroniServers } from "./failover/rivals/patroni.ts";
import { AutoFailoverServers } from "./failover/rivals/pg-auto-failover.ts";
import { SCENARIO_TEXTS, SCENARIOS } from "./failover/scenario.ts";

const ROOT = resolve(import.meta.dir, "../..");
const PICTURE = join(import.meta.dir, "failover/gaps.svg");
const MEASURED = join(import.meta.dir, "failover/measured.json");
const README = join(ROOT, "README.md");
const README_BEGIN = "<!-- failovers, measured: written by make bench-failover -->";
const README_END = "<!-- failovers, measured: end -->";

const HELP = `make bench-failover ARGS="[rival …] [options]"

Rivals: ${[...new Set(ENTRANTS.map(nameOf))].join(", ")}

Failures, each done to whoever is the primary:
${SCENARIOS.map((scenario) => `  ${scenario.padEnd(16)} ${SCENARIO_TEXTS[scenario].how}`).join("\n")}

Without options: sync mode, tight settings of the peers, ours 3 times, theirs once (about 8 min).

  --full                 both modes, default settings too, ours 20 times, theirs 3 times, and whether ours depends on
                         the size of the database and the number of clients (about 2 h; ours alone: 30 min)
  --scenarios A,B        only these failures
  --modes A,B            of ${MODES.join(", ")}
  --runs N               of each failure, for everybody (of the frozen agent, which takes a minute: at most)
  --independence         also without --full; with --full --no-independence leaves it out
  --json FILE            every sample, as JSON, written after each
  --continue             add to what that file holds (measured in several sittings, say)
  --publish              write the picture, its data and the README's tables anew
  --keep-logs DIR        keep our members' logs

It takes root, for network namespaces. Patroni, etcd and pg_auto_failover are looked for on PATH (Debian: patroni,
etcd-server, pg-auto-failover-cli, postgresql-15-auto-failover); who is not there is left out. A gap is the longest
time without an acknowledgement to any of four writers; every acknowledged row is looked for afterwards.
`;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    full: { type: "boolean", default: false },
    scenarios: { type: "string", default: "" },
    modes: { type: "string", default: "" },
    runs: { type: "string" },
    independence: { type: "boolean" },
    json: { type: "string" },
    continue: { type: "boolean", default: false },
    publish: { type: "boolean", default: false },
    "keep-logs": { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (flags.help) {
  process.stdout.write(HELP);
  process.exit();
}

const cleanUps = new CleanUps();
// Where it is told to end, too.
remember({ remove: () => cleanUps.run() });

try {
  await main();
} catch (error) {
  process.exitCode = 1;
  say(`bench: stopped: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
} finally {
  await cleanUps.run();
}
process.exit();

async function main(): Promise<void> {
  const refusal = NamespaceNetwork.refusal();
  if (refusal !== null) throw new Error(refusal);
  const binDirectory = process.env["TESTED_POSTGRES_BIN_DIR"] ?? findPostgres()[0]?.binDirectory ?? "";
  const installation = inspectInstallation(binDirectory);
  if (!installation.ok) throw new Error(installation.error);
  const postgresVersion = String(installation.value.version);
  const place = `PostgreSQL ${postgresVersion}, ${cpus().length} cores, Linux ${release()}, Bun ${Bun.version}`;
  say(`bench: ${place}`);
  const effort = chosenEffort(flags.full ? FULL : QUICK, {
    names: positionals,
    scenarios: flags.scenarios.split(",").filter(Boolean),
    modes: flags.modes.split(",").filter(Boolean),
    runs: chosenRuns(),
  });
  const contest = new Contest(
    {
      effort,
      newRival: (entrant, mode) => newRival(entrant, mode, binDirectory, postgresVersion),
      cleanUps,
      clock: systemClock,
      say,
      keep: () => keep(report()),
    },
    earlier() ?? { samples: [], bringUps: [], described: [] },
  );
  const { samples, bringUps, described } = contest;
  const report = (): FailoverReport => ({ place, described, bringUps, samples });
  try {
    await contest.run();
    const isWanted = flags.independence ?? effort.independenceRuns > 0;
    if (isWanted && effort.entrants.some(({ system }) => system === "guacamole")) {
      const runs = chosenRuns() ?? Math.max(effort.independenceRuns, 3);
      await measureIndependence({ contest, runs, clock: systemClock, say });
    }
  } finally {
    // What was measured before a failure is worth something still.
    keep(report());
    process.stdout.write(`\n${markdown(report())}\n`);
  }
  if (flags.publish) publish(report());
  const ours = samples.filter(({ system, mode }) => system === "guacamole" && mode === "sync");
  if (lostRows(ours) > 0) process.exitCode = 1;
}

function newRival(
  { system, tuning }: Entrant,
  mode: Mode,
  binDirectory: string,
  postgresVersion: string,
): Rival | null {
  const options = { mode, binDirectory, postgresVersion, clock: systemClock };
  switch (system) {
    case "bare":
      return new BareServers(options);
    case "patroni":
      return PatroniServers.versions() === null ? null : new PatroniServers(tuning, options);
    case "pg_auto_failover":
      return AutoFailoverServers.versions() === null ? null : new AutoFailoverServers(tuning, options);
    case "guacamole": {
      const binary = resolve(process.env["TESTED_BINARY"] ?? join(ROOT, "dist/guacamole"));
      const integer = (min: number, max: number): number => randomInt(min, max + 1);
      const logsDirectory = flags["keep-logs"] ?? null;
      return new GuacamoleServers({ ...options, binary, integer, logsDirectory });
    }
  }
}

function earlier(): FailoverReport | null {
  if (!flags.continue) return null;
  const file = flags.json ?? MEASURED;
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as FailoverReport) : null;
}

function keep(report: FailoverReport): void {
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
}

function publish(report: FailoverReport): void {
  const text = readFileSync(README, "utf8");
  const [begin, end] = [text.indexOf(README_BEGIN), text.indexOf(README_END)];
  if (begin < 0 || end < begin) throw new Error(`${README} has no place for the tables: ${README_BEGIN}`);
  writeFileSync(PICTURE, drawGaps(report));
  writeFileSync(MEASURED, `${JSON.stringify(report)}\n`);
  const tables = `${markdown(report)}\n\n${report.place}; ${when(report)}.`;
  writeFileSync(README, `${text.slice(0, begin)}${README_BEGIN}\n\n${tables}\n\n${text.slice(end)}`);
  say(`bench: wrote ${PICTURE}, ${MEASURED} and the tables in ${README}`);
}

function when({ samples }: FailoverReport): string {
  const minute = (wallMs: number): string => new Date(wallMs).toISOString().slice(0, 16).replace("T", " ");
  const times = samples.map(({ atWallMs }) => atWallMs);
  const loads = samples.map(({ load }) => load);
  const [first, last] = [minute(Math.min(...times)), minute(Math.max(...times))];
  const until = last.startsWith(first.slice(0, 10)) ? last.slice(11) : last;
  return `measured ${first} to ${until} UTC, load of the machine ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`;
}

function chosenRuns(): number | null {
  if (flags.runs === undefined) return null;
  const count = Number(flags.runs);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Error(`--runs ${flags.runs}: a number from 1 is wanted`);
  return count;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
