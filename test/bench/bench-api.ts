/**
 * `make bench-api`: how long the API takes to answer, and how much it answers, beside Patroni's, in one run on the same three hosts
 * (network namespaces): reads of the whole cluster, and small changes (a tag of a member; of Patroni a
 * value of its configuration) that are agreed before the answer. Ours speaks
 * TLS and asks for a token; Patroni's, as Debian has it, does neither. Then what thousands of rules and roles cost ours.
 */
import { randomInt } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/main/system-clock.ts";
import { inspectInstallation } from "../../src/postgres/versions.ts";
import { findPostgres } from "../support/find-postgres.ts";
import { remember } from "../support/left-behind.ts";
import { NamespaceNetwork } from "../support/network-namespaces.ts";
import { measureAmounts } from "./api/amounts.ts";
import { type ApiReport, type ApiSample, markdown } from "./api/report.ts";
import { CleanUps } from "./clean-ups.ts";
import { AskedProcess } from "./consensus/asked-process.ts";
import type { Seen } from "./consensus/closed-loop.ts";
import type { HttpTarget, LoadRequest } from "./consensus/load-client.ts";
import { GuacamoleServers } from "./failover/rivals/guacamole.ts";
import { PatroniServers } from "./failover/rivals/patroni.ts";

const ROOT = resolve(import.meta.dir, "../..");
const README = join(ROOT, "README.md");
const README_BEGIN = "<!-- api, measured: written by make bench-api -->";
const README_END = "<!-- api, measured: end -->";

const HELP = `make bench-api ARGS="[options]"

Reads of the whole cluster and small changes that are agreed, by one client and by eight, of ours and of Patroni's API (about 3 min);
and what many rules for connections and many declared roles cost ours, which nothing else has (about 2 min more).

  --seconds N   how long each load is measured (4)
  --rounds N    how often each, both in turn; medians are told (3)
  --rules N     so many rules for connections (2000)
  --roles N     so many declared roles (10000)
  --only WHAT   'speed' or 'amounts': just the one
  --publish     write the README's table anew

It takes root, for network namespaces. Patroni and etcd are looked for on PATH (Debian: patroni, etcd-server); without
them ours is measured alone.
`;

const WARM_UP_MS = 1_000;
const CLIENTS = [1, 8] as const;
/** Long enough for several looks at what is declared. */
const STEADY_MS = 20_000;

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    rules: { type: "string", default: "2000" },
    roles: { type: "string", default: "10000" },
    only: { type: "string", default: "" },
    publish: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (flags.publish && flags.only !== "") {
  process.stderr.write("bench: the README's table holds all of it: --publish goes without --only\n");
  process.exit(2);
}
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

interface Subject {
  readonly name: string;
  readonly target: HttpTarget;
}

async function main(): Promise<void> {
  const refusal = NamespaceNetwork.refusal();
  if (refusal !== null) throw new Error(refusal);
  const binDirectory = process.env["TESTED_POSTGRES_BIN_DIR"] ?? findPostgres()[0]?.binDirectory ?? "";
  const installation = inspectInstallation(binDirectory);
  if (!installation.ok) throw new Error(installation.error);
  const postgresVersion = String(installation.value.version);
  const place = `PostgreSQL ${postgresVersion}, ${cpus().length} cores, Linux ${release()}, Bun ${Bun.version}`;
  say(`bench: ${place}`);
  const common = { mode: "sync", binDirectory, postgresVersion, clock: systemClock } as const;
  const samples: ApiSample[] = [];
  const versions: string[] = [];
  const subjects: Subject[] = [];

  const ours = new GuacamoleServers({
    ...common,
    binary: resolve(process.env["TESTED_BINARY"] ?? join(ROOT, "dist/guacamole")),
    integer: (min, max) => randomInt(min, max + 1),
    logsDirectory: null,
  });
  cleanUps.add(() => ours.remove());
  say("bench: guacamole comes up");
  await ours.bringUp();
  versions.push(ours.version);
  subjects.push(...(await ourSubjects(ours)));

  const isSpeed = flags.only !== "amounts";
  if (!isSpeed) say("bench: amounts only");
  else if (PatroniServers.versions() === null)
    say("bench: Patroni or etcd is not here; ours is measured alone");
  else {
    const patroni = new PatroniServers("default", common);
    cleanUps.add(() => patroni.remove());
    say("bench: Patroni comes up");
    await patroni.bringUp();
    versions.push(patroni.version);
    subjects.push({ name: "Patroni", target: patroniTarget(await patroni.leaderOrigin()) });
  }

  const rounds = isSpeed ? wholeNumber(flags.rounds, "--rounds") : 0;
  for (let round = 1; round <= rounds; round += 1) {
    for (const subject of subjects) samples.push(...(await measure(subject, round)));
  }
  const amounts =
    flags.only === "speed"
      ? []
      : await measureAmounts(ours, {
          rules: wholeNumber(flags.rules, "--rules"),
          roles: wholeNumber(flags.roles, "--roles"),
          steadyMs: STEADY_MS,
          say,
        });
  const atWallMs = Date.now();
  const report: ApiReport = { place, versions, samples, amounts, load: loadavg()[0] ?? 0, atWallMs };
  process.stdout.write(`\n${markdown(report)}\n`);
  if (flags.publish) publish(report);
}

/** The leader agrees by itself; another member hands a change on. */
async function ourSubjects(ours: GuacamoleServers): Promise<readonly Subject[]> {
  const { leader } = await ours.leaders();
  const other = ours.servers.find(({ name }) => name !== leader)?.name ?? leader;
  return [
    { name: "guacamole, the leader", target: ourTarget(ours, leader) },
    { name: "guacamole, another member", target: ourTarget(ours, other) },
  ];
}

function ourTarget(ours: GuacamoleServers, name: string): HttpTarget {
  const { origin, token, caPem } = ours.access(name);
  const priority = (failoverPriority: number): string => JSON.stringify({ failoverPriority });
  return {
    kind: "http",
    origin,
    headers: { authorization: `Bearer ${token}` },
    caPem,
    read: "/v1/cluster",
    write: { method: "PATCH", path: `/v1/members/${name}`, bodies: [priority(1), priority(2)] },
  };
}

function patroniTarget(origin: string): HttpTarget {
  const lag = (bytes: number): string => JSON.stringify({ maximum_lag_on_failover: bytes });
  return {
    kind: "http",
    origin,
    headers: {},
    caPem: null,
    read: "/cluster",
    write: { method: "PATCH", path: "/config", bodies: [lag(1_048_576), lag(1_048_577)] },
  };
}

async function measure({ name, target }: Subject, round: number): Promise<readonly ApiSample[]> {
  const client = new AskedProcess<LoadRequest>({
    name: `clients of ${name}`,
    command: [process.execPath, join(import.meta.dir, "consensus/load-client.ts")],
  });
  try {
    await client.ask({ type: "target", target });
    const samples: ApiSample[] = [];
    for (const kind of ["read", "write"] as const) {
      for (const clients of CLIENTS) {
        const load = {
          clients,
          warmUpMs: WARM_UP_MS,
          measureMs: wholeNumber(flags.seconds, "--seconds") * 1_000,
        };
        const seen = await client.ask<Seen>({ type: "load", kind, load });
        say(
          `bench: round ${round}, ${name}, ${kind}s by ${clients}: p50 ${seen.p50Ms.toFixed(2)} ms, p99 ${seen.p99Ms.toFixed(2)} ms, ${seen.perSecond.toFixed(0)}/s`,
        );
        samples.push({ subject: name, kind, ...seen });
      }
    }
    return samples;
  } finally {
    await client.end("SIGKILL");
  }
}

function publish(report: ApiReport): void {
  const text = readFileSync(README, "utf8");
  const [begin, end] = [text.indexOf(README_BEGIN), text.indexOf(README_END)];
  if (begin < 0 || end < begin) throw new Error(`${README} has no place for the table: ${README_BEGIN}`);
  writeFileSync(
    README,
    `${text.slice(0, begin)}${README_BEGIN}\n\n${markdown(report)}\n\n${text.slice(end)}`,
  );
  say(`bench: wrote the table in ${README}`);
}

function wholeNumber(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${option} ${text}: a number from 1 is wanted`);
  return value;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
