/** What a leader does that is broken on purpose. */
import type { LeaseGrant } from "../../../src/agent/lease-grants.ts";
import type { MemberId } from "../../../src/base/ids.ts";
import type { Change } from "../../../src/cluster/command.ts";
import type { Consensus } from "../../../src/cluster/consensus.ts";
import type { Observation } from "../../../src/cluster/observation.ts";
import { type ClusterState, isNamedByReign, leaseMsOf } from "../../../src/cluster/state.ts";
import type { Sabotage } from "./sabotage.ts";
import type { World } from "./world.ts";

export class LeaderSabotage {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Another change than the one that was decided. */
  insteadOf(change: Change): Change {
    if (this.#world.sabotage !== "promote-the-least-advanced") return change;
    if (change.kind !== "appoint" || change.position === null) return change;
    const pledged = this.#world.hosts.filter(
      ({ id, isUp, postgres }) => isUp && postgres.kind === "standby" && id !== change.memberId,
    );
    const [least] = pledged.sort((a, b) => a.postgres.wal.length - b.postgres.wal.length);
    return least === undefined ? change : { ...change, memberId: least.id };
  }

  /** A change where there should be none; null: none. */
  insteadOfHolding({ reign }: ClusterState): Change | null {
    const { sabotage } = this.#world;
    if (sabotage === "settle-without-holding" && reign?.pendingCohort)
      return { kind: "settle-cohort", epoch: reign.epoch, cohort: reign.pendingCohort };
    if (sabotage !== "one-pledge-is-enough" || !reign?.fence) return null;
    const pledged = this.#world.hosts.find(
      ({ postgres, supervisor }) =>
        postgres.kind === "standby" &&
        supervisor.promises.pledgedEpoch >= reign.epoch &&
        !postgres.isReceiving,
    );
    if (pledged === undefined) return null;
    const others = this.#world.hosts.filter((host) => host !== pledged);
    return {
      kind: "appoint",
      memberId: pledged.id,
      previousEpoch: reign.epoch,
      cohort: { standbyIds: others.map((host) => host.id), k: 1 },
      position: { timeline: pledged.postgres.timeline as never, lsn: pledged.postgres.wal.length as never },
      timelines: [],
      reason: "sabotage",
      passedOver: [],
    };
  }
}

/** What is agreed, less what should not have been forgotten. */
export function dishonestState(
  sabotage: Sabotage | "none",
  state: ClusterState,
  change: Change,
): ClusterState {
  if (sabotage === "give-a-standby-name-twice") return namingTwice(state);
  if (sabotage !== "forget-inherited-rules" || change.kind !== "appoint" || state.reign === null)
    return state;
  return { ...state, reign: { ...state.reign, inheritedRules: [] } };
}

/** Consensus, as a leader sees it that was broken on purpose. */
export function dishonest(world: World, consensus: Consensus): Consensus {
  if (world.sabotage === "none") return consensus;
  return new Proxy(consensus, {
    get(target, key) {
      if (key === "state") return dishonestSight(world.sabotage, target.state);
      if (key === "observations" && world.sabotage === "trust-a-named-outsider")
        return trustingTheNamed(target.state, target.observations);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** One rule where two count; or leases that are over at once. */
function dishonestSight(sabotage: Sabotage | "none", state: ClusterState): ClusterState {
  const { reign, spec } = state;
  if (reign === null) return state;
  if (sabotage === "appoint-before-the-lease-ends") {
    const timing = { ...spec.timing, leaseMs: 1 };
    return { ...state, spec: { ...spec, timing }, reign: { ...reign, leaseMsMax: 1 } };
  }
  if (sabotage !== "count-the-new-rule-alone" || reign.fence === null || reign.pendingCohort === null)
    return state;
  return { ...state, reign: { ...reign, cohort: reign.pendingCohort, pendingCohort: null } };
}

/** What a leader grants that believes leases to be short is long all the same. */
export function honestGrant(world: World, grant: LeaseGrant): LeaseGrant {
  if (world.sabotage !== "appoint-before-the-lease-ends") return grant;
  return { ...grant, durationMs: leaseMsOf(world.latest) };
}

/** Who takes a name takes it in PostgreSQL, too. */
function namingTwice(state: ClusterState): ClusterState {
  const members = state.members.map(({ standbyName, ...each }) =>
    standbyName === undefined || each.isLeaving === true
      ? { ...each, ...(standbyName === undefined ? {} : { standbyName }) }
      : each,
  );
  return { ...state, members };
}

/** Whoever is named says that it is as far as everybody else. */
function trustingTheNamed(
  state: ClusterState,
  seen: ReadonlyMap<MemberId, Observation>,
): ReadonlyMap<MemberId, Observation> {
  const named = state.reign?.fence?.preferredId ?? null;
  if (named === null || isNamedByReign(state, named)) return seen;
  const standbys = [...seen.values()].flatMap(({ status: { postgres, promises } }) =>
    postgres.kind === "standby" ? [{ postgres, promises }] : [],
  );
  const [furthest] = standbys.sort((a, b) => b.postgres.receivedLsn - a.postgres.receivedLsn);
  return new Map(
    [...seen].map(([memberId, observation]) => {
      const { status } = observation;
      if (memberId !== named || status.postgres.kind !== "standby" || furthest === undefined)
        return [memberId, observation] as const;
      const { timeline, receivedLsn } = furthest.postgres;
      const postgres = { ...status.postgres, timeline, receivedLsn };
      const promises = { ...status.promises, timelines: furthest.promises.timelines };
      return [memberId, { ...observation, status: { ...status, postgres, promises } }] as const;
    }),
  );
}
