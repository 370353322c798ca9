/**
 * Several members on this machine, each with its own processes, directories and ports, as on hosts of their own: for the
 * demo, the end-to-end tests and the benchmark.
 */
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { basename, dirname, join } from "node:path";
import type { ClusterDocument, OperationDocument } from "../api/documents.ts";
import type { Clock } from "../base/clock.ts";
import { ApiClient } from "../cli/client.ts";
import { freePorts } from "./free-ports.ts";

export interface LocalClusterOptions {
  readonly size: number;
  /** How guacamole is started: the binary, or bun and the entry file. */
  readonly command: readonly string[];
  readonly binDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly integer: (min: number, max: number) => number;
  /** Beginning of the temporary directory's name. */
  readonly prefix: string;
  /** Where each member lives; all of them on loopback, told apart by their ports, if it does not say. */
  readonly hosts?: readonly MemberHost[];
}

/** An address, and what leads to the place that has it. */
export interface MemberHost {
  readonly address: string;
  /** Put before a command, it runs there. */
  readonly enter: readonly string[];
}

export interface LocalMember {
  readonly name: string;
  readonly host: MemberHost;
  readonly directory: string;
  readonly configPath: string;
  readonly logPath: string;
  readonly dataDirectory: string;
  readonly socketDirectory: string;
  readonly apiPort: number;
  readonly peerPort: number;
  readonly postgresPort: number;
  readonly api: ApiClient;
  process: Bun.Subprocess | null;
}

interface Owner {
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
}

const LOOPBACK: MemberHost = { address: "127.0.0.1", enter: [] };
const POLL_MS = 20;

export class LocalCluster {
  readonly root: string;
  readonly members: readonly LocalMember[];
  readonly #options: LocalClusterOptions;
  readonly #owner: Owner | null;
  readonly #command: readonly string[];
  readonly binDirectory: string;

  /** Makes the directories and configurations; nothing runs yet. */
  constructor(options: LocalClusterOptions) {
    this.#options = options;
    this.root = mkdtempSync(join(tmpdir(), options.prefix));
    chmodSync(this.root, 0o755);
    this.#owner = process.getuid?.() === 0 ? postgresOwner() : null;
    this.#command = this.#reachable(options.command);
    this.binDirectory = this.#reachableDirectory(options.binDirectory);
    const ports = freePorts(options.size * 3, options.integer);
    this.members = Array.from({ length: options.size }, (_, index) => this.#prepare(index, ports));
  }

  member(name: string): LocalMember {
    const found = this.members.find((each) => each.name === name);
    if (found === undefined) throw new Error(`there is no member ${name}`);
    return found;
  }

  /** Starts a member's own process (which starts its supervisor) and waits until its API answers. */
  async start(member: LocalMember): Promise<void> {
    const output = openSync(member.logPath, "a");
    member.process = Bun.spawn(
      [...member.host.enter, ...this.#command, "run", "--config", member.configPath],
      {
        cwd: this.root,
        stdin: "ignore",
        stdout: output,
        stderr: output,
        env: { ...cleanEnvironment(this.#options.environment) },
      },
    );
    const { process: child } = member;
    await this.until(`${member.name} answers`, 20_000, async () => {
      if (child.exitCode !== null)
        throw new Error(`${member.name} ended: ${readFileSync(member.logPath, "utf8").slice(-2000)}`);
      return (await this.#status(`${member.name} liveness`, member, "/liveness")) !== null;
    });
  }

  /** The first member forms, the others join. @returns the admin token. */
  async form(clusterName: string): Promise<string> {
    const [first, ...others] = this.members;
    if (first === undefined) throw new Error("a cluster has members");
    const { token } = await first.api.post<{ token: string }>("/v1/form", { name: clusterName });
    await this.until(
      "the first member leads",
      20_000,
      async () => (await this.cluster(first))?.raft.leader === first.name,
    );
    for (const member of others) await this.join(member, first);
    return token;
  }

  async join(member: LocalMember, through: LocalMember): Promise<void> {
    const made = await through.api.post<{ token: string }>("/v1/members", {});
    await member.api.post("/v1/join", {
      address: `${through.host.address}:${through.apiPort}`,
      token: made.token,
    });
  }

  /** Builds PostgreSQL on all members and waits until the operation has succeeded. */
  async initialize(onProgress: (operation: OperationDocument) => void = () => {}): Promise<void> {
    const [first] = this.members;
    if (first === undefined) throw new Error("a cluster has members");
    const begun = await first.api.post<OperationDocument>("/v1/cluster/initialize", { primary: first.name });
    await this.until("PostgreSQL is initialised", 120_000, async () => {
      const operation = await first.api.get<OperationDocument>(`/v1/operations/${begun.id}`);
      onProgress(operation);
      if (operation.status === "failed")
        throw new Error(operation.log.at(-1)?.message ?? "initialisation failed");
      return operation.status === "succeeded";
    });
  }

  /** What a member says of the cluster; null if it does not answer. */
  async cluster(member: LocalMember): Promise<ClusterDocument | null> {
    return this.#status<ClusterDocument>("cluster", member, "/v1/cluster");
  }

  /** What the first member that answers says. */
  async anyCluster(): Promise<ClusterDocument | null> {
    for (const member of this.members) {
      if (member.process === null) continue;
      const seen = await this.cluster(member);
      if (seen !== null && seen.raft.leader !== null) return seen;
    }
    return null;
  }

  /** Every data member but the primary streams, and the primary takes writes. */
  async isWhole(): Promise<boolean> {
    const seen = await this.anyCluster();
    return (
      seen?.isWritable === true &&
      seen.members.every(({ role, state }) => role === "primary" || state === "streaming")
    );
  }

  /** Polls until `condition`; the error says what was waited for. */
  async until(what: string, deadlineMs: number, condition: () => Promise<boolean>): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.nowMs() + deadlineMs;
    while (clock.nowMs() < untilMs) {
      if (await condition()) return;
      await clock.sleep(POLL_MS);
    }
    throw new Error(`waited ${deadlineMs} ms in vain until ${what}`);
  }

  postmasterPid(member: LocalMember): number | null {
    try {
      const [line = ""] = readFileSync(join(member.dataDirectory, "postmaster.pid"), "utf8").split("\n");
      return Number(line) > 0 && isAlive(Number(line)) ? Number(line) : null;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
      throw error;
    }
  }

  /** The supervisor of a member, by its command line. */
  supervisorPid(member: LocalMember): number | null {
    const found = processes().find(
      ({ argv }) => argv.includes("supervise") && argv.includes(member.dataDirectory),
    );
    return found?.pid ?? null;
  }

  /** SIGKILL to the postmaster alone. */
  killPostmaster(member: LocalMember): void {
    const pid = this.postmasterPid(member);
    if (pid !== null) process.kill(pid, "SIGKILL");
  }

  /** SIGKILL to the member's own process alone: supervisor and PostgreSQL go on. */
  async killMemberProcess(member: LocalMember): Promise<void> {
    member.process?.kill("SIGKILL");
    await member.process?.exited;
    member.process = null;
  }

  /** SIGKILL to everything of a member, as if its host lost power. Resolves once all of it is gone. */
  async killEverything(member: LocalMember): Promise<void> {
    // The member first: it would start a new supervisor.
    await this.killMemberProcess(member);
    await this.until(`${member.name} is gone`, 10_000, async () => {
      const left = this.#processesOf(member);
      for (const pid of left) killQuietly(pid, "SIGKILL");
      return left.length === 0;
    });
  }

  /** Everything of a member stands still, as if its host did, until `thawEverything`. */
  freezeEverything(member: LocalMember): void {
    for (const pid of this.#allOf(member)) killQuietly(pid, "SIGSTOP");
  }

  thawEverything(member: LocalMember): void {
    for (const pid of this.#allOf(member)) killQuietly(pid, "SIGCONT");
  }

  #allOf(member: LocalMember): readonly number[] {
    const own = member.process?.pid;
    return [...(own === undefined ? [] : [own]), ...this.#processesOf(member)];
  }

  /** Its supervisor, PostgreSQL, and the programs that work on its data, whoever their parents are by now. */
  #processesOf(member: LocalMember): readonly number[] {
    const data = member.dataDirectory;
    return processes()
      .filter(({ pid, argv }) => {
        const isOfData = argv.slice(1).some((argument) => argument.includes(data));
        const isOurs = argv.includes("supervise") || argv[0]?.startsWith(this.binDirectory) === true;
        return (isOfData && isOurs) || workingDirectory(pid) === data;
      })
      .map(({ pid }) => pid);
  }

  /** Ends everything and removes all files. */
  async remove(): Promise<void> {
    for (const member of this.members) await this.killEverything(member);
    rmSync(this.root, { recursive: true, force: true });
  }

  #prepare(index: number, ports: readonly number[]): LocalMember {
    const name = `m${index + 1}`;
    const directory = join(this.root, name);
    const [apiPort = 0, peerPort = 0, postgresPort = 0] = ports.slice(index * 3);
    const place = join(directory, "postgres");
    const socketDirectory = join(directory, "run");
    for (const each of [directory, place, socketDirectory]) {
      mkdirSync(each, { mode: 0o755 });
      if (this.#owner !== null && each !== directory) chownSync(each, this.#owner.uid, this.#owner.gid);
    }
    const member: LocalMember = {
      name,
      host: this.#options.hosts?.[index] ?? LOOPBACK,
      directory,
      configPath: join(directory, "guacamole.toml"),
      logPath: join(directory, "guacamole.log"),
      dataDirectory: join(place, "data"),
      socketDirectory,
      apiPort,
      peerPort,
      postgresPort,
      api: new ApiClient({
        token: null,
        targets: [{ kind: "unix", path: join(directory, "member", "api.sock") }],
      }),
      process: null,
    };
    writeFileSync(member.configPath, this.#config(member));
    return member;
  }

  #config(member: LocalMember): string {
    const user = this.#owner?.user ?? userInfo().username;
    const { address } = member.host;
    return `name = "${member.name}"
data-dir = "${join(member.directory, "member")}"

[api]
listen = "${address}:${member.apiPort}"
[peer]
listen = "${address}:${member.peerPort}"

[postgres]
bin-dir = "${this.binDirectory}"
data-dir = "${member.dataDirectory}"
listen = "${address}:${member.postgresPort}"
socket-dir = "${member.socketDirectory}"
user = "${user}"
`;
  }

  /** As root, PostgreSQL's user must be able to run this binary too: a copy in a place that it can read. */
  #reachable(command: readonly string[]): readonly string[] {
    const [program = "", ...rest] = command;
    if (this.#owner === null || canRun(this.#owner, [...command, "version"])) return command;
    const copy = join(this.root, basename(program));
    cpSync(program, copy);
    chmodSync(copy, 0o755);
    return [copy, ...rest];
  }

  #reachableDirectory(binDirectory: string): string {
    if (this.#owner === null || canRun(this.#owner, [join(binDirectory, "postgres"), "--version"]))
      return binDirectory;
    const copy = join(this.root, "postgresql");
    cpSync(dirname(binDirectory), copy, { recursive: true });
    return join(copy, basename(binDirectory));
  }

  async #status<T>(what: string, member: LocalMember, path: string): Promise<T | null> {
    try {
      return await member.api.get<T>(path, 2_000);
    } catch (error) {
      // Not there (yet, or any more): what the caller polls for.
      if (error instanceof Error && error.name === "CliError") return null;
      throw new Error(`${what}: ${member.name} answered with something unexpected`, { cause: error });
    }
  }
}

/** PostgreSQL refuses root: its own system user where there is one, else `nobody`. */
function postgresOwner(): Owner {
  for (const user of ["postgres", "nobody"]) {
    const uid = Bun.spawnSync(["id", "-u", user]);
    const gid = Bun.spawnSync(["id", "-g", user]);
    if (uid.success && gid.success)
      return { user, uid: Number(uid.stdout.toString()), gid: Number(gid.stdout.toString()) };
  }
  throw new Error(
    "this host has neither a user 'postgres' nor 'nobody', and PostgreSQL does not run as root",
  );
}

function canRun(owner: Owner, command: readonly string[]): boolean {
  const { uid, gid } = owner;
  const { success } = Bun.spawnSync([...command], { uid, gid, cwd: "/", stdout: "ignore", stderr: "ignore" });
  return success;
}

/** Nothing of ours that this process was started with may reach the members. */
function cleanEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value === undefined || /^(GUACAMOLE_|PG)/.test(name) ? [] : [[name, value]],
    ),
  );
}

export function isAlive(pid: number): boolean {
  try {
    // A zombie has ended: only its parent has not asked yet.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Null where it ended meanwhile, or is another user's. */
function workingDirectory(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function processes(): readonly { readonly pid: number; readonly argv: readonly string[] }[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        return [{ pid: Number(name), argv }];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}
