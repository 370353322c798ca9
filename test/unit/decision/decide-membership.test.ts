import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import type { GroupConfig } from "../../../src/cluster/consensus.ts";
import type { ClusterState, Operation } from "../../../src/cluster/state.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import type { GroupView } from "../../../src/decision/decide-config.ts";
import { decideMembership } from "../../../src/decision/decide-membership.ts";
import {
  clusterState,
  clusterView,
  cohort,
  epoch,
  id,
  member,
  NOW_MS,
  pledgedStandby,
  primary,
  reign,
  type Seen,
  standby,
} from "../../support/situation.ts";

const REMOVAL: Operation = {
  id: "remove-m3",
  kind: "remove",
  memberId: id("m3"),
  by: "admin",
  startedAtMs: 0,
  finishedAtMs: null,
  status: "running",
  phase: "leaving",
  log: [],
};

function leaving(extra: Partial<ClusterState> = {}): ClusterState {
  return clusterState({
    featureLevel: 2,
    members: [member("m1"), member("m2"), member("m3", { isLeaving: true })],
    operations: [REMOVAL],
    reign: reign({ cohort: cohort(1, "m2") }),
    ...extra,
  });
}

const config = (...voters: readonly string[]): GroupConfig => ({
  voters: voters.map(id),
  outgoing: [],
  learners: [],
  learnersNext: [],
});

function group(
  view: ClusterView,
  names: readonly string[],
  over: Partial<GroupView["raft"]> = {},
): GroupView {
  const followers = names
    .map(id)
    .filter((each) => each !== view.selfId)
    .map((each) => ({ id: each, matchIndex: 1 as LogIndex, isActive: true, isCaughtUp: true }));
  return {
    state: view.state,
    selfId: view.selfId,
    raft: { config: config(...names), followers, isReady: true, isConfigPending: false, ...over },
    longSilentIds: new Set(),
    stoppingIds: new Set(),
  };
}

const STOPPED: Seen = { postgres: { kind: "absent" } };
const decide = (
  state: ClusterState,
  seen: Readonly<Record<string, Seen>>,
  names: readonly string[],
  over: Partial<GroupView["raft"]> = {},
) => {
  const view = clusterView(state, seen);
  return decideMembership(view, group(view, names, over));
};
const forgotten = { kind: "propose", change: { kind: "forget-member", memberId: id("m3") } };
const told = (phase: string) => ({ kind: "propose", change: { kind: "progress-operation", phase } });

describe("a member that is being removed", () => {
  test("is forgotten once no rule, no configuration, and no PostgreSQL of its own is left", () => {
    const named = leaving({ reign: reign({ cohort: cohort(1, "m2", "m3") }) });
    expect(decide(named, { m3: STOPPED }, ["m1", "m2"])).toMatchObject(told("cohort"));
    expect(decide(leaving(), { m3: { postgres: standby() } }, ["m1", "m2"])).toMatchObject(told("postgres"));
    expect(decide(leaving(), { m3: STOPPED }, ["m1", "m2", "m3"])).toMatchObject(told("group"));
    const pending = { isConfigPending: true };
    expect(decide(leaving(), { m3: STOPPED }, ["m1", "m2"], pending)).toMatchObject(told("group"));
    expect(decide(leaving(), { m3: STOPPED }, ["m1", "m2"])).toMatchObject(forgotten);
  });

  test("is told of once a phase", () => {
    const already = leaving({ operations: [{ ...REMOVAL, phase: "group" }] });
    expect(decide(already, { m3: STOPPED }, ["m1", "m2", "m3"])).toBeNull();
  });

  test("is not waited for where it says nothing, or said it long ago", () => {
    expect(decide(leaving(), {}, ["m1", "m2"])).toMatchObject(forgotten);
    const silent = { postgres: standby(), silentMs: 60_000 };
    expect(decide(leaving(), { m3: silent }, ["m1", "m2"])).toMatchObject(forgotten);
    const view = clusterView(leaving(), { m3: { postgres: standby() } });
    const seen = view.observations.get(id("m3"));
    if (seen === undefined) throw new Error("m3 was seen");
    const observations = new Map([[id("m3"), { ...seen, statusAtMs: NOW_MS - 10_000 }]]);
    expect(decideMembership({ ...view, observations }, group(view, ["m1", "m2"]))).toMatchObject(forgotten);
  });
});

describe("a leader that is being removed", () => {
  const state = leaving({
    members: [member("m1"), member("m2", { isLeaving: true }), member("m3")],
    operations: [],
  });
  const heard = { m1: { postgres: primary(1, ["m3"]) }, m3: { postgres: standby() } };

  test("hands over, rather not to the primary's host", () => {
    expect(decide(state, heard, ["m1", "m2", "m3"])).toEqual({
      kind: "transfer-leadership",
      to: id("m3"),
      reason: "leader-leaving",
    });
    expect(decide(state, { m1: heard.m1 }, ["m1", "m2"])).toMatchObject({ to: id("m1") });
  });

  test("not in the middle of a failover", () => {
    const fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
    const fenced = { ...state, reign: reign({ cohort: cohort(1, "m3"), fence }) };
    expect(decide(fenced, heard, ["m1", "m2", "m3"])?.kind).not.toBe("transfer-leadership");
  });
});

describe("the feature level", () => {
  const speaks = (level: number | undefined, names: readonly string[]): ClusterView => {
    const view = clusterView(clusterState(), {
      m1: { postgres: primary(1, ["m2", "m3"]) },
      m2: { postgres: standby() },
      m3: { postgres: standby() },
    });
    const observations = new Map(
      [...view.observations].map(([each, seen]) => {
        const featureLevel =
          names.map(id).includes(each) && level !== undefined ? { featureLevel: level } : {};
        return [each, { ...seen, status: { ...seen.status, ...featureLevel } }];
      }),
    );
    return { ...view, observations };
  };
  const everybody = ["m1", "m2", "m3"];

  test("rises once every member says that it understands more", () => {
    const view = speaks(2, everybody);
    expect(decideMembership(view, group(view, everybody))).toMatchObject({
      kind: "propose",
      change: { kind: "raise-feature-level", level: 2 },
    });
  });

  test("not while one says nothing of it, is silent, or the cluster is there already", () => {
    const old = speaks(2, ["m1", "m2"]);
    expect(decideMembership(old, group(old, everybody))).toBeNull();
    const view = speaks(2, everybody);
    const m3 = view.observations.get(id("m3"));
    if (m3 === undefined) throw new Error("m3 was seen");
    const silent = new Map([...view.observations, [id("m3"), { ...m3, heardAtMs: NOW_MS - 60_000 }]]);
    expect(decideMembership({ ...view, observations: silent }, group(view, everybody))).toBeNull();
    const there = { ...view, state: clusterState({ featureLevel: 2 }) };
    expect(decideMembership(there, group(there, everybody))).toBeNull();
  });
});

describe("the cohort without a member that is being removed", () => {
  const seen = (names: string, streaming: readonly string[], others: readonly string[] = streaming) => ({
    m1: { postgres: primary(1, streaming, { synchronous: { names, sinceLsn: 90 as never } }) },
    ...Object.fromEntries(others.map((name) => [name, { postgres: standby() }])),
  });
  const both = 'ANY 1 ("m2","m3")';
  const to = (k: number, ...names: readonly string[]) => ({
    kind: "propose",
    change: { kind: "change-cohort", cohort: cohort(k, ...names) },
  });

  test("shrinks at once where enough others stream", () => {
    const state = leaving({ reign: reign({ cohort: cohort(1, "m2", "m3") }) });
    expect(decideCluster(clusterView(state, seen(both, ["m2", "m3"])))).toMatchObject(to(1, "m2"));
  });

  test("waits where the others that stay do not stream: commits come first", () => {
    const blocked = { kind: "hold", reason: "removal-would-block" };
    const reconnecting = leaving({ reign: reign({ cohort: cohort(1, "m2", "m3") }) });
    expect(decideCluster(clusterView(reconnecting, seen(both, ["m3"], ["m2", "m3"])))).toMatchObject(blocked);
    const last = leaving({ reign: reign({ cohort: cohort(1, "m3") }) });
    expect(decideCluster(clusterView(last, seen('ANY 1 ("m3")', ["m3"], ["m2", "m3"])))).toMatchObject(
      blocked,
    );
  });

  test("asks for fewer where fewer stay, whatever is said of losses", () => {
    const members = [member("m1"), member("m2", { isLeaving: true }), member("m3", { isLeaving: true })];
    const state = leaving({ members, reign: reign({ cohort: cohort(1, "m2", "m3") }) });
    expect(decideCluster(clusterView(state, seen(both, ["m2", "m3"])))).toMatchObject(to(0, "m2", "m3"));
  });

  test("takes back what was announced and can never be reached", () => {
    const announced = { cohort: cohort(1, "m2", "m3"), pendingCohort: cohort(2, "m2", "m3") };
    const state = leaving({ reign: reign(announced) });
    const names = 'ANY 2 ("m2","m3")';
    expect(decideCluster(clusterView(state, seen(names, ["m2"])))).toMatchObject(to(1, "m2", "m3"));
    const staying = clusterState({ featureLevel: 2, reign: reign(announced) });
    expect(decideCluster(clusterView(staying, seen(names, ["m2"])))).toMatchObject({
      kind: "hold",
      reason: "cohort-settling",
    });
  });

  test("counts another standby instead, where one streams", () => {
    const members = [member("m1"), member("m2"), member("m3", { isLeaving: true })];
    const inherited = { cohort: cohort(1, "m3"), inheritedRules: [cohort(1, "m2")] };
    const state = leaving({ members, reign: reign(inherited) });
    expect(decideCluster(clusterView(state, seen('ANY 1 ("m3")', ["m2"])))).toMatchObject(to(1, "m2", "m3"));
  });
});

describe("a failover while a member is being removed", () => {
  const fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };
  const state = leaving({ reign: reign({ cohort: cohort(1, "m2", "m3"), fence }) });
  const pledged = (lsn: number): Seen => ({
    postgres: pledgedStandby(lsn),
    promises: { pledgedEpoch: epoch(1) },
  });
  const appointed = (m2: number, m3: number) => {
    const decision = decideCluster(clusterView(state, { m2: pledged(m2), m3: pledged(m3) }));
    if (decision.kind !== "propose" || decision.change.kind !== "appoint") throw new Error(decision.kind);
    return decision.change;
  };

  test("among equals it is passed over, and still acknowledges where nobody else can", () => {
    const change = appointed(100, 100);
    expect(change.memberId).toBe(id("m2"));
    expect(change.passedOver).toContainEqual({ memberId: id("m3"), reason: "being removed" });
    expect(change.cohort).toEqual(cohort(1, "m3"));
  });

  test("it is appointed where it alone holds everything", () =>
    expect(appointed(100, 108).memberId).toBe(id("m3")));
});
