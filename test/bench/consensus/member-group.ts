/** Members' consensus in processes of their own on this machine: built, broken and mended as often as the benchmark wants. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, MemberId } from "../../../src/base/ids.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import { freePorts } from "../../../src/demo/free-ports.ts";
import { createAuthority, createKeyAndRequest, signMember } from "../../../src/peer/certificates.ts";
import { storePaths } from "../../../src/store/marker.ts";
import { AskedProcess } from "./asked-process.ts";
import type { Load, Seen } from "./closed-loop.ts";
import type { Admission, MemberLook, MemberRequest, Seat } from "./member-protocol.ts";

export interface GroupOptions {
  readonly voters: number;
  readonly learners: number;
  /** Holds the data of all; removed with them. */
  readonly directory: string;
  readonly limits: Seat["limits"];
  readonly integer: (min: number, max: number) => number;
}

interface GroupMember {
  readonly seat: Seat;
  process: AskedProcess<MemberRequest>;
}

const CLUSTER_ID = "11111111-1111-4111-8111-111111111111" as ClusterId;
const POLL_MS = 10;
const READY_MS_MAX = 60_000;

export class MemberGroup {
  readonly #options: GroupOptions;
  readonly #members: GroupMember[] = [];

  constructor(options: GroupOptions) {
    this.#options = options;
  }

  get pids(): readonly number[] {
    return this.#members.map(({ process: { pid } }) => pid);
  }

  /** Forms with one member, lets the others join as learners, and makes as many voters as are wanted. */
  async start(): Promise<void> {
    const { voters, learners, integer } = this.#options;
    const authority = await createAuthority(CLUSTER_ID, Date.now());
    const ports = freePorts(voters + learners, integer);
    const seats = await Promise.all(ports.map((port, at) => this.#seat(at, port, authority)));
    for (const seat of seats) this.#members.push({ seat, process: newProcess(seat) });
    const [first, ...others] = this.#members;
    if (first === undefined) throw new Error("a group has members");
    await first.process.ask({ type: "form", seat: first.seat, authority });
    await this.#until("the first member leads", async () => (await look(first)).raft.isReady);
    const joining: Promise<void>[] = [];
    for (const { seat, process: child } of others) {
      const admission = await first.process.ask<Admission>({ type: "admit", seat });
      joining.push(child.ask({ type: "join", seat, admission }));
    }
    const ids = this.#members.map(({ seat }) => seat.memberId);
    await this.#configure(first, [ids[0] ?? ("" as MemberId)], ids.slice(1));
    await Promise.all(joining);
    await this.whole();
    await this.#configure(first, ids.slice(0, voters), ids.slice(voters));
    await first.process.ask({ type: "raise-feature-level" });
    await this.whole();
  }

  /** Waits until one leads and all have applied what it has committed. */
  async whole(): Promise<void> {
    await this.#until("every member has caught up", async () => {
      const leader = await this.#findLeader();
      if (leader === null) return false;
      const { raft } = await look(leader);
      const looks = await Promise.all(this.#members.map(look));
      return looks.every(({ appliedIndex }) => appliedIndex >= raft.commitIndex);
    });
  }

  /** From inside the leader's process. */
  async load(kind: "write" | "read", load: Load): Promise<Seen> {
    const leader = await this.#leader();
    return leader.process.ask<Seen>({ type: "load", kind, load });
  }

  async fill(count: number): Promise<void> {
    await (await this.#leader()).process.ask({ type: "fill", count });
  }

  /** The highest term that a member knows. Another one than before: there was an election. */
  async term(): Promise<number> {
    const looks = await Promise.all(this.#members.map(look));
    return Math.max(...looks.map(({ raft }) => raft.term));
  }

  /** How far the leader's log is compacted, and how far it goes. */
  async logBounds(): Promise<{ readonly floor: number; readonly last: number }> {
    const { raft } = await look(await this.#leader());
    return { floor: raft.floorIndex, last: raft.lastIndex };
  }

  /** SIGKILL to the leader. @returns how long it took until another one had a new command applied. */
  async replaceLeader(): Promise<number> {
    const leader = await this.#leader();
    const others = this.#members.filter((member) => member !== leader);
    const fromMs = performance.now();
    leader.process.child.kill("SIGKILL");
    await Promise.any(others.map(({ process: child }) => child.ask({ type: "commit" })));
    const tookMs = performance.now() - fromMs;
    await this.#restart(leader);
    await this.whole();
    return tookMs;
  }

  /** Ends a follower, lets `meanwhile` happen, and starts it again. @returns how long until it had caught up. */
  async catchUp(meanwhile: () => Promise<void>): Promise<number> {
    const leader = await this.#leader();
    const follower = this.#members.find((member) => member !== leader);
    if (follower === undefined) throw new Error("a group of three has a follower");
    await follower.process.end("SIGKILL");
    await meanwhile();
    const { raft } = await look(leader);
    const fromMs = performance.now();
    await this.#restart(follower);
    await this.#until(
      "the follower has caught up",
      async () => (await look(follower)).appliedIndex >= raft.commitIndex,
    );
    return performance.now() - fromMs;
  }

  async remove(): Promise<void> {
    await Promise.all(this.#members.map(({ process: child }) => child.end("SIGKILL")));
    rmSync(this.#options.directory, { recursive: true, force: true });
  }

  async #restart(member: GroupMember): Promise<void> {
    await member.process.end("SIGKILL");
    member.process = newProcess(member.seat);
    await member.process.ask({ type: "start", seat: member.seat });
  }

  async #configure(
    leader: GroupMember,
    voters: readonly MemberId[],
    learners: readonly MemberId[],
  ): Promise<void> {
    await leader.process.ask({ type: "configure", target: { voters, learners } });
    await this.#until("the wanted members vote", async () => {
      const { config, isConfigPending } = (await look(leader)).raft;
      const isReached = config.voters.length === voters.length && config.learners.length === learners.length;
      return isReached && config.outgoing.length === 0 && !isConfigPending;
    });
  }

  async #leader(): Promise<GroupMember> {
    const leader = await this.#findLeader();
    if (leader === null) throw new Error("the group has no leader");
    return leader;
  }

  async #findLeader(): Promise<GroupMember | null> {
    for (const member of this.#members) {
      if (!member.process.isRunning) continue;
      const { raft } = await look(member);
      if (raft.role === "leader" && raft.isReady) return member;
    }
    return null;
  }

  async #seat(at: number, port: number, authority: CertificateAuthority): Promise<Seat> {
    const name = `m${at + 1}`;
    const memberId = `00000000-0000-4000-8000-${String(at + 1).padStart(12, "0")}` as MemberId;
    const { privateKeyPem, csrPem } = await createKeyAndRequest("member");
    const signed = await signMember(authority, csrPem, { memberId, name, hosts: ["127.0.0.1"] }, Date.now());
    if (!signed.ok) throw new Error(signed.error);
    return {
      name,
      memberId,
      databasePath: storePaths(join(this.#options.directory, name)).database,
      credentials: {
        certificatePem: signed.value,
        privateKeyPem,
        authorityPem: authority.certificatePem,
      },
      listen: `127.0.0.1:${port}`,
      seed: this.#options.integer(1, 1e9),
      limits: this.#options.limits,
    };
  }

  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const untilMs = performance.now() + READY_MS_MAX;
    while (!(await condition())) {
      if (performance.now() > untilMs) throw new Error(`waited ${READY_MS_MAX} ms in vain until ${what}`);
      await Bun.sleep(POLL_MS);
    }
  }
}

function newProcess({ name }: Seat): AskedProcess<MemberRequest> {
  return new AskedProcess<MemberRequest>({
    name,
    command: [process.execPath, join(import.meta.dir, "consensus-member.ts")],
  });
}

function look({ process: child }: GroupMember): Promise<MemberLook> {
  return child.ask<MemberLook>({ type: "look" });
}
