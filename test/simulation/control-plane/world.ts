/**
 * A whole control plane in one thread: the production state machine and the production decisions of leader and members,
 * over the model of PostgreSQL. Raft is taken for granted here (it has its own simulation): there is one log, and every
 * member knows a beginning of it.
 *
 * One seed decides everything that happens. After every event the safety invariants are checked.
 */
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change } from "../../../src/cluster/command.ts";
import type { GroupConfig } from "../../../src/cluster/consensus.ts";
import type { MemberStatus, Observation } from "../../../src/cluster/observation.ts";
import { type ClusterState, isNamedByReign, memberById } from "../../../src/cluster/state.ts";
import { isWritable } from "../../../src/cluster/writable.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import type { GroupView } from "../../../src/decision/decide-config.ts";
import { decideMember } from "../../../src/decision/decide-member.ts";
import { decideMembership, isStopping } from "../../../src/decision/decide-membership.ts";
import type { Action } from "../../../src/decision/plan.ts";
import { NO_REIGN_SEEN, type ReignSeen, seeReign } from "../../../src/decision/reign-seen.ts";
import { clusterState, id, member } from "../../support/situation.ts";
import { ModelPostgres, type WalRecord } from "./model-postgres.ts";

export class InvariantBroken extends Error {
  override readonly name = "InvariantBroken";
}

interface Host {
  readonly name: string;
  readonly id: MemberId;
  readonly postgres: ModelPostgres;
  isUp: boolean;
  /** How much of the log it knows. */
  known: LogIndex;
  plan: Action[];
  life: number;
  sequence: number;
}

/** So many clients write; each waits for its commit. */
const WAITING_MAX = 150;

/** Ways to break the protocol on purpose: the invariants must notice each. */
export type Sabotage =
  | "none"
  | "answer-before-the-pledge"
  | "one-pledge-is-enough"
  | "promote-the-least-advanced"
  | "settle-without-holding"
  | "ignore-the-epoch-of-timelines"
  | "give-a-standby-name-twice";

export class World {
  readonly trace: string[] = [];
  readonly #random: () => number;
  readonly #sabotage: Sabotage;
  #hosts: Host[];
  readonly #states: ClusterState[];
  readonly #observations = new Map<MemberId, Map<MemberId, Observation>>();
  readonly #cut = new Set<string>();
  readonly #acknowledged = new Set<WalRecord>();
  readonly #epochWriters = new Map<number, string>();
  #leader: Host;
  #formerLeaderId: MemberId | null = null;
  #leadingSinceMs = 0;
  #reign: ReignSeen = NO_REIGN_SEEN;
  #nowMs = 1_000;
  #records = 0;
  /** What the last look at the acknowledged commits looked at: they only change with one of these. */
  #checked = "";
  #systems = 0;
  #machines = 0;

  constructor(seed: number, size: number, sabotage: Sabotage = "none") {
    this.#random = mulberry32(seed);
    this.#sabotage = sabotage;
    const names = Array.from({ length: size }, (_, index) => `m${index + 1}`);
    this.#hosts = names.map((name) => this.#newHost(name));
    this.#introduce();
    this.#machines = size;
    this.#states = [
      clusterState({
        featureLevel: 2,
        members: names.map((name) => member(name, { data: "none" })),
        initialization: { memberId: id("m1"), operationId: "op", options: { encoding: "UTF8", locale: "C" } },
        reign: null,
        systemIdentifier: null,
      }),
    ];
    this.#leader = this.#pick(this.#hosts);
  }

  #newHost(name: string): Host {
    const world = {
      reach: (from: string, host: string) => this.#reach(from, host),
      newSystem: () => `${++this.#systems}`,
      corrupted: (what: string) => this.#broken("F1", what),
    };
    const postgres = new ModelPostgres(name, id(name), world);
    postgres.isLiar = this.#sabotage === "answer-before-the-pledge";
    this.#observations.set(id(name), new Map());
    return { name, id: id(name), postgres, isUp: true, known: 0 as LogIndex, plan: [], life: 1, sequence: 0 };
  }

  /** Every PostgreSQL may become an upstream of every other. */
  #introduce(): void {
    for (const host of this.#hosts) host.postgres.standbys = this.#hosts.map(({ postgres }) => postgres);
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  /** Members that left. */
  get removed(): number {
    return this.#latest().removed?.length ?? 0;
  }

  get failovers(): number {
    return this.#latest().failoverCount;
  }

  get epoch(): number {
    return this.#latest().reign?.epoch ?? 0;
  }

  /** One random event, with or without faults. */
  step(hasFaults: boolean): void {
    this.#nowMs += this.#chance(0.02) ? 400 : 1 + Math.floor(this.#random() * 12);
    const dice = this.#random();
    if (hasFaults && dice < 0.012) this.#fault();
    else if (dice < 0.3) this.#memberTurn(this.#pick(this.#hosts));
    else if (dice < 0.45) this.#act(this.#pick(this.#hosts));
    else if (dice < 0.6) this.#pick(this.#hosts).postgres.receive(1 + Math.floor(this.#random() * 3));
    else if (dice < 0.7) this.#write();
    else if (dice < 0.85) this.#heartbeats();
    else this.#leaderTurn();
    this.#acknowledge();
    this.#check();
  }

  /** Everything works again. */
  heal(): void {
    this.#cut.clear();
    for (const host of this.#hosts) this.#boot(host);
    this.#note("healed");
  }

  /** The cluster takes writes, and every member streams or reigns. */
  isWhole(): boolean {
    const state = this.#latest();
    const { reign } = state;
    if (reign === null || reign.fence !== null) return false;
    const primary = this.#hosts.find((host) => host.id === reign.primaryId);
    if (primary === undefined || !isWritable(state, primary.id, primary.postgres.look())) return false;
    if (state.members.some(({ isLeaving }) => isLeaving)) return false;
    const others = this.#hosts.filter((host) => host !== primary && this.#isMember(host));
    return others.every(({ postgres }) => postgres.isReceivingFrom(primary.postgres));
  }

  describe(): string {
    const { reign } = this.#latest();
    const hosts = this.#hosts.map(
      ({ name, isUp, postgres: p }) =>
        `${name}${isUp ? "" : "(down)"} ${p.kind} ${p.timeline}:${p.wal.length} wal=${p.promises.walEpoch} pledged=${p.promises.pledgedEpoch}`,
    );
    return `epoch ${reign?.epoch} of ${reign?.primaryId.slice(-1)} fence=${reign?.fence?.reason ?? "-"} | ${hosts.join(" | ")}`;
  }

  #latest(): ClusterState {
    const state = this.#states.at(-1);
    if (state === undefined) throw new Error("the log begins with a state");
    return state;
  }

  #known(host: Host): ClusterState {
    return this.#states[host.known] ?? this.#latest();
  }

  #reach(from: string, to: string): ModelPostgres | null {
    const host = this.#hosts.find(({ name }) => name === to);
    return host?.isUp && !this.#cut.has(`${from}>${to}`) && !this.#cut.has(`${to}>${from}`)
      ? host.postgres
      : null;
  }

  #memberTurn(host: Host): void {
    if (!host.isUp || host.plan.length > 0) return;
    const state = this.#known(host);
    const { reign } = state;
    const plan = decideMember({
      state,
      selfId: host.id,
      postgres: host.postgres.look(),
      promises: host.postgres.promises,
      hasStandbySignal: true,
      lease: null,
      unansweredMs: null,
      isDiskFull: false,
      needsClone: null,
      hasAside: host.postgres.hasAside,
      reignKnownMs: Number.POSITIVE_INFINITY,
      fenceKnownMs: reign?.fence ? Number.POSITIVE_INFINITY : null,
      failedStarts: 0,
      settingsHash: host.postgres.settings === null ? null : JSON.stringify(host.postgres.settings),
      hashSettings: (settings) => JSON.stringify(settings),
      local: { listenAddresses: "*", port: 5432, socketDirectory: "/tmp" },
      observations: this.#observations.get(host.id) ?? new Map(),
      primary: reign === null ? null : (this.#observations.get(host.id)?.get(reign.primaryId) ?? null),
    });
    host.plan = this.#believingNumbers(host, [...plan.actions]);
    if (plan.actions.length > 0) this.#note(`${host.name} plans ${plan.reason}`);
  }

  /** Sabotage: trusts timeline numbers, as if a rewind could always mend it. */
  #believingNumbers(host: Host, actions: Action[]): Action[] {
    const [, clone] = actions;
    const isAlien = clone?.kind === "clone" && clone.replace?.includes("was written under") === true;
    if (this.#sabotage !== "ignore-the-epoch-of-timelines" || !isAlien || clone?.kind !== "clone")
      return actions;
    const settings = host.postgres.settings;
    if (settings === null) return actions;
    return [
      {
        kind: "configure",
        epoch: clone.epoch,
        timelines: clone.timelines,
        settings: { ...settings, upstream: clone.source },
      },
      { kind: "reload" },
    ];
  }

  #act(host: Host): void {
    const action = host.isUp ? host.plan.shift() : undefined;
    if (action === undefined) return;
    const isDone = host.postgres.perform(action);
    this.#note(
      `${host.name} ${action.kind}${"epoch" in action ? ` ${action.epoch}` : ""}${isDone ? "" : " refused"}`,
    );
    if (!isDone) host.plan = [];
  }

  #write(): void {
    const primaries = this.#hosts.filter(({ isUp, postgres }) => isUp && postgres.kind === "primary");
    if (primaries.length === 0) return;
    const { name, postgres } = this.#pick(primaries);
    if (postgres.wal.length - this.#acknowledgedBy(postgres) > WAITING_MAX) return;
    postgres.write({ id: ++this.#records, by: name });
    const { walEpoch } = postgres.promises;
    const writer = this.#epochWriters.get(walEpoch) ?? name;
    if (writer !== name) this.#broken("F2", `${name} and ${writer} both write in epoch ${walEpoch}`);
    this.#epochWriters.set(walEpoch, name);
  }

  #acknowledge(): void {
    for (const { isUp, postgres } of this.#hosts) {
      if (!isUp || postgres.kind !== "primary") continue;
      const end = Math.min(this.#acknowledgedBy(postgres), postgres.wal.length);
      for (let at = end - 1; at >= 0; at -= 1) {
        const record = postgres.wal[at];
        if (record === undefined || this.#acknowledged.has(record)) break;
        if (record.by === postgres.name) this.#acknowledged.add(record);
      }
    }
  }

  #acknowledgedBy(primary: ModelPostgres): number {
    const others = this.#hosts.filter(({ name }) => this.#reach(primary.name, name) !== null);
    return primary.acknowledgedUpTo(others.map((other) => other.postgres));
  }

  #heartbeats(): void {
    const leader = this.#leader;
    if (!leader.isUp) return;
    for (const host of [...this.#hosts]) {
      if (!host.isUp || this.#reach(leader.name, host.name) === null) continue;
      if (!this.#isMember(host)) {
        if (this.#chance(0.3)) this.#leave(host);
        continue;
      }
      host.known = Math.max(host.known, this.#chance(0.8) ? this.#states.length - 1 : host.known) as LogIndex;
      this.#publish(host);
    }
    for (const host of this.#hosts) {
      if (!host.isUp || this.#reach(leader.name, host.name) === null) continue;
      const seen = this.#observations.get(leader.id);
      if (seen !== undefined && host !== leader) this.#observations.set(host.id, new Map(seen));
    }
  }

  #publish(host: Host): void {
    const leader = this.#leader;
    if (this.#reach(leader.name, host.name) === null && host !== leader) return;
    host.sequence += 1;
    const status: MemberStatus = {
      memberId: host.id,
      bootId: `${host.life}`,
      sequence: host.sequence,
      postgres: host.postgres.look(),
      promises: host.postgres.promises,
      isRebuilt: host.postgres.hasAside,
      work: null,
      reason: "",
      detail: null,
      leading: null,
      version: "model",
    };
    const heard = { status, statusAtMs: this.#nowMs, heardAtMs: this.#nowMs, isConnected: true };
    this.#observations.get(leader.id)?.set(host.id, heard);
  }

  #leaderTurn(): void {
    const leader = this.#leader;
    if (!leader.isUp || !this.#hasMajority(leader)) {
      this.#elect();
      return;
    }
    leader.known = (this.#states.length - 1) as LogIndex;
    const state = this.#latest();
    this.#reign = seeReign(this.#reign, state.reign, this.#nowMs);
    this.#loseConnections(leader);
    const view: ClusterView = {
      state,
      selfId: leader.id,
      observations: this.#observations.get(leader.id) ?? new Map(),
      voterIds: this.#voters().map((host) => host.id),
      nowMs: this.#nowMs,
      nowWallMs: this.#nowMs,
      leadingSinceMs: this.#leadingSinceMs,
      reignSinceMs: this.#reign.sinceMs,
      fenceSinceMs: this.#reign.fenceSinceMs,
      lastFenceSinceMs: this.#reign.lastFenceSinceMs,
      leaseUntilMs: 0,
      primaryLsn: null,
      formerLeaderId: this.#formerLeaderId,
    };
    const urgent = decideCluster(view);
    const decision =
      urgent.kind === "hold" ? (decideMembership(view, this.#groupOf(view)) ?? urgent) : urgent;
    if (decision.kind === "transfer-leadership")
      this.#lead(this.#hosts.find((host) => host.id === decision.to) ?? leader);
    if (decision.kind === "propose") this.#agree(decision.change, decision.reason);
    else this.#sabotageHold(state);
  }

  #agree(change: Change, reason: string): void {
    const command = {
      id: `${this.#states.length}`,
      atMs: this.#nowMs,
      by: "leader",
      change: this.#sabotaged(change),
    };
    const applied = apply(this.#latest(), command);
    if (applied.state === null || !applied.outcome.ok) return;
    this.#states.push(this.#namingTwice(applied.state));
    this.#note(`agreed ${change.kind} because ${reason}: ${applied.events[0]?.message ?? ""}`);
  }

  #sabotaged(change: Change): Change {
    if (
      this.#sabotage !== "promote-the-least-advanced" ||
      change.kind !== "appoint" ||
      change.position === null
    ) {
      return change;
    }
    const pledged = this.#hosts.filter(
      ({ id: hostId, isUp, postgres }) => isUp && postgres.kind === "standby" && hostId !== change.memberId,
    );
    const least = pledged.sort((a, b) => a.postgres.wal.length - b.postgres.wal.length)[0];
    return least === undefined ? change : { ...change, memberId: least.id };
  }

  #sabotageHold(state: ClusterState): void {
    const { reign } = state;
    if (this.#sabotage === "one-pledge-is-enough" && reign?.fence) {
      const pledged = this.#hosts.find(
        ({ postgres }) =>
          postgres.kind === "standby" &&
          postgres.promises.pledgedEpoch >= reign.epoch &&
          !postgres.isReceiving,
      );
      if (pledged === undefined) return;
      const cohort = {
        standbyIds: this.#hosts.filter((host) => host !== pledged).map((host) => host.id),
        k: 1,
      };
      const change: Change = {
        kind: "appoint",
        memberId: pledged.id,
        previousEpoch: reign.epoch,
        cohort,
        position: { timeline: pledged.postgres.timeline as never, lsn: pledged.postgres.wal.length as never },
        timelines: [],
        reason: "sabotage",
        passedOver: [],
      };
      this.#agree(change, "sabotage");
    }
    if (this.#sabotage === "settle-without-holding" && reign?.pendingCohort) {
      this.#agree({ kind: "settle-cohort", epoch: reign.epoch, cohort: reign.pendingCohort }, "sabotage");
    }
  }

  #loseConnections(leader: Host): void {
    const seen = this.#observations.get(leader.id);
    for (const host of this.#hosts) {
      const observation = seen?.get(host.id);
      if (observation === undefined || this.#reach(leader.name, host.name) !== null) continue;
      seen?.set(host.id, { ...observation, isConnected: false });
    }
  }

  #hasMajority(host: Host): boolean {
    const voters = this.#voters();
    const reached = voters.filter(
      (other) => other === host || (other.isUp && this.#reach(host.name, other.name)),
    );
    return voters.includes(host) && reached.length * 2 > voters.length;
  }

  // --- Members that come and go -----------------------------------------------------------------------------------

  #isMember(host: Host): boolean {
    return memberById(this.#latest(), host.id) !== undefined;
  }

  #voters(): readonly Host[] {
    return this.#hosts.filter((host) => this.#isMember(host));
  }

  /** A member on its way out votes until no rule names it and its PostgreSQL has stopped, as far as that is known. */
  #groupOf(view: ClusterView): GroupView {
    const stays = view.state.members.filter(
      (each) => !each.isLeaving || isNamedByReign(view.state, each.id) || isStopping(view, each),
    );
    const config: GroupConfig = {
      voters: stays.map((each) => each.id),
      outgoing: [],
      learners: [],
      learnersNext: [],
    };
    const followers = config.voters
      .filter((each) => each !== view.selfId)
      .map((each) => ({ id: each, matchIndex: 0 as LogIndex, isActive: true, isCaughtUp: true }));
    return {
      state: view.state,
      selfId: view.selfId,
      raft: { config, followers, isReady: true, isConfigPending: false },
      longSilentIds: new Set(),
      stoppingIds: new Set(),
    };
  }

  /** Somebody says that a new machine takes a member's name and place. The old one may be in the best of health. */
  #replace(): void {
    const state = this.#latest();
    const replaceable = state.members.filter((each) => each.id !== state.reign?.primaryId);
    const isBusy = state.members.some(({ isLeaving }) => isLeaving);
    if (replaceable.length === 0 || isBusy || !this.#hasMajority(this.#leader)) return;
    const old = this.#pick(replaceable);
    const host = this.#newHost(`m${++this.#machines}`);
    const tokenId = `token-${this.#machines}`;
    const before = this.#states.length;
    const made = { tokenId, secretHash: "", expiresAtMs: this.#nowMs + 1_000, replaces: old.id };
    this.#agree({ kind: "create-join-token", ...made }, "somebody asked");
    const joiner = { ...member(host.name, { data: "none" }), name: old.name };
    this.#agree({ kind: "add-member", member: joiner, joinTokenId: tokenId }, "somebody asked");
    if (this.#states.length < before + 2) return;
    this.#hosts = [...this.#hosts, host];
    this.#introduce();
  }

  /** It hears that it was removed, stops its PostgreSQL and ends. */
  #leave(host: Host): void {
    this.#note(`${host.name} leaves`);
    host.postgres.crash();
    host.postgres.isUp = false;
    this.#hosts = this.#hosts.filter((each) => each !== host);
    this.#introduce();
  }

  /** Sabotage: who takes a name takes it in PostgreSQL, too. */
  #namingTwice(state: ClusterState): ClusterState {
    if (this.#sabotage !== "give-a-standby-name-twice") return state;
    const members = state.members.map(({ standbyName, ...each }) =>
      standbyName === undefined || each.isLeaving === true
        ? { ...each, ...(standbyName === undefined ? {} : { standbyName }) }
        : each,
    );
    return { ...state, members };
  }

  #elect(): void {
    const candidates = this.#hosts.filter((host) => host.isUp && this.#hasMajority(host));
    if (candidates.length > 0) this.#lead(this.#pick(candidates));
  }

  #lead(host: Host): void {
    if (host === this.#leader || !host.isUp || !this.#hasMajority(host)) return;
    this.#formerLeaderId = this.#leader.id;
    this.#leader = host;
    this.#leadingSinceMs = this.#nowMs;
    this.#note(`${host.name} leads`);
  }

  #fault(): void {
    const host = this.#pick(this.#hosts);
    const other = this.#pick(this.#hosts);
    if (this.#chance(0.08)) {
      this.#replace();
      return;
    }
    const dice = this.#random();
    if (dice < 0.25) {
      this.#note(`${host.name} postmaster killed`);
      host.postgres.crash();
    } else if (dice < 0.45) this.#powerOff(host);
    else if (dice < 0.55) this.#suspectNeedlessly();
    else if (dice < 0.7) this.#boot(host);
    else if (dice < 0.8) this.#elect();
    else if (dice < 0.9 && host !== other) {
      this.#note(`${host.name} cut from ${other.name}`);
      this.#cut.add(`${host.name}>${other.name}`);
    } else this.#cut.clear();
    if (this.#hosts.filter(({ isUp }) => !isUp).length > this.#hosts.length / 2) this.#boot(host);
  }

  /** Being wrong about a healthy primary may cost a failover, but never data. */
  #suspectNeedlessly(): void {
    const { reign } = this.#latest();
    if (reign === null || reign.fence !== null || !this.#leader.isUp || !this.#hasMajority(this.#leader))
      return;
    this.#agree(
      { kind: "fence", epoch: reign.epoch, reason: "needless", preferredId: null },
      "needless suspicion",
    );
  }

  #powerOff(host: Host): void {
    if (!host.isUp) return;
    this.#note(`${host.name} dies`);
    host.isUp = false;
    host.postgres.isUp = false;
    host.postgres.crash();
    host.plan = [];
  }

  #boot(host: Host): void {
    if (host.isUp) return;
    this.#note(`${host.name} boots`);
    host.isUp = true;
    host.postgres.isUp = true;
    host.life += 1;
    host.sequence = 0;
    this.#observations.set(host.id, new Map());
  }

  /** F1, after every event: whoever reigns by the newest appointment has every acknowledged commit. */
  #check(): void {
    const { reign } = this.#latest();
    if (reign === null) return;
    const reigning = this.#hosts.find((host) => host.id === reign.primaryId)?.postgres;
    if (reigning?.kind !== "primary" || reigning.promises.walEpoch !== reign.epoch) return;
    const witness = `${reigning.name} ${reign.epoch} ${this.#acknowledged.size}`;
    if (witness === this.#checked) return;
    this.#checked = witness;
    const stored = new Set(reigning.wal);
    for (const record of this.#acknowledged) {
      if (!stored.has(record))
        this.#broken("F1", `record ${record.id} by ${record.by} is not on ${reigning.name}`);
    }
  }

  #broken(invariant: string, what: string): never {
    this.#note(`${invariant} BROKEN: ${what}`);
    throw new InvariantBroken(
      `${invariant}: ${what}\n${this.describe()}\n${this.trace.slice(-60).join("\n")}`,
    );
  }

  #note(what: string): void {
    this.trace.push(`${String(this.#nowMs).padStart(7)} ${what}`);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.#random() * from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }
}

/** A small generator of good-enough chance from a 32-bit seed. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
