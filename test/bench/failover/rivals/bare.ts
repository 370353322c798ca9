/**
 * The floor: three PostgreSQL servers and nothing around them. What a failover costs if everything is known at once: no
 * agents, no consensus, no TLS. The same steps in the same order as the protocol's.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import type { Clock } from "../../../../src/base/clock.ts";
import { BenchHosts, signal } from "../bench-hosts.ts";
import type { Mode, Rival, RivalServer } from "../rival.ts";
import { INITDB_ARGUMENTS, PORT, type RivalOptions, serversOn, TRUST_RULES } from "./common-ground.ts";

const POLL_MS = 1;
const WAIT_MS_MAX = 60_000;

interface Instance extends RivalServer {
  readonly index: number;
  process: Bun.Subprocess | null;
  sql: postgres.Sql | null;
}

interface Position {
  readonly standby: Instance;
  readonly position: bigint;
}

export class BareServers implements Rival {
  readonly system = "bare";
  readonly tuning = "default";
  readonly mode: Mode;
  readonly version: string;
  readonly settings = "no manager: the steps of a failover, done at once by the benchmark itself";
  readonly hosts: BenchHosts;
  readonly servers: readonly Instance[];
  readonly #binDirectory: string;
  readonly #clock: Clock;
  #primary: Instance;

  constructor({ mode, binDirectory, postgresVersion, clock }: RivalOptions) {
    this.mode = mode;
    this.version = `PostgreSQL ${postgresVersion}`;
    this.#binDirectory = binDirectory;
    this.#clock = clock;
    this.hosts = new BenchHosts(3, clock);
    this.servers = serversOn(this.hosts).map((server, index) => ({
      ...server,
      index,
      process: null,
      sql: null,
    }));
    const [first] = this.servers;
    if (first === undefined) throw new Error("there is a first server");
    this.#primary = first;
  }

  async bringUp(): Promise<void> {
    const primary = this.#primary;
    await this.#run(primary, "initdb", ["-D", primary.dataDirectory, ...INITDB_ARGUMENTS]);
    const file = join(primary.dataDirectory, "postgresql.conf");
    writeFileSync(file, `${readFileSync(file, "utf8")}\ninclude_if_exists = 'bench.conf'\n`);
    writeFileSync(join(primary.dataDirectory, "pg_hba.conf"), `${TRUST_RULES.join("\n")}\n`);
    this.#configure(primary, null, null);
    await this.#start(primary);
    await Promise.all(this.#others(primary).map((standby) => this.#clone(standby, primary)));
    await this.#guard(primary);
  }

  agents(): readonly number[] {
    return [];
  }

  async switchover(): Promise<void> {
    const old = this.#primary;
    old.process?.kill("SIGINT");
    await old.process?.exited;
    await this.react();
  }

  async react(): Promise<void> {
    const old = this.#primary;
    const positions = await Promise.all(this.#others(old).map((standby) => this.#revoke(standby)));
    await this.#promote(old, positions);
  }

  /** Whatever the former primary has become, it is built anew; nobody times this. */
  async restore(index: number): Promise<void> {
    const instance = this.servers[index];
    if (instance === undefined || instance === this.#primary) return;
    await this.#end(instance);
    rmSync(instance.dataDirectory, { recursive: true, force: true });
    await this.#clone(instance, this.#primary);
    await this.#guard(this.#primary);
  }

  async isSettled(): Promise<boolean> {
    return true;
  }

  async remove(): Promise<void> {
    for (const { sql } of this.servers) await sql?.end({ timeout: 0 });
    await this.hosts.remove();
  }

  #others(instance: Instance): readonly Instance[] {
    return this.servers.filter((each) => each !== instance);
  }

  /** Takes the upstream away; resolves with the position once the walreceiver is gone. */
  async #revoke(standby: Instance): Promise<Position> {
    this.#configure(standby, null, null);
    standby.process?.kill("SIGHUP");
    let position = 0n;
    await this.#until(`${standby.name} receives no more`, async () => {
      const [row] = await this.#sqlOf(standby)<{ gone: boolean; position: string }[]>`
        select not exists (select from pg_stat_get_wal_receiver() where pid is not null) as gone,
          (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::text as position`;
      position = BigInt(row?.position ?? 0);
      return row?.gone === true;
    });
    return { standby, position };
  }

  async #promote(old: Instance, positions: readonly Position[]): Promise<void> {
    const [best] = [...positions].sort((x, y) => Number(y.position - x.position));
    if (best === undefined) throw new Error("nobody is left to promote");
    const successor = best.standby;
    if (this.mode === "sync") {
      this.#configure(successor, null, this.#others(successor));
      successor.process?.kill("SIGHUP");
      await this.#until("the rule holds", async () => {
        const [row] = await this.#sqlOf(successor)<{ names: string }[]>`
          select current_setting('synchronous_standby_names') as names`;
        return row?.names !== "";
      });
    }
    writeFileSync(join(successor.dataDirectory, "promote"), "");
    successor.process?.kill("SIGUSR1");
    for (const standby of this.#others(successor)) {
      if (standby === old) continue;
      this.#configure(standby, successor, null);
      standby.process?.kill("SIGHUP");
    }
    await this.#until(`${successor.name} is promoted`, async () => {
      const [row] = await this.#sqlOf(successor)<
        { standby: boolean }[]
      >`select pg_is_in_recovery() as standby`;
      return row?.standby === false;
    });
    this.#primary = successor;
  }

  /** Any one standby must have each commit. */
  async #guard(primary: Instance): Promise<void> {
    if (this.mode === "async") return;
    this.#configure(primary, null, this.#others(primary));
    primary.process?.kill("SIGHUP");
  }

  async #clone(standby: Instance, from: Instance): Promise<void> {
    await this.#run(standby, "pg_basebackup", [
      ...["-D", standby.dataDirectory, "-h", from.host, "-p", String(PORT), "-U", "postgres"],
      ...["-c", "fast", "-X", "stream"],
    ]);
    this.#configure(standby, from, null);
    writeFileSync(join(standby.dataDirectory, "standby.signal"), "");
    await this.#start(standby);
  }

  #configure(instance: Instance, upstream: Instance | null, acknowledgers: readonly Instance[] | null): void {
    const conninfo =
      upstream === null
        ? ""
        : `host=${upstream.host} port=${PORT} user=postgres application_name=${instance.name}`;
    const rule = acknowledgers === null ? "" : `ANY 1 (${acknowledgers.map(({ name }) => name).join(",")})`;
    writeFileSync(
      join(instance.dataDirectory, "bench.conf"),
      [
        `port = ${PORT}`,
        "listen_addresses = '*'",
        `unix_socket_directories = '${instance.socketDirectory}'`,
        `cluster_name = '${instance.name}'`,
        `primary_conninfo = '${conninfo}'`,
        `synchronous_standby_names = '${rule}'`,
        `wal_retrieve_retry_interval = '${upstream === null ? "5s" : "100ms"}'`,
        "wal_receiver_status_interval = '1s'",
        "wal_keep_size = '512MB'",
        "wal_log_hints = on",
        "restart_after_crash = off",
        "",
      ].join("\n"),
    );
  }

  async #start(instance: Instance): Promise<void> {
    const program = join(this.#binDirectory, "postgres");
    const host = this.hosts.host(instance.index);
    instance.process = this.hosts.spawn(host, [program, "-D", instance.dataDirectory], "postgres.log");
    await this.#until(`${instance.name} answers`, async () => {
      try {
        await this.#sqlOf(instance)`select 1`;
        return true;
      } catch {
        // Not yet: that is what is waited for.
        return false;
      }
    });
  }

  async #end(instance: Instance): Promise<void> {
    await instance.sql?.end({ timeout: 0 });
    instance.sql = null;
    const host = this.hosts.host(instance.index);
    for (const pid of this.hosts.pids(host)) signal(pid, "SIGKILL");
    await this.#until(`nothing runs for ${instance.name}`, async () => this.hosts.pids(host).length === 0);
    instance.process = null;
  }

  #sqlOf(instance: Instance): postgres.Sql {
    instance.sql ??= postgres({
      host: instance.socketDirectory,
      port: PORT,
      username: "postgres",
      database: "postgres",
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      backoff: () => 0.005,
      fetch_types: false,
      onnotice: () => {},
    });
    return instance.sql;
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + WAIT_MS_MAX;
    while (!(await condition())) {
      if (this.#clock.nowMs() > deadlineMs) throw new Error(`floor: waited in vain until ${what}`);
      await this.#clock.sleep(POLL_MS);
    }
  }

  async #run(instance: Instance, program: string, args: readonly string[]): Promise<void> {
    await this.hosts.run(this.hosts.host(instance.index), [join(this.#binDirectory, program), ...args]);
  }
}
