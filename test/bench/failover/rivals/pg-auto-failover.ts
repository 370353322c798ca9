/** pg_auto_failover as Debian packages it: three servers, and a monitor on a fourth host that sees and decides all. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import type { Clock } from "../../../../src/base/clock.ts";
import { within } from "../../../../src/base/within.ts";
import { type BenchHost, BenchHosts } from "../bench-hosts.ts";
import type { Mode, Rival, RivalServer, Tuning } from "../rival.ts";
import { PORT, type RivalOptions, serversOn, TRUST_RULES } from "./common-ground.ts";

interface Timing {
  /** Of the monitor, in milliseconds. */
  readonly monitor: Readonly<Record<string, number>>;
  readonly text: string;
}

const TIMINGS: Readonly<Record<Tuning, Timing>> = {
  default: { monitor: {}, text: "as it comes" },
  tight: {
    monitor: {
      "pgautofailover.health_check_period": 1_000,
      "pgautofailover.health_check_timeout": 1_000,
      "pgautofailover.health_check_max_retries": 1,
      "pgautofailover.health_check_retry_delay": 500,
      "pgautofailover.node_considered_unhealthy_timeout": 2_000,
      "pgautofailover.primary_demote_timeout": 1_000,
    },
    text: "health checks every 1 s, unhealthy after 2 s, demote 1 s, network_partition_timeout 2 s, wal_retrieve_retry_interval 100 ms",
  },
};

const MONITOR = 3;
const ANSWER_MS_MAX = 2_000;
const WAIT_MS_MAX = 180_000;
const POLL_MS = 100;

export class AutoFailoverServers implements Rival {
  readonly system = "pg_auto_failover";
  readonly tuning: Tuning;
  readonly mode: Mode;
  readonly version: string;
  readonly settings: string;
  readonly hosts: BenchHosts;
  readonly servers: readonly RivalServer[];
  readonly #binDirectory: string;
  readonly #clock: Clock;
  readonly #running = new Map<number, Bun.Subprocess>();
  #monitorSql: postgres.Sql | null = null;

  /** Null: it is not on this machine. */
  static versions(): string | null {
    const program = Bun.which("pg_autoctl");
    if (program === null) return null;
    const said = Bun.spawnSync([program, "--version"]).stdout.toString();
    return `pg_auto_failover ${/pg_autoctl version (\S+)/.exec(said)?.[1] ?? "of an unknown version"}`;
  }

  constructor(tuning: Tuning, { mode, binDirectory, clock }: RivalOptions) {
    this.tuning = tuning;
    this.mode = mode;
    this.version = AutoFailoverServers.versions() ?? "";
    const quorum = mode === "sync" ? "number_sync_standbys 1" : "replication-quorum false";
    this.settings = `${TIMINGS[tuning].text}; ${quorum}`;
    this.#binDirectory = binDirectory;
    this.#clock = clock;
    this.hosts = new BenchHosts(4, clock);
    this.servers = serversOn(this.hosts);
  }

  async bringUp(): Promise<void> {
    await this.#bringUpMonitor();
    for (const [index, server] of this.servers.entries()) {
      const host = this.hosts.host(index);
      await this.#autoctl(host, [
        ...["create", "postgres", "--pgdata", server.dataDirectory, "--pgport", String(PORT)],
        ...["--pgctl", join(this.#binDirectory, "pg_ctl"), "--hostname", host.address],
        ...["--name", server.name, "--auth", "trust", "--no-ssl", "--monitor", this.#monitorUri()],
        ...(this.mode === "async" ? ["--replication-quorum", "false"] : []),
      ]);
      // The others are clones of the first.
      if (index === 0) trustAll(server.dataDirectory);
      if (this.tuning === "tight") {
        await this.#autoctl(host, [
          ...["config", "set", "--pgdata", server.dataDirectory],
          ...["timeout.network_partition_timeout", "2"],
        ]);
      }
      await this.restore(index);
      // One after the other: the first that comes is the primary.
      await this.#until(
        `${server.name} has its place`,
        async () => (await this.#settledCount()) === index + 1,
      );
    }
    await this.#settings();
    await this.#until("the cluster runs", () => this.isSettled());
  }

  agents(index: number): readonly number[] {
    const host = this.hosts.host(index);
    const servers = new Set(this.hosts.postgresPids(host));
    return this.hosts.pids(host).filter((pid) => !servers.has(pid));
  }

  async switchover(): Promise<void> {
    await this.#monitor()`select pgautofailover.perform_failover()`;
  }

  async react(): Promise<void> {
    // It has eyes of its own.
  }

  async restore(index: number): Promise<void> {
    const running = this.#running.get(index);
    if (running !== undefined && running.exitCode === null && running.signalCode === null) return;
    const host = this.hosts.host(index);
    const data = join(host.directory, "data");
    this.#running.set(
      index,
      this.hosts.spawn(host, ["pg_autoctl", "run", "--pgdata", data], "pg_autoctl.log", places(host)),
    );
  }

  async isSettled(): Promise<boolean> {
    return (await this.#settledCount()) === this.servers.length;
  }

  async remove(): Promise<void> {
    await this.#monitorSql?.end({ timeout: 0 });
    await this.hosts.remove();
  }

  async #bringUpMonitor(): Promise<void> {
    const host = this.hosts.host(MONITOR);
    const data = join(host.directory, "data");
    await this.#autoctl(host, [
      ...["create", "monitor", "--pgdata", data, "--pgport", String(PORT)],
      ...["--pgctl", join(this.#binDirectory, "pg_ctl"), "--hostname", host.address],
      ...["--auth", "trust", "--no-ssl"],
    ]);
    trustAll(data);
    await this.restore(MONITOR);
    await this.#until("the monitor answers", async () => (await this.#settledCount()) === 0);
    const sql = this.#monitor();
    for (const [name, value] of Object.entries(TIMINGS[this.tuning].monitor))
      await sql.unsafe(`alter system set ${name} = ${value}`);
    await sql`select pg_reload_conf()`;
  }

  /** What a replication setting costs PostgreSQL itself is no manager's fault, so that the tight one gets it, too. */
  async #settings(): Promise<void> {
    if (this.tuning === "default") return;
    for (const server of this.servers) {
      const sql = postgres({
        host: server.socketDirectory,
        port: PORT,
        username: "postgres",
        database: "postgres",
        max: 1,
      });
      try {
        await sql`alter system set wal_retrieve_retry_interval = '100ms'`;
        await sql`select pg_reload_conf()`;
      } finally {
        await sql.end({ timeout: 1 });
      }
    }
  }

  /** How many have reached what the monitor wants of them; -1: not all have, or it does not answer. */
  async #settledCount(): Promise<number> {
    try {
      const asked = this.#monitor()<{ reported: string; goal: string }[]>`
        select reportedstate::text as reported, goalstate::text as goal from pgautofailover.node`;
      const states = await within(asked, ANSWER_MS_MAX, { clock: this.#clock, what: "monitor" });
      const isAtRest = states.every(
        ({ reported, goal }) => reported === goal && ["single", "primary", "secondary"].includes(reported),
      );
      return isAtRest ? states.length : -1;
    } catch {
      // The monitor starts, or is away: what the caller polls for.
      this.#monitorSql?.end({ timeout: 0 }).catch(() => {
        // Thrown away: however it ends, nobody uses it any more.
      });
      this.#monitorSql = null;
      return -1;
    }
  }

  #monitor(): postgres.Sql {
    this.#monitorSql ??= postgres({
      host: this.hosts.host(MONITOR).directory,
      port: PORT,
      username: "postgres",
      database: "pg_auto_failover",
      max: 1,
      connect_timeout: 2,
      fetch_types: false,
      onnotice: () => {},
    });
    return this.#monitorSql;
  }

  #monitorUri(): string {
    const { address } = this.hosts.host(MONITOR);
    return `postgres://autoctl_node@${address}:${PORT}/pg_auto_failover?sslmode=disable`;
  }

  async #autoctl(host: BenchHost, args: readonly string[]): Promise<void> {
    await this.hosts.run(host, ["pg_autoctl", ...args], places(host));
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const untilMs = this.#clock.nowMs() + WAIT_MS_MAX;
    while (!(await condition())) {
      if (this.#clock.nowMs() > untilMs) throw new Error(`pg_auto_failover: waited in vain until ${what}`);
      await this.#clock.sleep(POLL_MS);
    }
  }
}

/** Its own rules know only networks that an interface has as a whole. */
function trustAll(dataDirectory: string): void {
  appendFileSync(join(dataDirectory, "pg_hba.conf"), `\n${TRUST_RULES.join("\n")}\n`);
}

/** Where it keeps its own files, and PostgreSQL its socket. */
function places({ directory }: BenchHost): Readonly<Record<string, string>> {
  return {
    XDG_CONFIG_HOME: join(directory, "config"),
    XDG_DATA_HOME: join(directory, "share"),
    XDG_RUNTIME_DIR: join(directory, "runtime"),
    PG_REGRESS_SOCK_DIR: directory,
    PGHOST: directory,
  };
}
