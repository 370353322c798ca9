/**
 * The leader's side: it hears the members, decides by production code, has it agreed, and hands stamps of leases back. Who
 * leads is decided here too: whoever reaches a majority may.
 */
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change } from "../../../src/cluster/command.ts";
import type { GroupConfig } from "../../../src/cluster/consensus.ts";
import type { Observation } from "../../../src/cluster/observation.ts";
import { isNamedByReign, leaseMsOf, longestLeaseMs } from "../../../src/cluster/state.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import type { GroupView } from "../../../src/decision/decide-config.ts";
import { decideMembership, isStopping } from "../../../src/decision/decide-membership.ts";
import { leaseEndMs } from "../../../src/decision/lease.ts";
import { isLeasedReign } from "../../../src/decision/quorum.ts";
import { seeReign } from "../../../src/decision/reign-seen.ts";
import type { LeaseExtension } from "../../../src/supervisor/lease.ts";
import { type Host, isAlive, type MemberProcess } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import { dishonestState, dishonestView, LeaderSabotage } from "./leader-sabotage.ts";
import type { MemberSide } from "./member.ts";
import type { World } from "./world.ts";

/** What came while a process was frozen it reads when it goes on. */
const FROZEN_LOOK_MS = 100;

type Alive = Host & { process: MemberProcess };

export class LeaderSide {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #members: MemberSide;
  readonly #sabotage: LeaderSabotage;

  constructor(world: World, invariants: Invariants, members: MemberSide) {
    this.#world = world;
    this.#invariants = invariants;
    this.#members = members;
    this.#sabotage = new LeaderSabotage(world);
  }

  // --- Who leads -----------------------------------------------------------------------------------------------------

  #isLeading(host: Host): host is Alive {
    return isAlive(host) && host.process.bootId === this.#world.leaderBootId && this.#world.hasMajority(host);
  }

  elect(): void {
    const candidates = this.#world.hosts.filter((host) => this.#world.hasMajority(host));
    if (candidates.length > 0) this.lead(this.#world.chance.pick(candidates));
  }

  lead(host: Host): void {
    const world = this.#world;
    const leads = host === world.leader && host.process?.bootId === world.leaderBootId;
    if (leads || !isAlive(host) || !world.hasMajority(host)) return;
    world.leader = host;
    world.leaderBootId = host.process.bootId;
    world.leadingSinceMs = world.hostMs(host);
    world.grantedAtMs = null;
    world.primarySeen = null;
    noteLeader(host, host.id);
    world.note(`${host.name} leads`);
  }

  // --- Hearing, and being heard --------------------------------------------------------------------------------------

  /** To everybody, with what is agreed; and an answer from everybody. */
  heartbeats(): void {
    const world = this.#world;
    const { leader } = world;
    if (!this.#isLeading(leader)) return;
    const digest = world.chance.is(0.5) ? leader.process.board.digest(world.hostMs(leader)) : [];
    const end = (world.states.length - 1) as LogIndex;
    for (const host of world.hosts) {
      if (host === leader) continue;
      const upTo = world.chance.is(0.8) ? end : host.known;
      world.send(leader, host, () => {
        if (!isAlive(host)) return;
        const nowMs = world.hostMs(host);
        host.known = Math.max(host.known, upTo) as LogIndex;
        host.process.reign = seeReign(host.process.reign, world.knownTo(host).reign, nowMs);
        noteLeader(host, leader.id);
        host.process.board.heard(leader.id, nowMs);
        host.process.board.takeDigest(digest, nowMs);
        if (world.isMember(host)) this.#members.tell(host, leader);
        else if (world.chance.is(0.3)) this.#leave(host);
      });
    }
  }

  /** It hears that it was removed, stops its PostgreSQL and ends. */
  #leave(host: Host): void {
    if (!this.#world.hosts.includes(host)) return;
    this.#world.note(`${host.name} leaves`);
    host.postgres.crash();
    host.isUp = false;
    this.#world.removeHost(host);
  }

  #lookAtConnections(leader: Alive): void {
    const { hosts, network } = this.#world;
    for (const host of hosts) {
      if (host === leader) continue;
      const isThere = host.isUp && host.process !== null && network.connects(leader.name, host.name);
      leader.process.board.setConnected(host.id, isThere);
    }
    leader.process.board.keepOnly(new Set(this.#world.latest.members.map(({ id }) => id)));
  }

  // --- Deciding ------------------------------------------------------------------------------------------------------

  turn(): void {
    const world = this.#world;
    const { leader } = world;
    if (!this.#isLeading(leader)) {
      this.elect();
      return;
    }
    if (world.isHealed && (world.latest.pauses ?? []).length > 0)
      this.agree({ kind: "resume", reason: null }, "somebody asked");
    leader.known = (world.states.length - 1) as LogIndex;
    this.#lookAtConnections(leader);
    const nowMs = world.hostMs(leader);
    const seen = leader.process.board.observations(nowMs);
    const observations = new Map(seen.map((each) => [each.status.memberId, each]));
    leader.process.reign = seeReign(leader.process.reign, world.latest.reign, nowMs);
    this.#grant(leader, observations);
    this.#decide(this.#viewOf(leader, observations));
  }

  #viewOf(leader: Alive, observations: ReadonlyMap<MemberId, Observation>): ClusterView {
    const world = this.#world;
    const { reign, formerLeaderId } = leader.process;
    const state = world.latest;
    return {
      state,
      selfId: leader.id,
      observations,
      voterIds: world.voters().map((host) => host.id),
      nowMs: world.hostMs(leader),
      nowWallMs: world.wallMs(leader),
      leadingSinceMs: world.leadingSinceMs,
      reignSinceMs: reign.sinceMs,
      fenceSinceMs: reign.fenceSinceMs,
      lastFenceSinceMs: reign.lastFenceSinceMs,
      leaseUntilMs:
        world.sabotage === "appoint-before-the-lease-ends"
          ? 0
          : leaseEndMs(world.leadingSinceMs, world.grantedAtMs, longestLeaseMs(state)),
      primaryLsn: (world.primarySeen?.lsn ?? null) as ClusterView["primaryLsn"],
      formerLeaderId,
    };
  }

  #decide(view: ClusterView): void {
    const { hosts, leader } = this.#world;
    const urgent = decideCluster(dishonestView(this.#world.sabotage, view));
    if (urgent.kind === "hold") this.#invariants.checkReason(urgent.reason);
    const decision = urgent.kind === "hold" ? (decideMembership(view, groupOf(view)) ?? urgent) : urgent;
    if (decision.kind === "transfer-leadership")
      this.lead(hosts.find((host) => host.id === decision.to) ?? leader);
    if (decision.kind === "propose") this.agree(decision.change, decision.reason);
    else {
      const change = this.#sabotage.insteadOfHolding(view.state);
      if (change !== null) this.agree(change, "sabotage");
    }
  }

  agree(change: Change, reason: string): void {
    const world = this.#world;
    const command = {
      id: `${world.states.length}`,
      atMs: world.wallMs(world.leader),
      by: "leader",
      change: this.#sabotage.insteadOf(change),
    };
    const applied = apply(world.latest, command);
    if (applied.state === null || !applied.outcome.ok) return;
    this.#invariants.agreed(change, applied.state);
    world.states.push(dishonestState(world.sabotage, applied.state, change));
    world.note(`agreed ${change.kind} because ${reason}: ${applied.events[0]?.message ?? ""}`);
  }

  // --- Leases --------------------------------------------------------------------------------------------------------

  /** The leader hands a stamp back, once a quorum is with it: now. On its way it may be slow. */
  #grant(leader: Alive, observations: ReadonlyMap<MemberId, Observation>): void {
    const world = this.#world;
    const { reign } = world.latest;
    const observation = reign === null ? undefined : observations.get(reign.primaryId);
    if (reign === null || observation === undefined) return;
    const { postgres, promises, leaseStampMs } = observation.status;
    if (postgres.kind === "primary" && promises.walEpoch === reign.epoch)
      world.primarySeen = { epoch: reign.epoch, lsn: postgres.writtenLsn };
    if (world.primarySeen !== null && world.primarySeen.epoch !== reign.epoch) world.primarySeen = null;
    if (reign.fence !== null || !isLeasedReign(reign) || leaseStampMs === undefined) return;
    const to = world.hosts.find((host) => host.id === reign.primaryId);
    if (to === undefined || observation.statusAtMs < world.leadingSinceMs) return;
    const { epoch } = reign;
    const durationMs = leaseMsOf(world.latest);
    world.grantedAtMs = world.hostMs(leader);
    if (!world.network.carries(leader.name, to.name)) return;
    // It came through; until the member reads it, it may be cut off, or be frozen for a while.
    const delayMs = world.chance.share() * (world.chance.is(0.1) ? 6_000 : 50);
    world.later(to, delayMs, () => this.#take(to, to.process, { epoch, stampMs: leaseStampMs, durationMs }));
  }

  #take(to: Host, process: Host["process"], grant: LeaseExtension): void {
    const world = this.#world;
    if (process === null || to.process !== process || !to.isUp) return;
    if (process.isFrozen) {
      world.later(to, FROZEN_LOOK_MS, () => this.#take(to, process, grant));
      return;
    }
    const isReceipt = world.sabotage === "count-a-lease-from-its-receipt";
    const stampMs = isReceipt ? (to.supervisor.look()?.stampMs ?? grant.stampMs) : grant.stampMs;
    to.supervisor.extendLease({ ...grant, stampMs }, world.chance.is(0.5));
  }

  /** Leases end. */
  leases(): void {
    for (const { isUp, name, supervisor } of this.#world.hosts) {
      if (isUp && supervisor.tick()) this.#world.note(`${name} stops PostgreSQL: its lease ends`);
    }
  }
}

function noteLeader({ process }: Alive, leaderId: MemberId): void {
  process.board.setLeader(leaderId);
  if (process.leaderId === leaderId) return;
  process.formerLeaderId = process.leaderId;
  process.leaderId = leaderId;
}

/** A member on its way out votes until no rule names it and its PostgreSQL has stopped, as far as that is known. */
function groupOf(view: ClusterView): GroupView {
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
