/**
 * Consensus as one member's process sees it, over the one log of a history: what this member knows of it, who it believes
 * leads, and what it has heard of the others.
 */
import { LEASE_METHOD, type LeaseGrant } from "../../../src/agent/lease-grants.ts";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { Command } from "../../../src/cluster/command.ts";
import type {
  BarrierResult,
  ConfigTarget,
  Consensus,
  ProposeResult,
  RaftStatus,
} from "../../../src/cluster/consensus.ts";
import type { MemberStatus, Observation } from "../../../src/cluster/observation.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import type { DigestEntry } from "../../../src/peer/status-codec.ts";
import type { Group } from "./group.ts";
import type { Host } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import { honestGrant } from "./leader-sabotage.ts";
import type { MemberProcess } from "./member-process.ts";
import type { World } from "./world.ts";

/** What a leader says to a follower. */
export interface Heartbeat {
  readonly leader: Host;
  readonly term: number;
  /** So much of the log is agreed, and here. */
  readonly upTo: LogIndex;
  readonly digest: readonly DigestEntry[];
}

/** A grant that came through may still have to wait for so long until it is read. */
const LATE_GRANT_MS = 4_000;
const GRANT_MS = 50;

export class ModelConsensus implements Consensus {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #group: Group;
  readonly #host: Host;
  readonly #process: MemberProcess;
  readonly #listeners = new Set<() => void>();
  #term = 0;
  #leaderId: MemberId | null = null;
  #leadingSinceMs: number | null = null;
  #status: { readonly status: MemberStatus; readonly atMs: number } | null = null;
  #told = "";
  #kept: ClusterState["members"] = [];
  /** Sabotage: counts what came in, of whatever life. */
  #trusted = 0;

  constructor(world: World, invariants: Invariants, group: Group, host: Host, process: MemberProcess) {
    this.#world = world;
    this.#invariants = invariants;
    this.#group = group;
    this.#host = host;
    this.#process = process;
  }

  // --- What is known -------------------------------------------------------------------------------------------------

  get state(): ClusterState {
    return this.#world.knownTo(this.#host);
  }

  get appliedIndex(): LogIndex {
    return this.#host.known;
  }

  /** It leads, as far as it knows. */
  get isLeading(): boolean {
    return this.#leadingSinceMs !== null;
  }

  get raft(): RaftStatus {
    const { config } = this.#world;
    return {
      role: this.isLeading ? "leader" : "follower",
      term: this.#term as Term,
      leaderId: this.#leaderId,
      leadingSinceMs: this.#leadingSinceMs,
      isReady: this.isLeading,
      commitIndex: this.#host.known,
      lastIndex: this.#host.known,
      floorIndex: 0 as LogIndex,
      voterIds: config.voters,
      config: { ...config, outgoing: [], learnersNext: [] },
      isConfigPending: false,
      configRefusal: null,
      followers: this.isLeading ? this.#group.followersOf(this.#host) : [],
      stateHash: null,
    };
  }

  get observations(): ReadonlyMap<MemberId, Observation> {
    const seen = this.#process.board.observations(this.#world.hostMs(this.#host));
    return new Map(seen.map((each) => [each.status.memberId, each]));
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells whoever listens, if anything is new. */
  changed(): void {
    const { known } = this.#host;
    const told = `${known} ${this.#process.board.version} ${this.#term} ${this.#leaderId} ${this.#leadingSinceMs}`;
    if (told === this.#told) return;
    this.#told = told;
    for (const listener of this.#listeners) listener();
  }

  // --- Who leads -----------------------------------------------------------------------------------------------------

  lead(term: number): void {
    this.#term = term;
    this.#leadingSinceMs = this.#world.hostMs(this.#host);
    this.#setLeader(this.#host.id);
    this.changed();
  }

  stepDown(): void {
    if (!this.isLeading) return;
    this.#leadingSinceMs = null;
    this.#setLeader(null);
    this.changed();
  }

  #setLeader(leaderId: MemberId | null): void {
    this.#leaderId = leaderId;
    this.#process.board.setLeader(leaderId);
  }

  #learnOf(term: number): void {
    if (term <= this.#term) return;
    this.#term = term;
    this.stepDown();
  }

  // --- What comes in from others -------------------------------------------------------------------------------------

  heartbeat(): Heartbeat {
    const { chance } = this.#world;
    const digest = chance.is(0.5) ? this.#process.board.digest(this.#world.hostMs(this.#host)) : [];
    return { leader: this.#host, term: this.#term, upTo: this.#host.known, digest };
  }

  hearHeartbeat({ leader, term, upTo, digest }: Heartbeat): void {
    const nowMs = this.#world.hostMs(this.#host);
    const isOld = term < this.#term;
    this.#learnOf(term);
    if (!isOld) {
      if (this.#leaderId !== leader.id) this.#setLeader(leader.id);
      this.#host.known = Math.max(this.#host.known, upTo) as LogIndex;
      this.#process.board.heard(leader.id, nowMs);
      this.#process.board.setConnected(leader.id, true);
      this.#process.board.takeDigest(digest, nowMs);
      this.#keepMembers();
      this.changed();
    }
    this.#say(leader);
  }

  /** Connections come and go by themselves. */
  lookAtConnections(): void {
    for (const other of this.#world.hosts) {
      if (other === this.#host) continue;
      const isThere =
        other.isUp && other.process !== null && this.#world.network.connects(this.#host.name, other.name);
      this.#process.board.setConnected(other.id, isThere);
    }
    this.#keepMembers();
    this.changed();
  }

  #keepMembers(): void {
    const { members } = this.state;
    if (members === this.#kept && this.#process.board.size <= members.length) return;
    this.#kept = members;
    this.#process.board.keepOnly(new Set(members.map(({ id }) => id)));
  }

  hearStatus(from: MemberId, term: number, status: MemberStatus, ageMs: number): void {
    const nowMs = this.#world.hostMs(this.#host);
    this.#learnOf(term);
    this.#process.board.heard(from, nowMs);
    this.#process.board.takeStatus(from, { status: this.#trust(status), ageMs }, nowMs);
    this.#keepMembers();
    this.changed();
  }

  /** Sabotage: what comes last counts, of whatever life it is. */
  #trust(status: MemberStatus): MemberStatus {
    if (this.#world.sabotage !== "trust-a-status-of-an-earlier-life") return status;
    this.#trusted += 1;
    return { ...status, bootId: "any", life: 1, sequence: this.#trusted };
  }

  // --- What goes out -------------------------------------------------------------------------------------------------

  publish(status: MemberStatus): void {
    const nowMs = this.#world.hostMs(this.#host);
    const { reign } = this.state;
    if (status.reason === "handing-over" && reign !== null) this.#process.handedOver = reign.epoch;
    this.#status = { status, atMs: nowMs };
    this.#invariants.checkReason(status.reason);
    this.#process.board.takeStatus(this.#host.id, { status, ageMs: 0 }, nowMs);
    const leader = this.#world.hosts.find(({ id }) => id === this.#leaderId);
    if (leader !== undefined && leader !== this.#host) this.#say(leader);
    this.changed();
  }

  /** Says its newest status to another member; on its way it may be slow, and be overtaken. */
  #say(to: Host): void {
    if (this.#status === null) return;
    const { status, atMs } = this.#status;
    const ageMs = this.#world.hostMs(this.#host) - atMs;
    const term = this.#term;
    this.#world.send(this.#host, to, () => {
      to.process?.hears(() => to.process?.consensus.hearStatus(this.#host.id, term, status, ageMs));
    });
  }

  propose(command: Command, deadlineMs: number): Promise<ProposeResult> {
    return this.#group.propose(this.#host, this.#process, command, deadlineMs);
  }

  barrier(deadlineMs: number): Promise<BarrierResult> {
    return this.#group.confirm(this.#host, this.#process, deadlineMs);
  }

  changeConfig(target: ConfigTarget): void {
    this.#group.changeConfig(this.#host, target);
  }

  transferLeadership(to: MemberId): void {
    this.#group.transfer(this.#host, to);
  }

  /** Grants of leases are all that members ask each other here. */
  call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown> {
    if (method !== LEASE_METHOD) throw new Error(`nobody answers ${method} here`);
    const grant = honestGrant(this.#world, payload as LeaseGrant);
    const { chance } = this.#world;
    return new Promise((resolve, reject) => {
      const world = this.#world;
      const enter = (happen: () => void) => this.#process.enter(happen);
      world.later(this.#host, deadlineMs, () => enter(() => reject(new Error("no answer in time"))));
      const target = world.hosts.find(({ id }) => id === to);
      if (target === undefined || !world.network.carries(this.#host.name, target.name)) return;
      // It came through; until the member reads it, it may be cut off, or be frozen for a while.
      const { isHealed, theme } = this.#world;
      const isLate = !isHealed && chance.is(theme === "leased" ? 0.3 : 0.1);
      const delayMs = chance.share() * (isLate ? LATE_GRANT_MS : GRANT_MS);
      const process = target.process;
      world.later(target, delayMs, () => {
        process?.enter(() => {
          void process.takeLease(grant).then(() => {
            world.send(target, this.#host, () => enter(() => resolve(null)));
          });
        });
      });
    });
  }

  // --- What nobody here asks for -------------------------------------------------------------------------------------

  onCall(): void {
    throw new Error("the loops answer no calls");
  }

  backup(): Promise<never> {
    throw new Error("the loops make no copies");
  }

  readEvents(): Promise<never> {
    throw new Error("the loops read no events");
  }

  outcomeOf(): Promise<never> {
    throw new Error("the loops ask after no command");
  }

  close(): Promise<void> {
    throw new Error("the loops do not end the group");
  }
}
