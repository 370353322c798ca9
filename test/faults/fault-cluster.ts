/**
 * A cluster whose members live on hosts of their own (network namespaces), with writers and a reader that keep books. It
 * says whether it is whole, whether every promise was kept, and what it looks like when something is wrong.
 */

import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterDocument, EventPageDocument, TopologyChange } from "../../src/api/documents.ts";
import { defined } from "../../src/base/assert.ts";
import { LocalCluster, type LocalMember } from "../../src/demo/local-cluster.ts";
import { createLedgerDatabase } from "../../src/postgres/ledger-writer.ts";
import { newestPostgres } from "../support/cluster-life.ts";
import { remember, removed } from "../support/left-behind.ts";
import { type NamespaceHost, NamespaceNetwork } from "../support/network-namespaces.ts";
import { nextPort } from "../support/ports-in-turn.ts";
import { realClock } from "../support/postgres-clock.ts";
import { bareEnvironment, testedBinary } from "../support/tested-binary.ts";
import { UNIT_PRIORITY } from "../support/unit-priority.ts";
import { type Part, processesOf, signalPart } from "./host-processes.ts";
import { findBroken, keyOf, lost } from "./judge.ts";
import { type Login, Recorder } from "./recorder.ts";

export interface FaultClusterOptions {
  readonly size: number;
  /** Put before a member's command, after what leads to its host. */
  readonly enter?: (name: string) => readonly string[];
  /** Instead of PostgreSQL's own directory of programs. */
  readonly binDirectory?: string;
  /** Asked for once it is whole. */
  readonly topology?: TopologyChange;
  /** Directories that go with it. */
  readonly belongings?: readonly string[];
  /** Before anything runs. */
  readonly prepare?: (member: LocalMember) => void;
}

export const DIRECTORY_BEGIN = "guacamole-faults-";
const DIRECTORY_OWNER = /^guacamole-faults-(\d+)-/;
const LOGIN: Login = { username: "ledger", password: "kept-nowhere-but-here", database: "ledger" };
export const WHOLE_MS_MAX = 120_000;
const STAYS_WHOLE_MS = 500;
const REPLAY_MS_MAX = 30_000;
const GONE_MS_MAX = 20_000;
const EVENTS_SHOWN = 50;
const LOG_LINES_SHOWN = 40;

export class FaultCluster {
  readonly local: LocalCluster;
  readonly network: NamespaceNetwork;
  readonly recorder: Recorder;
  readonly #belongings: readonly string[];

  private constructor(options: FaultClusterOptions) {
    removeLeftovers();
    this.#belongings = options.belongings ?? [];
    this.network = new NamespaceNetwork(options.size);
    // Where this process is told to end: what runs there is found by its namespace, so the network goes last.
    removed(this.network);
    this.local = new LocalCluster({
      size: options.size,
      hosts: this.network.hosts.map(({ address, enter }, index) => {
        return { address, enter: [...enter, ...UNIT_PRIORITY, ...(options.enter?.(`m${index + 1}`) ?? [])] };
      }),
      command: [testedBinary()],
      binDirectory: options.binDirectory ?? newestPostgres().binDirectory,
      environment: bareEnvironment(),
      clock: realClock,
      integer: nextPort,
      prefix: `${DIRECTORY_BEGIN}${process.pid}-`,
    });
    remember(this);
    const servers = this.local.members.map(({ name, host, postgresPort }) => {
      return { name, host: host.address, port: postgresPort };
    });
    this.recorder = new Recorder(servers, LOGIN);
  }

  /** From nothing to a cluster that is whole and written to. */
  static async bringUp(options: FaultClusterOptions): Promise<FaultCluster> {
    const made = new FaultCluster(options);
    try {
      const { local, recorder } = made;
      for (const member of local.members) options.prepare?.(member);
      await Promise.all(local.members.map((member) => local.start(member)));
      await local.form("faults");
      await local.initialize();
      await made.untilWhole();
      const primary = await made.primary();
      const { socketDirectory, postgresPort: port } = primary;
      await createLedgerDatabase({ ...LOGIN, socketDirectory, port });
      await recorder.prepare(primary.name);
      recorder.start();
      if (options.topology !== undefined) await primary.api.patch("/v1/topology", options.topology);
      await made.untilWhole();
      return made;
    } catch (error) {
      process.stdout.write(`${await made.describe()}\n`);
      await made.remove();
      throw error;
    }
  }

  get members(): readonly LocalMember[] {
    return this.local.members;
  }

  othersThan(...excepted: readonly LocalMember[]): readonly LocalMember[] {
    return this.members.filter((member) => !excepted.includes(member));
  }

  hostOf(member: LocalMember): NamespaceHost {
    return defined(this.network.hosts[this.members.indexOf(member)], `${member.name} has a host`);
  }

  pids(member: LocalMember, part: Part): readonly number[] {
    return processesOf(this.hostOf(member), part);
  }

  /** @returns how many processes got it. */
  signal(member: LocalMember, part: Part, signal: NodeJS.Signals): number {
    return signalPart(this.hostOf(member), part, signal);
  }

  /** What the member with the newest knowledge says; null where nobody answers. */
  async seen(): Promise<ClusterDocument | null> {
    const answers = await this.#views();
    const sorted = answers.toSorted(
      (one, other) =>
        (other.reign?.epoch ?? 0) - (one.reign?.epoch ?? 0) ||
        other.raft.term - one.raft.term ||
        other.raft.commitIndex - one.raft.commitIndex,
    );
    // Whoever leads sees everybody; a follower may not have heard of a member for a while.
    return sorted.find(({ raft, freshness }) => raft.leader === freshness.answeredBy) ?? sorted[0] ?? null;
  }

  async primary(): Promise<LocalMember> {
    const seen = await this.seen();
    return this.local.member(defined(seen?.reign, "there is a primary").primary);
  }

  until(what: string, deadlineMs: number, condition: () => Promise<boolean>): Promise<void> {
    return this.local.until(what, deadlineMs, condition);
  }

  /**
   * Every member runs and agrees on the reign, everybody else streams, and writes are acknowledged; and so it stays: what
   * members say of each other is a moment old.
   *
   * @returns when it began to be so, on this process's monotonic clock.
   */
  async untilWhole(deadlineMs = WHOLE_MS_MAX): Promise<number> {
    let sinceMs: number | null = null;
    await this.until("every member says that the cluster is whole", deadlineMs, async () => {
      const nowMs = performance.now();
      if (!(await this.isWhole())) sinceMs = null;
      else sinceMs ??= nowMs;
      return sinceMs !== null && nowMs - sinceMs >= STAYS_WHOLE_MS;
    });
    return defined<number>(sinceMs, "it was whole");
  }

  async isWhole(): Promise<boolean> {
    const views = await this.#views();
    const reigns = new Set(
      views.map(({ reign }) => `${reign?.epoch} ${reign?.primary} ${reign?.fence?.reason}`),
    );
    const leaders = new Set(views.map(({ raft }) => `${raft.term} ${raft.leader}`));
    const lead = views.find(({ raft, freshness }) => raft.leader === freshness.answeredBy);
    return (
      views.length === this.members.length &&
      reigns.size === 1 &&
      leaders.size === 1 &&
      lead !== undefined &&
      isWhole(lead)
    );
  }

  /**
   * Whether every promise was kept: on the primary, and on each standby once it has replayed what the primary had.
   *
   * @returns a sentence for each that was not.
   */
  async findBroken(): Promise<readonly string[]> {
    const primary = await this.primary();
    const lsn = await this.sql(primary, "select pg_current_wal_flush_lsn()");
    // Taken before the rows are read: what is acknowledged meanwhile may be missing among them.
    const acknowledged = [...this.recorder.acknowledged];
    const readings = [...this.recorder.readings];
    const stored = await this.recorder.storedOn(primary.name);
    const broken = [...findBroken(acknowledged, readings, stored)];
    for (const standby of this.othersThan(primary)) {
      await this.until(`${standby.name} has replayed up to ${lsn}`, REPLAY_MS_MAX, async () => {
        return (await this.sql(standby, `select pg_last_wal_replay_lsn() >= '${lsn}'`)) === "t";
      });
      const copied = await this.recorder.storedOn(standby.name);
      const present = new Set((await this.recorder.storedOn(primary.name)).map(keyOf));
      const foreign = copied.filter((row) => !present.has(keyOf(row)));
      broken.push(...lost(acknowledged, copied).map((each) => `on the standby ${standby.name}: ${each}`));
      if (foreign.length > 0)
        broken.push(
          `${standby.name} has ${foreign.length} rows that the primary has not: ${foreign.slice(0, 5).map(keyOf).join(" ")}`,
        );
    }
    return broken;
  }

  /** `async` durability: what the present primary does not hold is taken off the books. @returns how many rows. */
  async forgiveLost(): Promise<number> {
    const { acknowledged } = this.recorder;
    const before = [...acknowledged];
    const stored = new Set((await this.recorder.storedOn((await this.primary()).name)).map(keyOf));
    const gone = new Set(before.filter((each) => !stored.has(keyOf(each))));
    const kept = acknowledged.filter((each) => !gone.has(each));
    acknowledged.splice(0, acknowledged.length, ...kept);
    return gone.size;
  }

  /** SQL as the superuser over a member's Unix socket; output and errors as text. */
  async sql(member: LocalMember, text: string): Promise<string> {
    const { socketDirectory, postgresPort } = member;
    const place = `host=${socketDirectory} port=${postgresPort} user=postgres dbname=ledger connect_timeout=2`;
    const run = Bun.spawn([join(this.local.binDirectory, "psql"), "-XAtqc", text, place], {
      env: bareEnvironment(),
      stdout: "pipe",
      stderr: "pipe",
      timeout: 10_000,
      killSignal: "SIGKILL",
    });
    const [output, errors] = await Promise.all([run.stdout.text(), run.stderr.text()]);
    return `${output}${errors}`.trim();
  }

  /** Its host loses power and network at once: nobody hears it end. */
  async killHost(member: LocalMember): Promise<void> {
    this.network.unplug(this.hostOf(member));
    await this.killAllOf(member);
  }

  /** Everything on its host is killed; the network stays. */
  async killAllOf(member: LocalMember): Promise<void> {
    await this.until(`nothing runs on the host of ${member.name}`, GONE_MS_MAX, async () => {
      return this.signal(member, "everything", "SIGKILL") === 0;
    });
    member.process = null;
  }

  /** The host is back: network, and what the system starts. Nothing if it runs. */
  async boot(member: LocalMember): Promise<void> {
    this.network.plug(this.hostOf(member));
    if (this.pids(member, "member").length > 0) return;
    await member.process?.exited;
    member.process = null;
    await this.local.start(member);
  }

  async remove(): Promise<void> {
    await this.recorder.stop();
    for (const member of this.members) await this.killAllOf(member);
    unmountBelow(this.local.root);
    await this.local.remove();
    for (const directory of this.#belongings) rmSync(directory, { recursive: true });
    this.network.remove();
    removed(this);
  }

  /** Everything that somebody needs to find out what went wrong. */
  async describe(): Promise<string> {
    const seen = await this.seen();
    const logs = this.members.flatMap((member) => {
      const beside = `${member.dataDirectory}.guacamole`;
      return [member.logPath, join(beside, "supervisor.log"), join(beside, "postgresql.log")].flatMap(
        (file) => {
          if (!existsSync(file)) return [];
          const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(-LOG_LINES_SHOWN);
          return [`--- the end of ${file}:`, ...lines];
        },
      );
    });
    return [JSON.stringify(seen, null, 1), "--- the last events:", ...(await this.#events()), ...logs].join(
      "\n",
    );
  }

  async #events(): Promise<readonly string[]> {
    for (const { api } of this.members) {
      try {
        const { events } = await api.get<EventPageDocument>("/v1/events?limit=1000", 2_000);
        return events
          .slice(-EVENTS_SHOWN)
          .map(({ at, name, message, fields }) => `${at} ${name}: ${message} ${JSON.stringify(fields)}`);
      } catch {
        // This one does not answer; another may.
      }
    }
    return ["(nobody answers)"];
  }

  async #views(): Promise<readonly ClusterDocument[]> {
    const asked = await Promise.all(this.members.map((member) => this.local.cluster(member)));
    return asked.filter((each) => each !== null);
  }
}

function isWhole({ isWritable, members, raft, switchover, durability, reign }: ClusterDocument): boolean {
  const isQuorum = durability.mode === "quorum";
  const wantedK = isQuorum ? Math.min(durability.synchronousStandbys, members.length - 1) : 0;
  return (
    reign?.cohort.k === wantedK &&
    isWritable &&
    switchover === null &&
    raft.voters.length + raft.learners.length === members.length &&
    members.every(
      ({ role, state, isInCohort }) =>
        role === "primary" || (state === "streaming" && isInCohort === isQuorum),
    )
  );
}

/** What is mounted below a directory, the deepest first. */
export function unmountBelow(root: string): void {
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[1] ?? [])
    .filter((place) => place.startsWith(`${root}/`));
  for (const place of mounts.toReversed()) {
    Bun.spawnSync(["fsfreeze", "--unfreeze", place], { stderr: "ignore" });
    const done = Bun.spawnSync(["umount", "--lazy", place], { stderr: "pipe" });
    if (!done.success) throw new Error(done.stderr.toString().trim());
  }
}

/** Of a test run that was killed. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = DIRECTORY_OWNER.exec(name)?.[1];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    unmountBelow(join(tmpdir(), name));
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
