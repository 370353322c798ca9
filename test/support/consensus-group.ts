/**
 * A control plane of several members and nothing else: the compiled binary without PostgreSQL (witnesses), formed and
 * joined through the API. What is done to their processes is here; what is done to their network, with their hosts.
 */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterDocument, ConsensusDocument } from "../../src/api/documents.ts";
import { assert, defined } from "../../src/base/assert.ts";
import { ApiClient } from "../../src/cli/client.ts";
import { remember, removed } from "./left-behind.ts";
import { nextPort } from "./ports-in-turn.ts";
import { realClock } from "./postgres-clock.ts";
import { bareEnvironment, testedBinary } from "./tested-binary.ts";

/** Where a member lives: an address, and what leads there. */
export interface GroupHost {
  readonly address: string;
  /** Put before a command, it runs on this host. */
  readonly enter: readonly string[];
}

export interface GroupMember {
  readonly name: string;
  readonly host: GroupHost;
  readonly directory: string;
  readonly dataDirectory: string;
  readonly configPath: string;
  readonly logPath: string;
  /** host:port of its API. */
  readonly apiAddress: string;
  /** Over its own socket, as its owner. */
  readonly local: ApiClient;
  process: Bun.Subprocess | null;
}

/** What a client needs to be let in. */
export interface GroupAccess {
  readonly token: string;
  readonly caPem: string;
}

export interface AgreedLeader {
  readonly leader: GroupMember;
  readonly term: number;
}

/** What a member logged when its part in Raft changed. */
export interface RoleChange {
  readonly role: string;
  readonly term: number;
}

const DIRECTORY_BEGIN = "guacamole-group-";
const DIRECTORY_OWNER = /^guacamole-group-(\d+)-/;
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 15_000;
const AGREE_MS_MAX = 30_000;
const ASK_MS_MAX = 1_000;
const POLL_MS = 20;
const LOG_LINES_SHOWN = 60;

/** All on this host's loopback, told apart by their ports. */
export function loopbackHosts(size: number): readonly GroupHost[] {
  return Array.from({ length: size }, () => ({ address: "127.0.0.1", enter: [] }));
}

export class ConsensusGroup {
  readonly members: readonly GroupMember[];
  /** Running, but no part of the group at the moment. */
  readonly outsiders = new Set<GroupMember>();
  readonly #root: string;
  #access: GroupAccess | null = null;

  /** Makes the directories and configurations; nothing runs yet. */
  constructor(hosts: readonly GroupHost[]) {
    removeLeftovers();
    this.#root = mkdtempSync(join(tmpdir(), `${DIRECTORY_BEGIN}${process.pid}-`));
    this.members = hosts.map((host, index) => this.#prepare(host, index));
    remember(this);
  }

  get access(): GroupAccess {
    return defined(this.#access, "the group was formed");
  }

  member(name: string): GroupMember {
    return defined(
      this.members.find((each) => each.name === name),
      `there is a member ${name}`,
    );
  }

  othersThan(...excepted: readonly GroupMember[]): readonly GroupMember[] {
    return this.members.filter((member) => !excepted.includes(member));
  }

  /** Starts all; the first forms, the others join; returns once all of them vote and agree. */
  async form(): Promise<void> {
    await Promise.all(this.members.map((member) => this.start(member)));
    const [first, ...others] = this.members;
    assert(first !== undefined, "a group has members");
    const { token, caPem } = await first.local.post<GroupAccess>("/v1/form", { name: "group" });
    this.#access = { token, caPem };
    await this.until("the first member leads", AGREE_MS_MAX, async () => (await this.leader()) === first);
    for (const member of others) await this.join(member, first);
    await this.untilAllVote();
  }

  async untilAllVote(): Promise<void> {
    const names = this.members.map(({ name }) => name).join();
    await this.until("all of them vote", AGREE_MS_MAX, async () => {
      const seen = await Promise.all(this.members.map((member) => this.ask(member)));
      return seen.every((each) => each?.raft.voters.toSorted().join() === names);
    });
  }

  /** Admits a member that has started and belongs to nothing yet. */
  async join(
    member: GroupMember,
    through: GroupMember,
    admission: { readonly replaces?: string } = {},
  ): Promise<void> {
    const made = await through.local.post<{ token: string }>("/v1/members", admission);
    await member.local.post("/v1/join", { address: through.apiAddress, token: made.token });
  }

  /** Returns once its API answers. */
  async start(member: GroupMember): Promise<void> {
    assert(member.process === null, `${member.name} does not run yet`);
    const output = openSync(member.logPath, "a");
    const child = Bun.spawn([...member.host.enter, testedBinary(), "run", "--config", member.configPath], {
      cwd: this.#root,
      stdin: "ignore",
      stdout: output,
      stderr: output,
      env: bareEnvironment(),
    });
    member.process = child;
    await this.until(`${member.name} answers`, START_MS_MAX, async () => {
      if (child.exitCode !== null)
        throw new Error(`${member.name} ended with ${child.exitCode} as it started`);
      return (await this.#get(member, "/liveness")) !== null;
    });
  }

  /** Returns once it has ended by itself. @returns its exit code. */
  async ended(member: GroupMember): Promise<number> {
    const child = defined(member.process, `${member.name} runs`);
    await this.until(`${member.name} has ended by itself`, STOP_MS_MAX, async () => child.exitCode !== null);
    member.process = null;
    return defined(child.exitCode, "it has ended");
  }

  /** SIGKILL: nothing of it has a chance to say goodbye. */
  async kill(...members: readonly GroupMember[]): Promise<void> {
    // All at the same moment, not one after the other's end.
    for (const member of members) signal(member, "SIGKILL");
    for (const member of members) {
      await member.process?.exited;
      member.process = null;
    }
  }

  /** As `systemctl stop` does it; it has to end by itself, and well. */
  async stop(member: GroupMember): Promise<void> {
    signal(member, "SIGTERM");
    const exitCode = await this.ended(member);
    if (exitCode !== 0) throw new Error(`${member.name} was asked to end and ended with ${exitCode}`);
  }

  pause(...members: readonly GroupMember[]): void {
    for (const member of members) signal(member, "SIGSTOP");
  }

  resume(...members: readonly GroupMember[]): void {
    for (const member of members) signal(member, "SIGCONT");
  }

  /** What a member says of the cluster; null where it does not answer. */
  ask(member: GroupMember): Promise<ClusterDocument | null> {
    return this.#get<ClusterDocument>(member, "/v1/cluster");
  }

  /** What a member holds as agreed, and up to where, as text to compare; empty where it does not answer. */
  async agreedBy(member: GroupMember): Promise<string> {
    const seen = await this.ask(member);
    const consensus = await this.consensus(member);
    if (seen === null || consensus === null) return "";
    const agreed = seen.members.map(({ id, name, kind, apiAddress, peerAddress, tags, data }) => {
      return { id, name, kind, apiAddress, peerAddress, tags, data };
    });
    const { term, leader, commitIndex, appliedIndex, group, featureLevel, stateHash, removed } = consensus;
    const { generation, reign, switchover } = seen;
    const raft = { term, leader, commitIndex, appliedIndex, group, featureLevel, stateHash, removed };
    return JSON.stringify({ raft, generation, agreed, reign, switchover });
  }

  /** As `ask`. */
  consensus(member: GroupMember): Promise<ConsensusDocument | null> {
    return this.#get<ConsensusDocument>(member, "/v1/consensus");
  }

  /** Whom all members that answer hold for the leader in the newest term; null while they do not agree. */
  async leader(): Promise<GroupMember | null> {
    const answered = (await Promise.all(this.members.map((member) => this.ask(member)))).filter(
      (each) => each !== null,
    );
    const terms = new Set(answered.map(({ raft }) => raft.term));
    const names = new Set(answered.map(({ raft }) => raft.leader));
    const [name = null] = names;
    return terms.size === 1 && names.size === 1 && name !== null ? this.member(name) : null;
  }

  /** Waits for one. */
  async agreedLeader(): Promise<AgreedLeader> {
    const found: AgreedLeader[] = [];
    await this.until("all members have one leader", AGREE_MS_MAX, async () => {
      const leader = await this.leader();
      const term = (leader === null ? null : await this.ask(leader))?.raft.term ?? null;
      if (leader !== null && term !== null) found.push({ leader, term });
      return found.length > 0;
    });
    return defined(found[0], "there is a leader");
  }

  /** How a member's part in Raft changed since it was made, oldest first. */
  roleChanges(member: GroupMember): readonly RoleChange[] {
    return this.logged(member, "raft.role").map((line) => {
      const { role, term } = JSON.parse(line) as RoleChange;
      return { role, term };
    });
  }

  /** The lines of its log about one event. */
  logged(member: GroupMember, event: string): readonly string[] {
    return logLines(member).filter((line) => line.includes(`"event":"${event}"`));
  }

  /** Polls until `condition`; the error says what was waited for. */
  async until(what: string, deadlineMs: number, condition: () => Promise<boolean>): Promise<void> {
    const untilMs = realClock.nowMs() + deadlineMs;
    while (realClock.nowMs() < untilMs) {
      if (await condition()) return;
      await realClock.sleep(POLL_MS);
    }
    throw new Error(`waited ${deadlineMs} ms in vain until ${what}`);
  }

  /** The end of each member's log, for a test that failed. */
  describeLogs(): string {
    return this.members
      .map(
        (member) =>
          `the end of ${member.name}'s log:\n${logLines(member).slice(-LOG_LINES_SHOWN).join("\n")}`,
      )
      .join("\n\n");
  }

  async remove(): Promise<void> {
    await this.kill(...this.members.filter((member) => member.process !== null));
    removeDirectory(this.#root);
    removed(this);
  }

  async #get<T>(member: GroupMember, path: string): Promise<T | null> {
    try {
      return await member.local.get<T>(path, ASK_MS_MAX);
    } catch (error) {
      // Not there (yet, or any more): what the caller polls for.
      if (error instanceof Error && error.name === "CliError") return null;
      throw error;
    }
  }

  #prepare(host: GroupHost, index: number): GroupMember {
    const name = `m${index + 1}`;
    const directory = join(this.#root, name);
    const dataDirectory = join(directory, "member");
    mkdirSync(dataDirectory, { recursive: true });
    const apiPort = nextPort(1_024, 65_000);
    const apiAddress = `${host.address}:${apiPort}`;
    const configPath = join(directory, "guacamole.toml");
    writeFileSync(
      configPath,
      `name = "${name}"
data-dir = "${dataDirectory}"

[api]
listen = "${apiAddress}"
[peer]
listen = "${host.address}:${apiPort + 1}"
[tags]
witness = true
`,
    );
    return {
      name,
      host,
      directory,
      dataDirectory,
      configPath,
      logPath: join(directory, "guacamole.log"),
      apiAddress,
      local: new ApiClient({
        token: null,
        targets: [{ kind: "unix", path: join(dataDirectory, "api.sock") }],
      }),
      process: null,
    };
  }
}

function signal({ name, process: child }: GroupMember, how: NodeJS.Signals): void {
  // A member that ended by itself is a fault that the caller finds: it no longer answers.
  if (child === null || child.exitCode !== null) process.stdout.write(`${name} had ended before ${how}\n`);
  else child.kill(how);
}

function logLines(member: GroupMember): readonly string[] {
  return existsSync(member.logPath) ? readFileSync(member.logPath, "utf8").trimEnd().split("\n") : [];
}

/** What a test run left that was killed: the members' own command lines name its directories. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = DIRECTORY_OWNER.exec(name)?.[1];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    const directory = join(tmpdir(), name);
    for (const pid of processesNaming(`${directory}/`)) process.kill(pid, "SIGKILL");
    removeDirectory(directory);
  }
}

/** With what is mounted in it. */
function removeDirectory(directory: string): void {
  for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n")) {
    const place = line.split(" ")[1];
    // At once out of sight, and gone with the last process that has a file open there.
    if (place?.startsWith(`${directory}/`)) Bun.spawnSync(["umount", "--lazy", place]);
  }
  rmSync(directory, { recursive: true, force: true });
}

function processesNaming(text: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const argv = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
        return argv.includes("run") && argv.some((each) => each.startsWith(text)) ? [Number(name)] : [];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}
