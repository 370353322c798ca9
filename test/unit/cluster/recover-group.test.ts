/** The day a majority is gone: what one survivor may go on with, and what it must not do by itself. */
import { describe, expect, test } from "bun:test";
import type { ClusterId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { cohortNames } from "../../../src/cluster/writable.ts";
import { decideCluster } from "../../../src/decision/decide-cluster.ts";
import {
  clusterState,
  clusterView,
  cohort,
  epoch,
  id,
  pledgedStandby,
  primary,
  reign,
  standby,
} from "../../support/situation.ts";

const NEW = "00000000-0000-4000-8000-00000000d2d2" as ClusterId;

function recover(state: ClusterState, name: string, makePrimary = false) {
  const change: Change = { kind: "recover-group", clusterId: NEW, memberId: id(name), makePrimary };
  const command: Command = { id: "recovery", atMs: 5_000, by: "offline", change };
  return apply(state, command);
}

function recovered(state: ClusterState, name: string, makePrimary = false): ClusterState {
  const { outcome, state: after } = recover(state, name, makePrimary);
  if (!outcome.ok || after === null) throw new Error(outcome.ok ? "no state" : outcome.code);
  return after;
}

const STATE = clusterState({
  featureLevel: 2,
  joinTokens: [{ id: "j", secretHash: "h", expiresAtMs: 9_999, usedBy: null }],
});
const FENCE = { reason: "member-lost", preferredId: null, fencedAtWallMs: 0 };

describe("recovering a group", () => {
  test("leaves one member under a new cluster id, tombstones of the others, and a log of it", () => {
    const state = recovered(STATE, "m2");
    expect(state.clusterId).toBe(NEW);
    expect(state.members.map(({ name }) => name)).toEqual(["m2"]);
    expect(state.removed?.map(({ name }) => name)).toEqual(["m1", "m3"]);
    expect(state.joinTokens).toEqual([]);
    expect(state.operations.at(-1)).toMatchObject({ kind: "recover", status: "succeeded", by: "offline" });
    expect(state.operations.at(-1)?.log.map(({ message }) => message)).toContain("m3 was left behind");
  });

  test("ends what was under way", () => {
    const switchover: Change = {
      kind: "begin-switchover",
      targetId: id("m3"),
      operationId: "s",
      epoch: epoch(1),
    };
    const busy = apply(STATE, { id: "c", atMs: 1, by: "x", change: switchover }).state;
    if (busy === null) throw new Error("a state");
    const state = recovered(busy, "m1");
    expect(state.switchover).toBeNull();
    expect(state.operations[0]).toMatchObject({ kind: "switchover", status: "failed" });
  });

  test("is refused for a stranger, and for a primary without data", () => {
    expect(recover(STATE, "m9").outcome).toMatchObject({ code: "member-unknown" });
    const empty = clusterState({ systemIdentifier: null, reign: null });
    expect(recover(empty, "m2", true).outcome).toMatchObject({ code: "member-unsuitable" });
  });

  test("an initialisation on a lost member may be begun again, one that made a PostgreSQL may not", () => {
    expect(recovered(clusterState({ systemIdentifier: null, reign: null }), "m2").initialization).toBeNull();
    expect(recovered(STATE, "m2").initialization).not.toBeNull();
  });
});

describe("the primary survives", () => {
  test("it reigns on: the others leave its cohort in the usual order, then commits need nobody", () => {
    let state = recovered(STATE, "m1");
    expect(state.reign).toEqual(STATE.reign);
    expect(cohortNames(state, cohort(1, "m2", "m3"))).toBe('ANY 1 ("m2","m3")');
    const steps: string[] = [];
    const seen = { selfId: id("m1") };
    for (let step = 0; step < 10; step += 1) {
      const { pendingCohort, cohort: present } = state.reign ?? reign();
      const names = cohortNames(state, pendingCohort ?? present);
      const serving = primary(0, [], { synchronous: { names, sinceLsn: 90 as never } });
      const decision = decideCluster(clusterView(state, { m1: { postgres: serving } }, seen));
      if (decision.kind !== "propose" || !decision.change.kind.includes("cohort")) break;
      steps.push(`${decision.change.kind} ${names === "" ? "none" : names}`);
      state =
        apply(state, { id: `c${step}`, atMs: step, by: "leader", change: decision.change }).state ?? state;
    }
    expect(state.reign?.cohort).toEqual({ standbyIds: [], k: 0 });
    expect(steps[0]).toBe('change-cohort ANY 1 ("m2","m3")');
  });

  test("unless its reign was being ended: a successor may have been appointed", () => {
    const state = recovered({ ...STATE, reign: reign({ fence: FENCE }) }, "m1");
    expect(state.reign?.isAbandoned).toBe(true);
    const seen = { m1: { postgres: pledgedStandby(), promises: { pledgedEpoch: epoch(1) } } };
    expect(decideCluster(clusterView(state, seen, { selfId: id("m1") }))).toMatchObject({
      kind: "hold",
      reason: "reign-abandoned",
    });
  });
});

describe("the primary was another member", () => {
  // The rule it knows names m2 alone, so m2's pledge would do: but the rule may be older than what was agreed without it.
  const ALONE = { ...STATE, reign: reign({ cohort: cohort(1, "m2") }) };

  test.each([
    ["streaming", { m2: { postgres: standby() } }],
    ["pledged", { m2: { postgres: pledgedStandby(), promises: { pledgedEpoch: epoch(1) } } }],
  ])("nothing is promoted by itself while the survivor is %s", (_what, seen) => {
    for (const state of [
      recovered(ALONE, "m2"),
      recovered({ ...ALONE, reign: reign({ fence: FENCE }) }, "m2"),
    ]) {
      const decision = decideCluster(clusterView(state, seen));
      expect(decision).toMatchObject({ kind: "hold", reason: "reign-abandoned", detail: "m1" });
    }
  });

  test("a person makes the survivor primary: fenced, pledged, appointed, as always", () => {
    const state = recovered(STATE, "m2", true);
    expect(state.reign?.isAbandoned).toBeUndefined();
    expect(decideCluster(clusterView(state, { m2: { postgres: standby() } }))).toMatchObject({
      kind: "hold",
      reason: "waiting-for-pledges",
    });
    const pledged = { m2: { postgres: pledgedStandby(), promises: { pledgedEpoch: epoch(1) } } };
    const decision = decideCluster(clusterView(state, pledged));
    if (decision.kind !== "propose") throw new Error(decision.kind);
    const appointed = apply(state, { id: "a", atMs: 1, by: "leader", change: decision.change }).state;
    expect(appointed?.reign).toMatchObject({ primaryId: id("m2"), cohort: { standbyIds: [], k: 0 } });
  });

  test("also after it was recovered without", () => {
    const state = recovered(recovered(STATE, "m2"), "m2", true);
    expect(state.reign).toMatchObject({ fence: { reason: "recovered" }, cohort: cohort(1, "m2") });
    expect(state.reign?.isAbandoned).toBeUndefined();
  });
});

test("no epoch that the lost part may have used is used again (F2)", () => {
  const state = recovered(STATE, "m2", true);
  const pledged = { m2: { postgres: pledgedStandby(), promises: { pledgedEpoch: epoch(1) } } };
  const decision = decideCluster(clusterView(state, pledged));
  if (decision.kind !== "propose") throw new Error(decision.kind);
  const appointed = apply(state, { id: "a", atMs: 1, by: "leader", change: decision.change }).state;
  expect(appointed?.reign?.epoch).toBe(epoch(1_001));
  const twice = recovered(recovered(STATE, "m2"), "m2");
  expect(twice.epochFloor).toBe(epoch(2_001));
});
