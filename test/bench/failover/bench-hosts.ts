/**
 * Hosts for the benchmark of failovers: a network namespace each, with a directory of its own. What runs there is found
 * by its namespace, so that a host can die whole, whoever's programs they are and whoever their parents are by now.
 */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Clock } from "../../../src/base/clock.ts";
import { isAlive } from "../../../src/demo/local-cluster.ts";
import { remember, removed } from "../../support/left-behind.ts";
import { type NamespaceHost, NamespaceNetwork } from "../../support/network-namespaces.ts";

export interface BenchHost extends NamespaceHost {
  readonly directory: string;
}

/** PostgreSQL refuses root, and so does everything that starts it. */
const USER = "postgres";
export const AS_USER = ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--init-groups"];
const GONE_MS_MAX = 20_000;

export class BenchHosts {
  readonly hosts: readonly BenchHost[];
  readonly #network: NamespaceNetwork;
  readonly #root: string;
  readonly #clock: Clock;

  constructor(size: number, clock: Clock) {
    this.#clock = clock;
    this.#network = new NamespaceNetwork(size);
    // Where this process is told to end: what runs there is found by its namespace, so the network goes last.
    removed(this.#network);
    remember(this);
    this.#root = mkdtempSync(join(tmpdir(), "guacamole-bench-hosts-"));
    chmodSync(this.#root, 0o755);
    this.hosts = this.#network.hosts.map((host, index) => {
      const directory = join(this.#root, `h${index + 1}`);
      mkdirSync(directory, { mode: 0o755 });
      chownSync(directory, idOf("-u"), idOf("-g"));
      return { ...host, directory };
    });
  }

  host(index: number): BenchHost {
    const found = this.hosts[index];
    if (found === undefined) throw new Error(`there is no host ${index + 1}`);
    return found;
  }

  /** Starts a program as PostgreSQL's user; what it says goes to a file in the host's directory. */
  spawn(host: BenchHost, argv: readonly string[], log: string, env: Readonly<Record<string, string>> = {}) {
    const output = openSync(join(host.directory, log), "a");
    return Bun.spawn([...host.enter, ...AS_USER, ...argv], {
      cwd: host.directory,
      stdio: ["ignore", output, output],
      env: environment(host, env),
    });
  }

  /** Runs a program as PostgreSQL's user to its end. @returns what it printed. @throws with what it complained of. */
  async run(
    host: BenchHost,
    argv: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const child = Bun.spawn([...host.enter, ...AS_USER, ...argv], {
      cwd: host.directory,
      stdio: ["ignore", "pipe", "pipe"],
      env: environment(host, env),
    });
    const [printed, complaint] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if ((await child.exited) !== 0) throw new Error(`${argv.join(" ")} failed: ${complaint}${printed}`);
    return printed;
  }

  /** Everything that runs on a host. */
  pids(host: NamespaceHost): readonly number[] {
    const said = Bun.spawnSync(["ip", "netns", "pids", host.name]).stdout.toString();
    return said.split("\n").filter(Boolean).map(Number).filter(isAlive);
  }

  /** Of these, PostgreSQL's: postmasters and their children. */
  postgresPids(host: NamespaceHost): readonly number[] {
    return this.pids(host).filter((pid) => programOf(pid) === "postgres");
  }

  /** Its cable is drawn and its power lost, in this order: nobody hears it end. */
  async die(host: NamespaceHost): Promise<void> {
    this.#network.unplug(this.#own(host));
    await this.#killAll(host);
  }

  /** What this host sends to another one no longer arrives, nor the other way round; this process reaches all. */
  cutOff(host: NamespaceHost): void {
    for (const other of this.hosts) {
      if (other.name !== host.name) this.#network.cutBothWays(this.#own(host), this.#own(other));
    }
  }

  mend(): void {
    this.#network.mend();
  }

  /** Stops all of `find`, those too that are started meanwhile. @returns whom to wake again. */
  freeze(find: () => readonly number[]): readonly number[] {
    const frozen = new Set<number>();
    for (;;) {
      const moving = find().filter((pid) => !frozen.has(pid));
      if (moving.length === 0) return [...frozen];
      for (const pid of moving) {
        signal(pid, "SIGSTOP");
        frozen.add(pid);
      }
    }
  }

  wake(pids: readonly number[]): void {
    for (const pid of pids) signal(pid, "SIGCONT");
  }

  async remove(): Promise<void> {
    for (const host of this.hosts) await this.#killAll(host);
    this.#network.remove();
    rmSync(this.#root, { recursive: true, force: true });
    removed(this);
  }

  async #killAll(host: NamespaceHost): Promise<void> {
    const untilMs = this.#clock.nowMs() + GONE_MS_MAX;
    for (;;) {
      const left = this.pids(host);
      if (left.length === 0) return;
      if (this.#clock.nowMs() > untilMs) throw new Error(`processes do not end: ${left.join(" ")}`);
      for (const pid of left) signal(pid, "SIGKILL");
      await this.#clock.sleep(5);
    }
  }

  /** The network knows its hosts by identity. */
  #own({ name }: NamespaceHost): NamespaceHost {
    const found = this.#network.hosts.find((each) => each.name === name);
    if (found === undefined) throw new Error(`${name} is not of this network`);
    return found;
  }
}

/** Null: none that runs. */
export function postmasterPid(dataDirectory: string): number | null {
  try {
    const pid = Number(readFileSync(join(dataDirectory, "postmaster.pid"), "utf8").split("\n")[0]);
    return pid > 0 && isAlive(pid) ? pid : null;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended by itself meanwhile.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** The command line of a process; empty where it ended. */
export function commandOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").filter(Boolean);
  } catch {
    return [];
  }
}

function programOf(pid: number): string {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    // It ended while we looked.
    return "";
  }
}

function environment(host: BenchHost, extra: Readonly<Record<string, string>>): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", LC_ALL: "C", HOME: host.directory, ...extra };
}

function idOf(option: "-u" | "-g"): number {
  return Number(Bun.spawnSync(["id", option, USER]).stdout.toString());
}
