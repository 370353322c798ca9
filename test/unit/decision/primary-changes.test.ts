import { expect, test } from "bun:test";
import type { ClusterState, FailoverRecord, Operation } from "../../../src/cluster/state.ts";
import { primaryChanges } from "../../../src/decision/primary-changes.ts";
import { clusterState, epoch, id } from "../../support/situation.ts";

const SWITCHOVER: Operation = {
  id: "op",
  kind: "switchover",
  memberId: id("m2"),
  handsOver: { primaryId: id("m1"), epoch: epoch(1) },
  by: "ann",
  startedAtMs: 1_000,
  finishedAtMs: 1_200,
  status: "succeeded",
  phase: "succeeded",
  log: [{ atMs: 1_200, message: "m2 takes writes" }],
};

const FAILOVER: FailoverRecord = {
  number: 3,
  kind: "automatic",
  epoch: epoch(1),
  nextEpoch: epoch(2),
  from: "m1",
  to: "m3",
  reason: "member-lost",
  by: "leader",
  evidence: [],
  atMs: 5_000,
  detectionMs: 900,
  phases: [
    { phase: "appointed", afterMs: 40 },
    { phase: "writable", afterMs: 90 },
  ],
  positions: [],
  passedOver: [],
  loss: null,
};

/** `hook: from -> to, primary and its epoch: what came of it`. */
function said(
  operations: readonly Operation[],
  failovers: readonly FailoverRecord[] = [],
): readonly string[] {
  const state: ClusterState = clusterState({ featureLevel: 4, operations, failovers });
  return primaryChanges(state).map(
    ({ hook, from, to, primary, epoch: reigns, result, detail }) =>
      `${hook}: ${from} -> ${to}, ${primary} ${reigns}: ${result} (${detail})`,
  );
}

test("a switchover is told once it is over, with whoever is primary then", () => {
  const record: FailoverRecord = { ...FAILOVER, kind: "switchover", to: "m2" };
  expect(said([SWITCHOVER], [record])).toEqual([
    "after-switchover: m1 -> m2, m2 2: succeeded (m2 takes writes)",
  ]);
  expect(said([{ ...SWITCHOVER, status: "running", finishedAtMs: null }], [record])).toEqual([]);
});

test("one that came to nothing leaves the primary, one that went elsewhere another", () => {
  const failed: Operation = {
    ...SWITCHOVER,
    status: "failed",
    log: [{ atMs: 1_200, message: "m2 is gone" }],
  };
  expect(said([failed])).toEqual(["after-switchover: m1 -> m2, m1 1: failed (m2 is gone)"]);
  expect(said([failed], [{ ...FAILOVER, kind: "switchover" }])).toEqual([
    "after-switchover: m1 -> m2, m3 2: failed (m2 is gone)",
  ]);
});

test("a failover is told once its primary takes writes, with what may be lost", () => {
  expect(said([], [FAILOVER])).toEqual(["after-failover: m1 -> m3, m3 2: succeeded (member-lost)"]);
  expect(said([], [{ ...FAILOVER, phases: [] }])).toEqual([]);
  const [told] = said([], [{ ...FAILOVER, kind: "manual", loss: "a little" }]);
  expect(told).toEndWith("succeeded (member-lost; a little)");
});

test("what older members began says nothing of itself, and is not guessed", () => {
  const { handsOver: _unsaid, ...older } = SWITCHOVER;
  expect(
    said([older, { ...SWITCHOVER, kind: "reinitialize", handsOver: undefined } as unknown as Operation]),
  ).toEqual([]);
});

test("each has a name that stays", () => {
  const state = clusterState({ operations: [SWITCHOVER], failovers: [FAILOVER] });
  expect(primaryChanges(state).map(({ key, atMs }) => `${key} at ${atMs}`)).toEqual([
    "switchover op at 1200",
    "failover 3 at 5090",
  ]);
});
