/** Three etcd processes on this machine: built, broken and mended as often as the benchmark wants. */
import { mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { freePorts } from "../../../src/demo/free-ports.ts";
import { EtcdClient, type EtcdStatus } from "./etcd-client.ts";

export interface EtcdTiming {
  readonly heartbeatMs: number;
  readonly electionMs: number;
}

export interface EtcdOptions {
  readonly program: string;
  /** Holds the data of all three; removed with them. */
  readonly directory: string;
  /** Null: etcd's own, 100 ms and 1 s. */
  readonly timing: EtcdTiming | null;
  readonly integer: (min: number, max: number) => number;
}

interface EtcdMember {
  readonly name: string;
  readonly port: number;
  readonly peerPort: number;
  process: Subprocess | null;
  client: EtcdClient;
}

const HOST = "127.0.0.1";
const POLL_MS = 10;
const READY_MS_MAX = 30_000;

export class EtcdTrio {
  readonly #options: EtcdOptions;
  readonly #members: readonly EtcdMember[];

  constructor(options: EtcdOptions) {
    this.#options = options;
    const ports = freePorts(6, options.integer);
    this.#members = [0, 1, 2].map((at) => {
      const port = ports[2 * at] ?? 0;
      return {
        name: `e${at + 1}`,
        port,
        peerPort: ports[2 * at + 1] ?? 0,
        process: null,
        client: new EtcdClient(port),
      };
    });
  }

  get pids(): readonly number[] {
    return this.#members.flatMap(({ process: child }) => (child === null ? [] : [child.pid]));
  }

  async start(): Promise<void> {
    mkdirSync(this.#options.directory, { recursive: true });
    for (const member of this.#members) this.#spawn(member);
    await this.whole();
  }

  /** Waits until all three know the same leader and have applied the same. */
  async whole(): Promise<void> {
    await this.#until("three members follow one leader", async () => {
      const seen = await Promise.all(this.#members.map((member) => this.#status(member)));
      const [first] = seen;
      return (
        first != null &&
        first.leaderId !== 0n &&
        seen.every((each) => each?.leaderId === first.leaderId && each.appliedIndex === first.appliedIndex)
      );
    });
  }

  /** Where the leader takes clients. */
  async leaderPort(): Promise<number> {
    return (await this.#leader()).port;
  }

  /**
   * SIGKILL to the leader; puts go to both others all the time.
   *
   * @returns how long it took until one of the puts was acknowledged.
   */
  async replaceLeader(): Promise<number> {
    const leader = await this.#leader();
    const others = this.#members.filter((member) => member !== leader);
    const fromMs = performance.now();
    await this.#kill(leader);
    const acknowledged = Promise.withResolvers<number>();
    let isOver = false;
    const value = new Uint8Array(256);
    while (!isOver) {
      // One that was sent while nobody led is not answered for seconds, so none is waited for.
      for (const { client } of others) {
        client.put("replaced", value).then(
          () => {
            isOver = true;
            acknowledged.resolve(performance.now() - fromMs);
          },
          () => undefined,
        );
      }
      await Bun.sleep(POLL_MS);
    }
    const tookMs = await acknowledged.promise;
    this.#spawn(leader);
    await this.whole();
    return tookMs;
  }

  /** Ends a follower, lets `meanwhile` happen, and starts it again. @returns how long until it had caught up. */
  async catchUp(meanwhile: () => Promise<void>): Promise<number> {
    const leader = await this.#leader();
    const follower = this.#members.find((member) => member !== leader);
    if (follower === undefined) throw new Error("an etcd group of three has a follower");
    await this.#kill(follower);
    await meanwhile();
    const { appliedIndex } = await leader.client.status();
    const fromMs = performance.now();
    this.#spawn(follower);
    await this.#until("the follower has caught up", async () => {
      const seen = await this.#status(follower);
      return seen !== null && seen.appliedIndex >= appliedIndex;
    });
    return performance.now() - fromMs;
  }

  async remove(): Promise<void> {
    for (const member of this.#members) {
      await this.#kill(member);
      member.client.close();
    }
    rmSync(this.#options.directory, { recursive: true, force: true });
  }

  #spawn(member: EtcdMember): void {
    const { program, directory, timing } = this.#options;
    const url = (port: number): string => `http://${HOST}:${port}`;
    const output = openSync(join(directory, `${member.name}.log`), "a");
    const group = this.#members.map(({ name, peerPort }) => `${name}=${url(peerPort)}`).join(",");
    const flags: Readonly<Record<string, string>> = {
      name: member.name,
      "data-dir": join(directory, member.name),
      "listen-client-urls": url(member.port),
      "advertise-client-urls": url(member.port),
      "listen-peer-urls": url(member.peerPort),
      "initial-advertise-peer-urls": url(member.peerPort),
      "initial-cluster": group,
      "initial-cluster-state": "new",
      ...(timing === null
        ? {}
        : {
            "heartbeat-interval": String(timing.heartbeatMs),
            "election-timeout": String(timing.electionMs),
          }),
    };
    member.process = Bun.spawn(
      [program, ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)],
      {
        stdio: ["ignore", output, output],
        // Its own variables would override the flags.
        env: { PATH: process.env["PATH"] ?? "" },
      },
    );
    member.client.close();
    member.client = new EtcdClient(member.port);
  }

  async #kill(member: EtcdMember): Promise<void> {
    member.process?.kill("SIGKILL");
    await member.process?.exited;
    member.process = null;
  }

  async #leader(): Promise<EtcdMember> {
    for (const member of this.#members) {
      const seen = await this.#status(member);
      if (seen !== null && seen.leaderId === seen.memberId) return member;
    }
    throw new Error("etcd has no leader");
  }

  /** Null while it does not answer; then the next question goes over a new connection. */
  async #status(member: EtcdMember): Promise<EtcdStatus | null> {
    try {
      return await member.client.status();
    } catch {
      member.client.close();
      member.client = new EtcdClient(member.port);
      return null;
    }
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const untilMs = performance.now() + READY_MS_MAX;
    while (!(await condition())) {
      if (performance.now() > untilMs)
        throw new Error(`etcd: waited ${READY_MS_MAX} ms in vain until ${what}`);
      await Bun.sleep(POLL_MS);
    }
  }
}
