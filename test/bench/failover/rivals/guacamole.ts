/** What this repository builds: three members of the compiled binary. */

import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ClusterDocument, OperationDocument } from "../../../../src/api/documents.ts";
import { DEFAULT_FAILOVER } from "../../../../src/cluster/spec.ts";
import { LocalCluster } from "../../../../src/demo/local-cluster.ts";
import { UNIT_PRIORITY } from "../../../support/unit-priority.ts";
import { AS_USER, BenchHosts, commandOf } from "../bench-hosts.ts";
import type { Mode, Rival, RivalServer } from "../rival.ts";
import type { Scenario } from "../scenario.ts";
import type { RivalOptions } from "./common-ground.ts";

export interface GuacamoleOptions extends RivalOptions {
  readonly binary: string;
  readonly integer: (min: number, max: number) => number;
  /** Where the members' logs are copied to before they are removed. */
  readonly logsDirectory: string | null;
}

const SWITCHOVER_MS_MAX = 60_000;
/** The default `calmMs`, and a little for the clocks of two processes. */
const CALM_MS = DEFAULT_FAILOVER.calmMs + 500;
const WHOLE_MS_MAX = 60_000;
/** Of a postmaster's end its supervisor tells, and a switchover is asked for: neither waits for a silence to last. */
const JUDGED_BY_SILENCE: ReadonlySet<Scenario> = new Set(["host-death", "partition", "frozen-postgres"]);

export class GuacamoleServers implements Rival {
  readonly system = "guacamole";
  readonly tuning = "default";
  readonly mode: Mode;
  readonly version: string;
  readonly settings: string;
  readonly hosts: BenchHosts;
  readonly servers: readonly RivalServer[];
  readonly #cluster: LocalCluster;
  readonly #logsDirectory: string | null;
  #token = "";

  constructor({ mode, binDirectory, binary, clock, integer, logsDirectory }: GuacamoleOptions) {
    this.mode = mode;
    const said = Bun.spawnSync([binary, "version"]).stdout.toString().trim();
    this.version = said.split("\n")[0] ?? "";
    const durability = mode === "sync" ? "as it comes (quorum, ANY 1)" : "as it comes, durability async";
    this.settings = `${durability}, Nice=-10 as in the README's unit`;
    this.#logsDirectory = logsDirectory;
    this.hosts = new BenchHosts(3, clock);
    this.#cluster = new LocalCluster({
      size: 3,
      command: [binary],
      binDirectory,
      environment: process.env,
      clock,
      integer,
      prefix: "guacamole-bench-",
      // As the README's unit has it: PostgreSQL's user, so that the supervisor may start a member again that hangs.
      hosts: this.hosts.hosts.map((host) => ({
        ...host,
        enter: [...UNIT_PRIORITY, ...host.enter, ...AS_USER],
      })),
    });
    for (const { directory, dataDirectory } of this.#cluster.members) {
      const { uid, gid } = statSync(dirname(dataDirectory));
      chownSync(directory, uid, gid);
    }
    this.servers = this.#cluster.members.map((member) => ({
      name: member.name,
      host: member.host.address,
      port: member.postgresPort,
      dataDirectory: member.dataDirectory,
      socketDirectory: member.socketDirectory,
    }));
  }

  async bringUp(): Promise<void> {
    const { members } = this.#cluster;
    await Promise.all(members.map((member) => this.#cluster.start(member)));
    this.#token = await this.#cluster.form("bench");
    await this.#cluster.initialize();
    if (this.mode === "async") {
      await members[0]?.api.patch<ClusterDocument>("/v1/topology", { durability: { mode: "async" } });
    }
    await this.#cluster.until("every member streams", WHOLE_MS_MAX, () => this.isSettled(null));
  }

  /** What a client of a member's API needs: where it listens, a token for everything, and whose certificates to believe. */
  access(name: string): { readonly origin: string; readonly token: string; readonly caPem: string } {
    const { host, apiPort, directory } = this.#cluster.member(name);
    const caPem = readFileSync(join(directory, "member", "tls", "ca.crt"), "utf8");
    return { origin: `https://${host.address}:${apiPort}`, token: this.#token, caPem };
  }

  /** Who is primary and who leads, by name. */
  async leaders(): Promise<{ readonly primary: string; readonly leader: string }> {
    const seen = await this.#cluster.anyCluster();
    if (seen?.reign == null || seen.raft.leader === null)
      throw new Error("the cluster has no primary, or no leader");
    return { primary: seen.reign.primary, leader: seen.raft.leader };
  }

  agents(index: number): readonly number[] {
    const { configPath } = this.#member(index);
    // Whoever started it: it may be the supervisor that did.
    return this.hosts.pids(this.hosts.host(index)).filter((pid) => commandOf(pid).includes(configPath));
  }

  async switchover(): Promise<void> {
    const seen = await this.#cluster.anyCluster();
    if (seen?.reign == null) throw new Error("the cluster has no primary");
    const primary = this.#cluster.member(seen.reign.primary);
    await primary.api.post<OperationDocument>("/v1/switchover", {});
    await this.#cluster.until("the switchover is over", SWITCHOVER_MS_MAX, async () => {
      const now = await this.#cluster.anyCluster();
      return now !== null && now.switchover === null && now.runningOperations.length === 0;
    });
  }

  async react(): Promise<void> {
    // It has eyes of its own.
  }

  async restore(index: number): Promise<void> {
    if (this.agents(index).length === 0) await this.#cluster.start(this.#member(index));
  }

  /** Within `calmMs` of a failover silence must last twice as long, on purpose: what is measured is a failure by itself. */
  async isSettled(next: Scenario | null): Promise<boolean> {
    const seen = await this.#cluster.anyCluster();
    if (seen?.reign == null) return false;
    const isCalm = seen.failoverCount === 0 || Date.now() - Date.parse(seen.reign.since) > CALM_MS;
    return (
      (isCalm || next === null || !JUDGED_BY_SILENCE.has(next)) &&
      seen.isWritable === true &&
      seen.switchover === null &&
      seen.runningOperations.length === 0 &&
      seen.members.every(({ role, state }) => role === "primary" || state === "streaming")
    );
  }

  async remove(): Promise<void> {
    this.#keepLogs();
    await this.hosts.remove();
    await this.#cluster.remove();
  }

  #keepLogs(): void {
    if (this.#logsDirectory === null) return;
    mkdirSync(this.#logsDirectory, { recursive: true });
    for (const { name, logPath, dataDirectory } of this.#cluster.members) {
      const copy = join(this.#logsDirectory, `${this.mode}-${name}`);
      const serverLog = `${dataDirectory}.guacamole/postgresql.log`;
      if (existsSync(logPath)) copyFileSync(logPath, `${copy}.log`);
      if (existsSync(serverLog)) copyFileSync(serverLog, `${copy}.postgresql.log`);
    }
  }

  #member(index: number) {
    const found = this.#cluster.members[index];
    if (found === undefined) throw new Error(`there is no member ${index}`);
    return found;
  }
}
