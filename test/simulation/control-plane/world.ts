/**
 * A whole control plane in one thread: the production state machine and the production decisions of leader and members,
 * over the model of PostgreSQL. Raft is taken for granted here (it has its own simulation): there is one log, and every
 * member knows a beginning of it.
 *
 * One seed decides everything that happens. After every event the safety invariants are checked.
 */
import type { Epoch, LogIndex, MemberId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change } from "../../../src/cluster/command.ts";
import type { GroupConfig } from "../../../src/cluster/consensus.ts";
import { DEFAULT_TAGS } from "../../../src/cluster/member.ts";
import type { MemberStatus, Observation } from "../../../src/cluster/observation.ts";
import {
  type ClusterState,
  isNamedByReign,
  leaseMsOf,
  longestLeaseMs,
  memberById,
} from "../../../src/cluster/state.ts";
import { isWritable } from "../../../src/cluster/writable.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import type { GroupView } from "../../../src/decision/decide-config.ts";
import { decideMember } from "../../../src/decision/decide-member.ts";
import { decideMembership, isStopping } from "../../../src/decision/decide-membership.ts";
import { leaseEndMs } from "../../../src/decision/lease.ts";
import type { Action } from "../../../src/decision/plan.ts";
import { isLeasedReign } from "../../../src/decision/quorum.ts";
import { REASONS } from "../../../src/decision/reasons.ts";
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
  planReason: string;
  life: number;
  sequence: number;
  /** The member's process is stopped by a signal; what it had decided, it does when it goes on. */
  isFrozen: boolean;
  /** This host's clock: `offset + rate * true time`. */
  readonly clock: { readonly offsetMs: number; readonly rate: number };
}

/** A stamp on its way back to its primary. */
interface Grant {
  readonly to: Host;
  readonly epoch: Epoch;
  readonly stampMs: number;
  readonly atMs: number;
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
  | "give-a-standby-name-twice"
  | "forget-inherited-rules"
  | "count-the-new-rule-alone"
  | "forget-pledges-at-a-crash"
  | "take-any-end-for-the-last"
  | "keep-no-leases"
  | "count-a-lease-from-its-receipt"
  | "appoint-before-the-lease-ends"
  | "stop-a-primary-without-a-leader"
  | "trust-a-named-outsider";

/** What a history is mostly about. */
export type Theme = "all" | "outsider";

export class World {
  readonly trace: string[] = [];
  readonly #random: () => number;
  readonly #sabotage: Sabotage;
  readonly #theme: Theme;
  #hosts: Host[];
  readonly #states: ClusterState[];
  readonly #observations = new Map<MemberId, Map<MemberId, Observation>>();
  readonly #cut = new Set<string>();
  /** Each acknowledged record, with the epoch under which it was. */
  readonly #acknowledged = new Map<WalRecord, Epoch>();
  readonly #epochWriters = new Map<number, string>();
  /** Epochs whose appointment said that something may be lost. */
  readonly #lossyEpochs = new Set<number>();
  readonly #promoted = new Set<number>();
  readonly #pledged = new Map<string, number>();
  #grants: Grant[] = [];
  #grantedAtMs: number | null = null;
  #reads = 0;
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
  #isHealed = false;

  /** @param theme `outsider`: the last member is in no cohort, and people keep asking for it. */
  constructor(seed: number, size: number, sabotage: Sabotage = "none", theme: Theme = "all") {
    this.#random = mulberry32(seed);
    this.#sabotage = sabotage;
    this.#theme = theme;
    const names = Array.from({ length: size }, (_, index) => `m${index + 1}`);
    this.#hosts = names.map((name) => this.#newHost(name));
    this.#introduce();
    this.#machines = size;
    this.#states = [
      clusterState({
        featureLevel: 3,
        members: names.map((name) => {
          const isOutside = theme === "outsider" && name === names.at(-1);
          return member(name, { data: "none", tags: { ...DEFAULT_TAGS, isNoSync: isOutside } });
        }),
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
      newSystem: () => {
        if (this.#systems > 0)
          this.#broken("F7", `${name} makes a second system over this cluster's history`);
        return `${++this.#systems}`;
      },
      hostMs: () => hostMs(),
      corrupted: (what: string) => this.#broken("F1", what),
    };
    // Up to 1 % fast or slow, which is a hundred times what clocks do, and half of what is reckoned with.
    const clock = { offsetMs: this.#random() * 1e6, rate: 0.99 + this.#random() * 0.02 };
    const hostMs = () => clock.offsetMs + clock.rate * this.#nowMs;
    const postgres = new ModelPostgres(name, id(name), world);
    postgres.isLiar = this.#sabotage === "answer-before-the-pledge";
    postgres.faults.ignoresLeases = this.#sabotage === "keep-no-leases";
    postgres.faults.liesAboutItsEnd = this.#sabotage === "take-any-end-for-the-last";
    this.#observations.set(id(name), new Map());
    return {
      name,
      id: id(name),
      postgres,
      isUp: true,
      known: 0 as LogIndex,
      plan: [],
      planReason: "",
      life: 1,
      sequence: 0,
      isFrozen: false,
      clock,
    };
  }

  /** Every PostgreSQL may become an upstream of every other. */
  #introduce(): void {
    for (const host of this.#hosts) host.postgres.standbys = this.#hosts.map(({ postgres }) => postgres);
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  /** Appointments of members that no rule named. */
  outsidersAppointed = 0;

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
    this.#leases();
    this.#acknowledge();
    this.#check();
  }

  /** Everything works again. */
  heal(): void {
    this.#cut.clear();
    for (const host of this.#hosts) {
      this.#boot(host);
      host.isFrozen = false;
      host.postgres.isFrozen = false;
    }
    this.#isHealed = true;
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
    return others.every(
      ({ postgres }) => postgres.isReceivingFrom(primary.postgres) && postgres.corruption === null,
    );
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
    if (!host.isUp || host.isFrozen || host.plan.length > 0) return;
    const state = this.#known(host);
    const { reign } = state;
    const plan = decideMember({
      state,
      selfId: host.id,
      postgres: host.postgres.look(),
      promises: host.postgres.promises,
      hasStandbySignal: host.postgres.kind !== "primary",
      lease: this.#leaseOf(host),
      unansweredMs: host.postgres.isFrozen ? 60_000 : null,
      startingMs: null,
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
    host.planReason = plan.reason;
    if (this.#sabotage === "stop-a-primary-without-a-leader" && !this.#hasMajority(host)) {
      if (host.postgres.kind === "primary") host.plan = [{ kind: "stop", mode: "immediate" }];
    }
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
    const action = host.isUp && !host.isFrozen ? host.plan.shift() : undefined;
    if (action === undefined) return;
    if (action.kind === "stop") this.#checkStop(host);
    if (action.kind === "promote") this.#checkPromotion(host, action.epoch);
    const { newestEpoch, pledgedEpoch } = host.postgres.promises;
    const isDone = host.postgres.perform(action);
    const isPromoted = action.kind === "promote" && isDone && host.postgres.kind === "primary";
    if (isPromoted && (action.epoch < newestEpoch || action.epoch <= pledgedEpoch))
      this.#broken("F4", `${host.name} is promoted for epoch ${action.epoch}, and had promised not to be`);
    if (action.kind === "promote" && isDone && host.postgres.kind === "primary")
      this.#promoted.add(action.epoch);
    this.#note(
      `${host.name} ${action.kind}${"epoch" in action ? ` ${action.epoch}` : ""}${isDone ? "" : " refused"}`,
    );
    if (!isDone) host.plan = [];
  }

  #write(): void {
    const primaries = this.#hosts.filter(
      ({ isUp, postgres }) => isUp && !postgres.isFrozen && postgres.kind === "primary",
    );
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
      if (!isUp || postgres.isFrozen || postgres.kind !== "primary") continue;
      const end = Math.min(this.#acknowledgedBy(postgres), postgres.wal.length);
      for (let at = end - 1; at >= 0; at -= 1) {
        const record = postgres.wal[at];
        if (record === undefined || this.#acknowledged.has(record)) break;
        if (record.by !== postgres.name) continue;
        this.#checkLease(postgres, record);
        this.#acknowledged.set(record, postgres.promises.walEpoch);
      }
    }
  }

  #acknowledgedBy(primary: ModelPostgres): number {
    const others = this.#hosts.filter(({ name }) => this.#reach(primary.name, name) !== null);
    return primary.acknowledgedUpTo(others.map((other) => other.postgres));
  }

  #heartbeats(): void {
    const leader = this.#leader;
    if (!leader.isUp || leader.isFrozen) return;
    for (const host of [...this.#hosts]) {
      if (!host.isUp || host.isFrozen || this.#reach(leader.name, host.name) === null) continue;
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
      featureLevel: 3,
      postmasterState: host.postgres.isFrozen ? "stopped" : "running",
      checks: {
        connectionFailingMs: null,
        writeFailingMs: null,
        postmasterStoppedMs: host.postgres.isFrozen ? 5_000 : null,
        detail: null,
      },
      lease: this.#leaseOf(host),
      ...(this.#isLeasedPrimary(host) ? { leaseStampMs: hostMsOf(host, this.#nowMs) } : {}),
    };
    const heard = { status, statusAtMs: this.#nowMs, heardAtMs: this.#nowMs, isConnected: true };
    this.#observations.get(leader.id)?.set(host.id, heard);
  }

  #leaderTurn(): void {
    const leader = this.#leader;
    if (!leader.isUp || leader.isFrozen || !this.#hasMajority(leader)) {
      this.#elect();
      return;
    }
    if (this.#isHealed && (this.#latest().pauses ?? []).length > 0)
      this.#agree({ kind: "resume", reason: null }, "somebody asked");
    leader.known = (this.#states.length - 1) as LogIndex;
    const state = this.#latest();
    this.#reign = seeReign(this.#reign, state.reign, this.#nowMs);
    this.#loseConnections(leader);
    this.#grant(leader);
    const reigning = this.#observations.get(leader.id)?.get(state.reign?.primaryId ?? leader.id);
    const seen = reigning?.status.postgres;
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
      leaseUntilMs:
        this.#sabotage === "appoint-before-the-lease-ends"
          ? 0
          : leaseEndMs(this.#leadingSinceMs, this.#grantedAtMs, longestLeaseMs(state)),
      primaryLsn: seen?.kind === "primary" ? seen.writtenLsn : null,
      formerLeaderId: this.#formerLeaderId,
    };
    const urgent = decideCluster(this.#withTrust(this.#withOneRule(view)));
    if (urgent.kind === "hold" && !Object.hasOwn(REASONS, urgent.reason))
      this.#broken("F10", `a hold for '${urgent.reason}', which nobody can explain`);
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
    if (change.kind === "appoint" && change.loss !== undefined && applied.state.reign !== null)
      this.#lossyEpochs.add(applied.state.reign.epoch);
    if (change.kind === "appoint" && applied.state.reign !== null)
      this.#checkLeasesAreOver(applied.state.reign.epoch);
    if (change.kind === "appoint" && isOutsider(this.#latest(), change.memberId))
      this.outsidersAppointed += 1;
    this.#states.push(this.#forgettingRules(this.#namingTwice(applied.state), change));
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
      (other) => other === host || (other.isUp && !other.isFrozen && this.#reach(host.name, other.name)),
    );
    return voters.includes(host) && !host.isFrozen && reached.length * 2 > voters.length;
  }

  // --- Leases ------------------------------------------------------------------------------------------------------

  #isLeasedPrimary(host: Host): boolean {
    const { reign } = this.#known(host);
    return reign !== null && reign.primaryId === host.id && reign.fence === null && isLeasedReign(reign);
  }

  #leaseOf(host: Host): { readonly epoch: Epoch; readonly remainingMs: number } | null {
    const { lease } = host.postgres;
    if (lease === null || lease.epoch <= host.postgres.promises.pledgedEpoch) return null;
    return { epoch: lease.epoch, remainingMs: lease.untilMs - hostMsOf(host, this.#nowMs) };
  }

  /** The leader hands a stamp back, once a quorum is with it: now. On its way it may be slow. */
  #grant(leader: Host): void {
    const { reign } = this.#known(leader);
    if (reign === null || reign.fence !== null || !isLeasedReign(reign) || !leader.isUp) return;
    const primary = this.#hosts.find((host) => host.id === reign.primaryId);
    const observation = this.#observations.get(leader.id)?.get(reign.primaryId);
    const stampMs = observation?.status.leaseStampMs;
    if (primary === undefined || stampMs === undefined || observation === undefined) return;
    if (observation.statusAtMs < this.#leadingSinceMs) return;
    this.#grantedAtMs = this.#nowMs;
    const atMs = this.#nowMs + (this.#chance(0.1) ? this.#random() * 6_000 : this.#random() * 50);
    this.#grants.push({ to: primary, epoch: reign.epoch, stampMs, atMs });
  }

  /** Stamps arrive, and leases end. */
  #leases(): void {
    if (this.#grants.length > 0) {
      const arrived = this.#grants.filter(({ atMs }) => atMs <= this.#nowMs);
      this.#grants = this.#grants.filter(({ atMs }) => atMs > this.#nowMs);
      for (const { to, epoch, stampMs } of arrived) {
        if (!to.isUp || to.isFrozen) continue;
        const isReceipt = this.#sabotage === "count-a-lease-from-its-receipt";
        const fromMs = isReceipt ? hostMsOf(to, this.#nowMs) : stampMs;
        to.postgres.extendLease(epoch, fromMs + leaseMsOf(this.#known(to)));
      }
    }
    for (const { isUp, name, postgres } of this.#hosts) {
      if (isUp && postgres.endLease()) this.#note(`${name} stops PostgreSQL: its lease ends`);
    }
  }

  /** F6: nobody acknowledges alone once another was promoted. */
  #checkLease(postgres: ModelPostgres, record: WalRecord): void {
    const { walEpoch } = postgres.promises;
    const isAlone = postgres.effective?.synchronousStandbyNames == null;
    const isLate = isAlone && [...this.#promoted].some((epoch) => epoch > walEpoch);
    if (isLate)
      this.#broken("F6", `${postgres.name} acknowledges ${record.id} alone under epoch ${walEpoch}`);
  }

  // --- What must never be done --------------------------------------------------------------------------------------

  /** F9: a primary that reigns and is not being replaced is stopped by nobody. */
  #checkStop(host: Host): void {
    const { reign } = this.#latest();
    const { postgres } = host;
    if (postgres.kind !== "primary" || postgres.isFrozen || host.planReason === "handing-over") return;
    const reigns =
      reign !== null && reign.primaryId === host.id && postgres.promises.walEpoch === reign.epoch;
    if (reigns && reign.fence === null) this.#broken("F9", `${host.name} stops the primary that reigns`);
  }

  /** F4: only an appointment makes a primary, and only the newest that its supervisor knows. */
  #checkPromotion(host: Host, epoch: Epoch): void {
    const isAppointed = this.#states.some(
      ({ reign }) => reign?.epoch === epoch && reign.primaryId === host.id,
    );
    if (!isAppointed)
      this.#broken("F4", `${host.name} is promoted for epoch ${epoch} without an appointment`);
  }

  /** F3: a pledge is never taken back, whatever happens to the process or the host. */
  #checkPledges(): void {
    for (const { name, postgres } of this.#hosts) {
      const { pledgedEpoch } = postgres.promises;
      const before = this.#pledged.get(name) ?? 0;
      if (pledgedEpoch < before) this.#broken("F3", `${name} forgets that it pledged epoch ${before}`);
      if (pledgedEpoch > before) this.#pledged.set(name, pledgedEpoch);
    }
  }

  /** F6: whoever is appointed, nobody else may still acknowledge alone, by the clock that holds it to its lease. */
  #checkLeasesAreOver(epoch: Epoch): void {
    for (const host of this.#hosts) {
      const { postgres, name } = host;
      const { lease } = postgres;
      const mayReign = postgres.kind === "primary" && postgres.effective?.synchronousStandbyNames == null;
      if (!host.isUp || !mayReign || lease === null || lease.epoch >= epoch) continue;
      if (lease.epoch <= postgres.promises.pledgedEpoch) continue;
      const leftMs = lease.untilMs - hostMsOf(host, this.#nowMs);
      if (leftMs > 0)
        this.#broken("F6", `${name} may reign for ${Math.round(leftMs)} ms more, and has a successor`);
    }
  }

  // --- People -------------------------------------------------------------------------------------------------------

  /** Somebody changes how commits are kept, pauses failovers, ends a reign, hands over, builds a member anew. */
  #operate(): void {
    const state = this.#latest();
    if (!this.#hasMajority(this.#leader) || state.reign === null) return;
    const { spec, generation, reign } = state;
    const dice = this.#random();
    const other = this.#pick(state.members);
    const asked = "somebody asked";
    const operationId = `op-${++this.#reads}`;
    if (dice < 0.45) {
      const durability = this.#pick([
        { mode: "async", maxLagBytes: this.#chance(0.5) ? 5 : 1_000_000 },
        { mode: "async", maxLagBytes: 1_000_000 },
        { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "degrade" },
        { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" },
        { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "degrade" },
      ] as const);
      this.#agree({ kind: "change-spec", generation, spec: { ...spec, durability } }, asked);
    } else if (dice < 0.55) {
      const isPaused = (state.pauses ?? []).length > 0;
      this.#agree(isPaused ? { kind: "resume", reason: null } : { kind: "pause", reason: "work" }, asked);
    } else if (dice < 0.7) {
      this.#agree({ kind: "fence", epoch: reign.epoch, reason: "operator", preferredId: other.id }, asked);
    } else if (dice < 0.9) {
      this.#agree({ kind: "begin-switchover", targetId: other.id, operationId, epoch: reign.epoch }, asked);
    } else {
      this.#agree({ kind: "reinitialize-member", memberId: other.id, operationId }, asked);
    }
  }

  /** Somebody ends the reign in favour of a member that stands outside every rule. */
  #nameOutsider(): void {
    const state = this.#latest();
    const { reign } = state;
    const outsider = state.members.find((each) => !isNamedByReign(state, each.id) && !each.isLeaving);
    if (reign === null || outsider === undefined || !this.#hasMajority(this.#leader)) return;
    const named = { reason: "operator", preferredId: outsider.id };
    this.#agree({ kind: "fence", epoch: reign.epoch, ...named }, "somebody asked");
  }

  /** A signal stops a member, or all of a PostgreSQL; or lets it go on. */
  #freeze(host: Host): void {
    if (!host.isUp) return;
    if (this.#chance(0.5)) {
      host.isFrozen = !host.isFrozen;
      this.#note(`${host.name}'s member ${host.isFrozen ? "freezes" : "thaws"}`);
      return;
    }
    const { postgres } = host;
    if (postgres.kind !== "standby" && postgres.kind !== "primary") return;
    postgres.isFrozen = !postgres.isFrozen;
    this.#note(`${host.name}'s PostgreSQL ${postgres.isFrozen ? "freezes" : "thaws"}`);
  }

  // --- Sabotage -----------------------------------------------------------------------------------------------------

  #forgettingRules(state: ClusterState, change: Change): ClusterState {
    if (this.#sabotage !== "forget-inherited-rules" || change.kind !== "appoint" || state.reign === null)
      return state;
    return { ...state, reign: { ...state.reign, inheritedRules: [] } };
  }

  /** Whoever is named says that it is as far as everybody else. */
  #withTrust(view: ClusterView): ClusterView {
    const { reign } = view.state;
    const named = reign?.fence?.preferredId ?? null;
    if (this.#sabotage !== "trust-a-named-outsider" || named === null || isNamedByReign(view.state, named))
      return view;
    const standbys = [...view.observations.values()].flatMap(({ status: { postgres, promises } }) =>
      postgres.kind === "standby" ? [{ postgres, promises }] : [],
    );
    const [furthest] = standbys.sort((a, b) => b.postgres.receivedLsn - a.postgres.receivedLsn);
    const observations = new Map(
      [...view.observations].map(([memberId, observation]) => {
        const { status } = observation;
        if (memberId !== named || status.postgres.kind !== "standby" || furthest === undefined)
          return [memberId, observation] as const;
        const { timeline, receivedLsn } = furthest.postgres;
        const postgres = { ...status.postgres, timeline, receivedLsn };
        const promises = { ...status.promises, timelines: furthest.promises.timelines };
        return [memberId, { ...observation, status: { ...status, postgres, promises } }] as const;
      }),
    );
    return { ...view, observations };
  }

  #withOneRule(view: ClusterView): ClusterView {
    const { reign } = view.state;
    if (this.#sabotage !== "count-the-new-rule-alone" || !reign?.fence || reign.pendingCohort === null)
      return view;
    const newest = { ...reign, cohort: reign.pendingCohort, pendingCohort: null };
    return { ...view, state: { ...view.state, reign: newest } };
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
    const candidates = this.#hosts.filter((host) => host.isUp && !host.isFrozen && this.#hasMajority(host));
    if (candidates.length > 0) this.#lead(this.#pick(candidates));
  }

  #lead(host: Host): void {
    if (host === this.#leader || !host.isUp || !this.#hasMajority(host)) return;
    this.#formerLeaderId = this.#leader.id;
    this.#leader = host;
    this.#leadingSinceMs = this.#nowMs;
    this.#grantedAtMs = null;
    this.#note(`${host.name} leads`);
  }

  #fault(): void {
    const host = this.#pick(this.#hosts);
    const other = this.#pick(this.#hosts);
    if (this.#theme === "outsider" && this.#chance(0.3)) {
      this.#nameOutsider();
      return;
    }
    if (this.#chance(0.08)) {
      this.#replace();
      return;
    }
    if (this.#chance(0.15)) {
      this.#operate();
      return;
    }
    if (this.#chance(0.2)) {
      this.#freeze(host);
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
    host.postgres.lease = null;
    host.plan = [];
    if (this.#sabotage === "forget-pledges-at-a-crash") host.postgres.forgetPledges();
  }

  #boot(host: Host): void {
    if (host.isUp) return;
    this.#note(`${host.name} boots`);
    host.isUp = true;
    host.isFrozen = false;
    host.postgres.isUp = true;
    host.life += 1;
    host.sequence = 0;
    this.#observations.set(host.id, new Map());
  }

  /** F1, after every event: whoever reigns by the newest appointment has every acknowledged commit. */
  #check(): void {
    this.#checkPledges();
    const { reign } = this.#latest();
    if (reign === null) return;
    const reigning = this.#hosts.find((host) => host.id === reign.primaryId)?.postgres;
    if (reigning?.kind !== "primary" || reigning.promises.walEpoch !== reign.epoch) return;
    const witness = `${reigning.name} ${reign.epoch} ${this.#acknowledged.size}`;
    if (witness === this.#checked) return;
    this.#checked = witness;
    const stored = new Set(reigning.wal);
    for (const [record, epoch] of this.#acknowledged) {
      if (stored.has(record)) continue;
      // Under a lease a loss is possible, and said with the appointment that brings it: then, and only then.
      if (![...this.#lossyEpochs].some((lossy) => lossy > epoch))
        this.#broken("F1", `record ${record.id} by ${record.by} is not on ${reigning.name}`);
      this.#acknowledged.delete(record);
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

/** No rule names it, and every rule counts. */
function isOutsider(state: ClusterState, memberId: MemberId): boolean {
  return state.reign !== null && !isLeasedReign(state.reign) && !isNamedByReign(state, memberId);
}

function hostMsOf({ clock }: Host, trueMs: number): number {
  return clock.offsetMs + clock.rate * trueMs;
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
