/** Patroni with etcd beside it on the same three hosts, as Debian packages both. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../../../src/base/clock.ts";
import { type BenchHost, BenchHosts } from "../bench-hosts.ts";
import type { Mode, Rival, RivalServer, Tuning } from "../rival.ts";
import { PORT, type RivalOptions, serversOn, TRUST_RULES } from "./common-ground.ts";

interface Timing {
  readonly patroni: Readonly<Record<string, number>>;
  readonly etcd: readonly string[];
  readonly postgres: Readonly<Record<string, string>>;
  readonly text: string;
}

const TIMINGS: Readonly<Record<Tuning, Timing>> = {
  default: {
    patroni: { ttl: 30, loop_wait: 10, retry_timeout: 10 },
    etcd: [],
    postgres: {},
    text: "ttl 30, loop_wait 10, retry_timeout 10, primary_start_timeout 300, etcd 100/1000 ms",
  },
  tight: {
    patroni: { ttl: 20, loop_wait: 1, retry_timeout: 3, primary_start_timeout: 0 },
    etcd: ["--heartbeat-interval=50", "--election-timeout=500"],
    postgres: { wal_retrieve_retry_interval: "100ms" },
    text: "ttl 20, loop_wait 1, retry_timeout 3, primary_start_timeout 0, etcd 50/500 ms, wal_retrieve_retry_interval 100 ms",
  },
};

const API_PORT = 8008;
const ETCD_PORT = 2379;
const ETCD_PEER_PORT = 2380;
const ANSWER_MS_MAX = 2_000;
const SWITCHOVER_MS_MAX = 90_000;
const WAIT_MS_MAX = 120_000;
const POLL_MS = 100;

interface Programs {
  readonly etcd: Bun.Subprocess;
  readonly patroni: Bun.Subprocess;
}

interface ClusterAnswer {
  readonly members: readonly { readonly name: string; readonly role: string; readonly state: string }[];
}

export class PatroniServers implements Rival {
  readonly system = "patroni";
  readonly tuning: Tuning;
  readonly mode: Mode;
  readonly version: string;
  readonly settings: string;
  readonly hosts: BenchHosts;
  readonly servers: readonly RivalServer[];
  readonly #binDirectory: string;
  readonly #clock: Clock;
  readonly #running = new Map<number, Programs>();

  /** Null: it is not on this machine. */
  static versions(): string | null {
    const patroni = Bun.which("patroni");
    const etcd = Bun.which("etcd");
    if (patroni === null || etcd === null) return null;
    const said = (argv: string[], pattern: RegExp): string =>
      pattern.exec(Bun.spawnSync(argv).stdout.toString())?.[1] ?? "of an unknown version";
    return `Patroni ${said([patroni, "--version"], /patroni (\S+)/)} with etcd ${said([etcd, "--version"], /etcd Version: (\S+)/)}`;
  }

  constructor(tuning: Tuning, { mode, binDirectory, clock }: RivalOptions) {
    this.tuning = tuning;
    this.mode = mode;
    this.version = PatroniServers.versions() ?? "";
    this.settings = `${TIMINGS[tuning].text}${mode === "sync" ? ", synchronous_mode on" : ""}`;
    this.#binDirectory = binDirectory;
    this.#clock = clock;
    this.hosts = new BenchHosts(3, clock);
    this.servers = serversOn(this.hosts);
  }

  async bringUp(): Promise<void> {
    for (const [index, server] of this.servers.entries()) {
      const file = join(this.hosts.host(index).directory, "patroni.yml");
      // JSON is YAML, too.
      writeFileSync(file, JSON.stringify(this.#configuration(server), null, 2));
    }
    await Promise.all(this.servers.map((_, index) => this.restore(index)));
    await this.#until("the cluster runs", () => this.isSettled());
  }

  agents(index: number): readonly number[] {
    const pid = this.#running.get(index)?.patroni.pid;
    return pid === undefined ? [] : [pid];
  }

  /** Where the API of the one that leads listens, without a slash at its end. */
  async leaderOrigin(): Promise<string> {
    const leader = (await this.#cluster())?.members.find(({ role }) => role === "leader");
    if (leader === undefined) throw new Error("Patroni names no leader");
    return this.#url(leader.name, "");
  }

  async switchover(): Promise<void> {
    const leader = (await this.#cluster())?.members.find(({ role }) => role === "leader");
    if (leader === undefined) throw new Error("Patroni names no leader");
    const answer = await fetch(this.#url(leader.name, "/switchover"), {
      method: "POST",
      body: JSON.stringify({ leader: leader.name }),
      signal: AbortSignal.timeout(SWITCHOVER_MS_MAX),
    });
    if (!answer.ok) throw new Error(`Patroni refuses the switchover: ${await answer.text()}`);
  }

  async react(): Promise<void> {
    // It has eyes of its own.
  }

  async restore(index: number): Promise<void> {
    const host = this.hosts.host(index);
    const { etcd, patroni } = this.#running.get(index) ?? { etcd: null, patroni: null };
    this.#running.set(index, {
      etcd: isRunning(etcd) ? etcd : this.#startEtcd(index, host),
      patroni: isRunning(patroni)
        ? patroni
        : this.hosts.spawn(
            host,
            [Bun.which("patroni") ?? "patroni", join(host.directory, "patroni.yml")],
            "patroni.log",
          ),
    });
  }

  async isSettled(): Promise<boolean> {
    const members = (await this.#cluster())?.members ?? [];
    const leaders = members.filter(({ role }) => role === "leader");
    const synchronous = members.filter(({ role }) => role === "sync_standby");
    return (
      members.length === this.servers.length &&
      members.every(({ state }) => state === "running" || state === "streaming") &&
      leaders.length === 1 &&
      (this.mode === "async" || synchronous.length > 0)
    );
  }

  async remove(): Promise<void> {
    await this.hosts.remove();
  }

  #startEtcd(index: number, host: BenchHost) {
    const peers = this.servers.map((each) => `${each.name}=http://${each.host}:${ETCD_PEER_PORT}`).join(",");
    const own = `http://${host.address}`;
    const flags: Readonly<Record<string, string>> = {
      name: this.servers[index]?.name ?? "",
      "data-dir": join(host.directory, "etcd"),
      "listen-client-urls": `${own}:${ETCD_PORT}`,
      "advertise-client-urls": `${own}:${ETCD_PORT}`,
      "listen-peer-urls": `${own}:${ETCD_PEER_PORT}`,
      "initial-advertise-peer-urls": `${own}:${ETCD_PEER_PORT}`,
      "initial-cluster": peers,
      "initial-cluster-state": "new",
    };
    const argv = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const program = Bun.which("etcd") ?? "etcd";
    return this.hosts.spawn(host, [program, ...argv, ...TIMINGS[this.tuning].etcd], "etcd.log");
  }

  #configuration({ name, host, dataDirectory, socketDirectory }: RivalServer): unknown {
    const timing = TIMINGS[this.tuning];
    return {
      scope: "bench",
      name,
      restapi: { listen: `${host}:${API_PORT}`, connect_address: `${host}:${API_PORT}` },
      etcd3: { hosts: this.servers.map((each) => `${each.host}:${ETCD_PORT}`) },
      bootstrap: {
        dcs: {
          ...timing.patroni,
          synchronous_mode: this.mode === "sync",
          postgresql: { use_pg_rewind: true, use_slots: true, parameters: timing.postgres },
        },
        initdb: ["data-checksums", { encoding: "UTF8" }, { locale: "C" }],
      },
      postgresql: {
        listen: `${host}:${PORT}`,
        connect_address: `${host}:${PORT}`,
        data_dir: dataDirectory,
        bin_dir: this.#binDirectory,
        pgpass: join(socketDirectory, "pgpass"),
        authentication: {
          superuser: { username: "postgres", password: "bench" },
          replication: { username: "replicator", password: "bench" },
          rewind: { username: "rewinder", password: "bench" },
        },
        parameters: { unix_socket_directories: socketDirectory },
        pg_hba: TRUST_RULES,
      },
    };
  }

  /** As the first that answers tells it; null: nobody does. */
  async #cluster(): Promise<ClusterAnswer | null> {
    for (const { name } of this.servers) {
      try {
        const signal = AbortSignal.timeout(ANSWER_MS_MAX);
        const answer = await fetch(this.#url(name, "/cluster"), { signal });
        if (answer.ok) return (await answer.json()) as ClusterAnswer;
      } catch {
        // It is not there (yet, or any more): the next one is asked.
      }
    }
    return null;
  }

  #url(name: string, path: string): string {
    const host = this.servers.find((each) => each.name === name)?.host ?? "";
    return `http://${host}:${API_PORT}${path}`;
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const untilMs = this.#clock.nowMs() + WAIT_MS_MAX;
    while (!(await condition())) {
      if (this.#clock.nowMs() > untilMs) throw new Error(`Patroni: waited in vain until ${what}`);
      await this.#clock.sleep(POLL_MS);
    }
  }
}

function isRunning(child: Bun.Subprocess | null): child is Bun.Subprocess {
  return child !== null && child.exitCode === null && child.signalCode === null;
}
