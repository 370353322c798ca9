/** What a leader does that is broken on purpose. */
import type { Change } from "../../../src/cluster/command.ts";
import { type ClusterState, isNamedByReign } from "../../../src/cluster/state.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
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

/** What the leader sees, with one rule where two count. */
export function dishonestView(sabotage: Sabotage | "none", view: ClusterView): ClusterView {
  const { reign } = view.state;
  if (sabotage === "trust-a-named-outsider") return trustingTheNamed(view);
  if (sabotage !== "count-the-new-rule-alone" || !reign?.fence || reign.pendingCohort === null) return view;
  const newest = { ...reign, cohort: reign.pendingCohort, pendingCohort: null };
  return { ...view, state: { ...view.state, reign: newest } };
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
function trustingTheNamed(view: ClusterView): ClusterView {
  const named = view.state.reign?.fence?.preferredId ?? null;
  if (named === null || isNamedByReign(view.state, named)) return view;
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
