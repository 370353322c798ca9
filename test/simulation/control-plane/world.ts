/**
 * What there is in one history: time, hosts, the network between them, the log, who leads, and what happened so far.
 *
 * Raft is taken for granted here (it has its own simulation): there is one log, and every member knows a beginning of it.
 */
import type { LogIndex } from "../../../src/base/ids.ts";
import type { ConfigTarget } from "../../../src/cluster/consensus.ts";
import { FEATURE_LEVEL } from "../../../src/cluster/feature-level.ts";
import { DEFAULT_TAGS } from "../../../src/cluster/member.ts";
import { type ClusterState, memberById } from "../../../src/cluster/state.ts";
import { clusterState, id, member } from "../../support/situation.ts";
import { Chance } from "./chance.ts";
import { type Host, hostMsOf, isAlive } from "./host.ts";
import { ModelPostgres } from "./model-postgres.ts";
import { ModelSupervisor } from "./model-supervisor.ts";
import { Network } from "./network.ts";
import type { Sabotage } from "./sabotage.ts";

export class InvariantBroken extends Error {
  override readonly name = "InvariantBroken";
}

/**
 * What a history is mostly about. `outsider`: the last member is in no cohort, and people keep asking for it. `leased`: the primary
 * acknowledges alone. `promotions`: they take long, and reigns are short. `looks`: they take long, and reigns are short. `cohorts`: they
 * change all the time, and so do those who see it.
 */
/** So few that a standby which is away for a moment may need one that is gone. */
const RECORDS_KEPT = 12;

export type Theme = "all" | "outsider" | "leased" | "promotions" | "looks" | "cohorts" | "short-wal";

const LEASE_MS = 3_000;
const WORK_MS = 50;
const LONG_WORK_MS = 4_000;
const TRACE_TOLD = 80;

export class World {
  readonly trace: string[] = [];
  /** Members that were started again as planned. */
  restarts = 0;
  readonly chance: Chance;
  readonly network: Network;
  readonly sabotage: Sabotage | "none";
  readonly theme: Theme;
  /** The log, by what was agreed after each entry. */
  readonly states: ClusterState[];
  hosts: readonly Host[] = [];
  /** True time. */
  nowMs = 1_000;
  /** Who was elected last. */
  leader: Host;
  /** Who votes, and who only learns. */
  config: ConfigTarget;
  isHealed = false;
  #broken: InvariantBroken | null = null;
  #systems = 0;
  #machines = 0;
  #operations = 0;
  #commands = 0;

  constructor(seed: number, size: number, sabotage: Sabotage | "none", theme: Theme) {
    this.theme = theme;
    this.chance = new Chance(seed);
    this.network = new Network(this.chance);
    this.sabotage = sabotage;
    const hosts = Array.from({ length: size }, () => this.addHost());
    const plain = clusterState().spec;
    // Shorter than usual, so that more of what befalls a host outlasts it.
    const spec = { ...plain, timing: { ...plain.timing, leaseMs: LEASE_MS } };
    const isLeased = theme === "leased" || seed % 3 === 1;
    this.states = [
      clusterState({
        spec: isLeased ? { ...spec, durability: { mode: "async", maxLagBytes: 1_000_000 } } : spec,
        featureLevel: FEATURE_LEVEL,
        members: hosts.map(({ name }) => {
          const isNoSync = theme === "outsider" && name === hosts.at(-1)?.name;
          return member(name, { data: "none", tags: { ...DEFAULT_TAGS, isNoSync } });
        }),
        initialization: { memberId: id("m1"), operationId: "op", options: { encoding: "UTF8", locale: "C" } },
        reign: null,
        systemIdentifier: null,
      }),
    ];
    this.leader = this.chance.pick(hosts);
    this.config = { voters: hosts.map((host) => host.id), learners: [] };
  }

  /** A new machine, with nothing on it. */
  addHost(): Host {
    this.#machines += 1;
    const name = `m${this.#machines}`;
    // Up to 0.9 % fast or slow, which is a hundred times what clocks do, and two of them just within what is reckoned with.
    const clock = { offsetMs: this.chance.share() * 1e6, rate: 0.991 + this.chance.share() * 0.018 };
    const postgres = new ModelPostgres(name, {
      nowMs: () => this.nowMs,
      carries: (from, to) => this.network.carries(from, to),
      at: (address) => this.#powered(address),
      send: (from, to, arrive) => this.network.send(from, to, this.nowMs, arrive),
      recordsKept: () => (this.theme === "short-wal" ? RECORDS_KEPT : Number.POSITIVE_INFINITY),
      ended: () => {
        supervisor.failedStarts += 1;
        this.later(host, this.chance.share() * 4, () => host.process?.hearOfAnEnd());
      },
      corrupted: (what) => this.broken("F1", what),
    });
    const supervisor = new ModelSupervisor(postgres, {
      hostMs: () => {
        const isByWall = this.sabotage === "count-a-lease-by-the-wall-clock";
        return hostMsOf(host, this.nowMs) + (isByWall ? host.wallOffsetMs : 0);
      },
      clusterId: () => this.latest.clusterId,
      newSystem: () => this.#newSystem(name),
      workMs: () => this.chance.share() * (this.chance.is(0.3) ? LONG_WORK_MS : WORK_MS),
      later: (delayMs, happen) => this.later(host, delayMs, happen),
      connect: (address) => (this.network.connects(name, address) ? this.#powered(address) : null),
    });
    const { faults } = supervisor;
    faults.answersBeforeThePledge = this.sabotage === "answer-before-the-pledge";
    faults.ignoresLeases = this.sabotage === "keep-no-leases";
    faults.liesAboutItsEnd = this.sabotage === "take-any-end-for-the-last";
    faults.promotesWithoutSaying = this.sabotage === "take-a-promotion-for-a-fall";
    faults.forgetsWhomItPromoted = this.sabotage === "forget-whom-a-supervisor-promoted";
    faults.forgetsWhatItPledged = this.sabotage === "forget-pledges-at-a-supervisor-restart";
    const host: Host = {
      name,
      id: id(name),
      postgres,
      supervisor,
      isUp: true,
      boots: 1,
      known: 0 as LogIndex,
      lives: 0,
      process: null,
      clock,
      wallOffsetMs: 0,
    };
    this.hosts = [...this.hosts, host];
    return host;
  }

  removeHost(host: Host): void {
    this.hosts = this.hosts.filter((each) => each !== host);
  }

  #newSystem(name: string): string {
    if (this.#systems > 0) this.broken("F7", `${name} makes a second system over this cluster's history`);
    this.#systems += 1;
    return `${this.#systems}`;
  }

  #powered(name: string): ModelPostgres | null {
    const host = this.hosts.find((each) => each.name === name);
    return host?.isUp === true ? host.postgres : null;
  }

  // --- What is agreed, and who knows it ------------------------------------------------------------------------------

  get latest(): ClusterState {
    const state = this.states.at(-1);
    if (state === undefined) throw new Error("the log begins with a state");
    return state;
  }

  knownTo(host: Host): ClusterState {
    return this.states[host.known] ?? this.latest;
  }

  isMember(host: Host): boolean {
    return memberById(this.latest, host.id) !== undefined;
  }

  /** The index of what was agreed last. */
  get end(): LogIndex {
    return (this.states.length - 1) as LogIndex;
  }

  hasMajority(host: Host): boolean {
    const { voters } = this.config;
    if (!voters.includes(host.id) || !isAlive(host)) return false;
    const reached = this.hosts.filter(
      (other) =>
        voters.includes(other.id) &&
        (other === host || (isAlive(other) && this.network.connects(host.name, other.name))),
    );
    return reached.length * 2 > voters.length;
  }

  newCommandId(): string {
    this.#commands += 1;
    return `c-${this.#commands}`;
  }

  newOperationId(): string {
    this.#operations += 1;
    return `op-${this.#operations}`;
  }

  /** The host's own clock, now. */
  hostMs(host: Host): number {
    return hostMsOf(host, this.nowMs);
  }

  /** A wall clock, as the member's process reads it. */
  wallMs(host: Host): number {
    return Math.round(this.nowMs + host.wallOffsetMs);
  }

  /** A message, for a host that is up when it comes. */
  send(from: Host, to: Host, arrive: () => void): void {
    this.network.send(from.name, to.name, this.nowMs, () => {
      if (to.isUp) arrive();
    });
  }

  /** Something that a host does by itself after a while, if nothing else happened to it. */
  later(host: Host, delayMs: number, happen: () => void): void {
    this.network.after(delayMs, host.name, host.name, this.nowMs, happen);
  }

  /** Time passes, and what is due in it happens, in order. */
  pass(durationMs: number, afterEach: () => void): void {
    const untilMs = this.nowMs + durationMs;
    for (let due = this.network.next(untilMs); due !== null; due = this.network.next(untilMs)) {
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.arrive();
      afterEach();
    }
    this.nowMs = untilMs;
  }

  // --- What is told --------------------------------------------------------------------------------------------------

  describe(): string {
    const { reign } = this.latest;
    const hosts = this.hosts.map((host) => {
      const { postgres: p, supervisor, name } = host;
      const { walEpoch, pledgedEpoch } = supervisor.promises;
      const state = `${host.isUp ? "" : "(down)"}${isAlive(host) ? "" : "(mute)"}`;
      const opening = p.promotion === "none" ? "" : `(${p.promotion})`;
      return `${name}${state} ${p.kind}${opening} ${p.timeline}:${p.wal.length} wal=${walEpoch} pledged=${pledgedEpoch}`;
    });
    return `epoch ${reign?.epoch} of ${reign?.primaryId.slice(-1)} fence=${reign?.fence?.reason ?? "-"} | ${hosts.join(" | ")}`;
  }

  note(what: string): void {
    this.trace.push(`${this.nowMs.toFixed(0).padStart(7)} ${what}`);
  }

  broken(invariant: string, what: string): never {
    this.note(`${invariant} BROKEN: ${what}`);
    this.#broken ??= new InvariantBroken(
      `${invariant}: ${what}\n${this.describe()}\n${this.trace.slice(-TRACE_TOLD).join("\n")}`,
    );
    throw this.#broken;
  }

  /** Production code may have caught it. */
  throwWhatIsBroken(): void {
    if (this.#broken !== null) throw this.#broken;
  }
}
