/**
 * The floor: three PostgreSQL instances and nothing around them. What a failover costs if everything is known at once:
 * no agents, no consensus, no network, no TLS. The same steps in the same order as the protocol's.
 */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import type { Clock } from "../../src/base/clock.ts";
import { isAlive } from "../../src/demo/local-cluster.ts";
import type { LedgerServer } from "../../src/postgres/ledger-writer.ts";

export interface BareTrioOptions {
  readonly binDirectory: string;
  readonly ports: readonly number[];
  /** Null: this process's own user, who is not root. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
  readonly clock: Clock;
}

export const BARE_USER = "bench";

const NAMES = ["a", "b", "c"] as const;
const POLL_MS = 1;
const WAIT_MS_MAX = 30_000;

class Instance {
  readonly name: string;
  readonly port: number;
  readonly home: string;
  readonly data: string;
  process: Bun.Subprocess | null = null;
  sql: postgres.Sql | null = null;

  constructor(root: string, name: string, port: number) {
    this.name = name;
    this.port = port;
    this.home = join(root, name);
    this.data = join(this.home, "data");
  }
}

export class BareTrio {
  readonly #options: BareTrioOptions;
  readonly #root: string;
  readonly #instances: readonly Instance[];
  #primary: Instance;

  constructor(options: BareTrioOptions) {
    this.#options = options;
    this.#root = mkdtempSync(join(tmpdir(), "guacamole-bench-floor-"));
    chmodSync(this.#root, 0o755);
    this.#instances = NAMES.map((name, index) => new Instance(this.#root, name, options.ports[index] ?? 0));
    const [first] = this.#instances;
    if (first === undefined) throw new Error("a trio has a first instance");
    this.#primary = first;
    for (const { home } of this.#instances) {
      mkdirSync(home);
      if (options.owner !== null) chownSync(home, options.owner.uid, options.owner.gid);
    }
  }

  get servers(): readonly LedgerServer[] {
    return this.#instances.map(({ name, port }) => ({ name, host: "127.0.0.1", port }));
  }

  /** From nothing to three that stream. */
  async build(): Promise<void> {
    const primary = this.#primary;
    await this.#run("initdb", [
      "-D",
      primary.data,
      "-U",
      "postgres",
      "-A",
      "trust",
      "-k",
      "--no-instructions",
    ]);
    writeFileSync(
      join(primary.data, "postgresql.conf"),
      `${readFileSync(join(primary.data, "postgresql.conf"), "utf8")}\ninclude_if_exists = 'bench.conf'\n`,
    );
    this.#configure(primary, null, null);
    await this.#start(primary);
    await Promise.all(this.#others(primary).map((standby) => this.#clone(standby, primary)));
    await this.#guard(primary);
    await this.#allStream();
  }

  /** A role and a database for the writer. */
  async makeDatabase(): Promise<void> {
    const sql = this.#sqlOf(this.#primary);
    await sql.unsafe(`create role ${BARE_USER} login`);
    await sql.unsafe(`create database ${BARE_USER} owner ${BARE_USER}`);
  }

  /** Kills the primary's postmaster, and does what must be done. */
  async crash(): Promise<void> {
    const old = this.#primary;
    old.process?.kill("SIGKILL");
    const standbys = this.#others(old);
    const positions = await Promise.all(standbys.map((standby) => this.#revoke(standby)));
    await this.#promote(old, positions);
  }

  /** Stops the primary in good order, and hands over. */
  async handOver(): Promise<void> {
    const old = this.#primary;
    old.process?.kill("SIGINT");
    await old.process?.exited;
    const standbys = this.#others(old);
    const positions = await Promise.all(standbys.map((standby) => this.#revoke(standby)));
    await this.#promote(old, positions);
  }

  /** Brings the former primary back as a new standby; nobody times this. */
  async mend(): Promise<void> {
    for (const instance of this.#others(this.#primary)) {
      if (instance.process?.exitCode === null && instance.process.signalCode === null) continue;
      await this.#end(instance);
      rmSync(instance.data, { recursive: true, force: true });
      await this.#clone(instance, this.#primary);
    }
    await this.#guard(this.#primary);
    await this.#allStream();
  }

  async remove(): Promise<void> {
    for (const instance of this.#instances) await this.#end(instance);
    rmSync(this.#root, { recursive: true, force: true });
  }

  #others(instance: Instance): readonly Instance[] {
    return this.#instances.filter((each) => each !== instance);
  }

  /** Takes the upstream away; resolves with the position once the walreceiver is gone. */
  async #revoke(standby: Instance): Promise<{ readonly standby: Instance; readonly position: bigint }> {
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

  async #promote(
    old: Instance,
    positions: readonly { readonly standby: Instance; readonly position: bigint }[],
  ): Promise<void> {
    const [best] = [...positions].sort((x, y) => Number(y.position - x.position));
    if (best === undefined) throw new Error("nobody is left to promote");
    const successor = best.standby;
    this.#configure(successor, null, this.#others(successor));
    successor.process?.kill("SIGHUP");
    await this.#until("the rule holds", async () => {
      const [row] = await this.#sqlOf(successor)<{ names: string }[]>`
        select current_setting('synchronous_standby_names') as names`;
      return row?.names !== "";
    });
    writeFileSync(join(successor.data, "promote"), "");
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
    this.#configure(primary, null, this.#others(primary));
    primary.process?.kill("SIGHUP");
  }

  async #allStream(): Promise<void> {
    await this.#until("all stream", async () => {
      const rows = await this.#sqlOf(this.#primary)`
        select from pg_stat_replication where state = 'streaming' and sync_state = 'quorum'`;
      return rows.length === this.#instances.length - 1;
    });
  }

  async #clone(standby: Instance, from: Instance): Promise<void> {
    await this.#run("pg_basebackup", [
      ...["-D", standby.data, "-h", "127.0.0.1", "-p", String(from.port), "-U", "postgres"],
      ...["-c", "fast", "-X", "stream"],
    ]);
    this.#configure(standby, from, null);
    writeFileSync(join(standby.data, "standby.signal"), "");
    await this.#start(standby);
  }

  #configure(instance: Instance, upstream: Instance | null, acknowledgers: readonly Instance[] | null): void {
    const conninfo =
      upstream === null
        ? ""
        : `host=127.0.0.1 port=${upstream.port} user=postgres application_name=${instance.name}`;
    const rule = acknowledgers === null ? "" : `ANY 1 (${acknowledgers.map(({ name }) => name).join(",")})`;
    writeFileSync(
      join(instance.data, "bench.conf"),
      [
        `port = ${instance.port}`,
        "listen_addresses = '127.0.0.1'",
        `unix_socket_directories = '${instance.home}'`,
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
    instance.process = Bun.spawn([join(this.#options.binDirectory, "postgres"), "-D", instance.data], {
      ...this.#identity(),
      cwd: "/",
      stdin: "ignore",
      stdout: "ignore",
      stderr: Bun.file(join(this.#root, `${instance.name}.log`)),
    });
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
    const pid = instance.process?.pid;
    if (instance.process?.exitCode === null && instance.process.signalCode === null) {
      instance.process.kill("SIGQUIT");
      await instance.process.exited;
    }
    instance.process = null;
    if (pid !== undefined) await this.#until(`${instance.name} is gone`, async () => !isAlive(pid));
    // Children of a killed postmaster end by themselves, each at its own moment.
    await this.#until(`no process works for ${instance.name}`, async () => {
      const found = Bun.spawnSync(["pgrep", "-f", `^postgres: ${instance.name}: `])
        .stdout.toString()
        .trim();
      const ours = found.split("\n").filter((line) => line !== "" && worksIn(Number(line), instance.data));
      return ours.length === 0;
    });
  }

  #sqlOf(instance: Instance): postgres.Sql {
    instance.sql ??= postgres({
      host: instance.home,
      port: instance.port,
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
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + WAIT_MS_MAX;
    while (!(await condition())) {
      if (clock.nowMs() > deadlineMs) throw new Error(`floor: waited in vain until ${what}`);
      await clock.sleep(POLL_MS);
    }
  }

  async #run(program: string, args: readonly string[]): Promise<void> {
    const child = Bun.spawn([join(this.#options.binDirectory, program), ...args], {
      ...this.#identity(),
      cwd: "/",
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    const said = await new Response(child.stderr).text();
    if ((await child.exited) !== 0) throw new Error(`floor: ${program} failed: ${said}`);
  }

  #identity(): { uid?: number; gid?: number; env: Record<string, string> } {
    const { owner } = this.#options;
    const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C" };
    return owner === null ? { env } : { uid: owner.uid, gid: owner.gid, env };
  }
}

function worksIn(pid: number, directory: string): boolean {
  try {
    return (
      readFileSync(`/proc/${pid}/stat`, "utf8") !== "" &&
      Bun.spawnSync(["readlink", `/proc/${pid}/cwd`])
        .stdout.toString()
        .trim() === directory
    );
  } catch {
    // It ended while we looked.
    return false;
  }
}
