/** "What if these were lost?", answered by the decisions that would be made then. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ClusterSpec, DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterState, Fence } from "../../../src/cluster/state.ts";
import type { ClusterView } from "../../../src/decision/cluster-view.ts";
import { explainLoss } from "../../../src/decision/explain.ts";
import { REASONS } from "../../../src/decision/reasons.ts";
import { WAYS_OUT } from "../../../src/decision/ways-out.ts";
import {
  clusterState,
  clusterView,
  cohort,
  id,
  lsn,
  member,
  NOW_MS,
  pledgedStandby,
  primary,
  reign,
  type Seen,
  standby,
} from "../../support/situation.ts";

const STATE = clusterState({ featureLevel: 3 });
const HEALTHY: Readonly<Record<string, Seen>> = {
  m1: { postgres: primary(1, ["m2", "m3"]) },
  m2: { postgres: standby({ receivedLsn: lsn(100) }) },
  m3: { postgres: standby({ receivedLsn: lsn(90) }) },
};

function ask(
  names: readonly string[],
  state: ClusterState = STATE,
  seen: Readonly<Record<string, Seen>> = HEALTHY,
  extra: Partial<ClusterView> = {},
  leader: string | null = "m2",
) {
  const leaderId = leader === null ? null : id(leader);
  return explainLoss(clusterView(state, seen, extra), new Set(names.map(id)), leaderId);
}

describe("explainLoss()", () => {
  test("of the primary: who follows, why not the other, in how long, losing nothing", () => {
    expect(ask(["m1"])).toMatchObject({
      outcome: "failover",
      successorId: id("m2"),
      passedOver: [
        { memberId: id("m1"), reason: "silent" },
        { memberId: id("m3"), reason: "behind by 10 bytes" },
      ],
      detectionMs: 1_000,
      writableAfterMs: 1_300,
      loss: null,
      isMajorityLeft: true,
    });
  });

  test("of the primary and a standby: too few are left, in the group as well", () => {
    expect(ask(["m1", "m3"])).toMatchObject({
      outcome: "held",
      reason: "majority-lost",
      detail: "left: m2, of 3 voters",
      isMajorityLeft: false,
    });
    // Whoever is left hears nobody: it is not its network that is to be mended.
    expect(WAYS_OUT["majority-lost"]).not.toContain("network");
    const members = [...STATE.members, member("m4", { kind: "witness" }), member("m5", { kind: "witness" })];
    const seen = {
      ...HEALTHY,
      m4: { postgres: { kind: "witness" } },
      m5: { postgres: { kind: "witness" } },
    } as const;
    expect(ask(["m1", "m3"], { ...STATE, members }, seen)).toMatchObject({
      outcome: "held",
      reason: "waiting-for-pledges",
      detail: "missing: m1, m3",
      isMajorityLeft: true,
    });
  });

  test("of a standby: writes go on, or wait, or ask for fewer", () => {
    expect(ask(["m3"]).outcome).toBe("goes-on");
    const two = clusterState({
      reign: reign({ cohort: cohort(1, "m2") }),
      members: [member("m1"), member("m2"), member("m4", { kind: "witness" })],
    });
    const seen = {
      m1: { postgres: primary(1, ["m2"]) },
      m2: { postgres: standby() },
      m4: { postgres: { kind: "witness" } },
    } as const;
    const self = { selfId: id("m4") };
    expect(ask(["m2"], two, seen, self)).toMatchObject({ outcome: "commits-wait", reason: "quorum-lost" });
    const degrade: ClusterSpec = {
      ...DEFAULT_SPEC,
      durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "degrade" },
    };
    expect(ask(["m2"], { ...two, spec: degrade }, seen, self).outcome).toBe("commits-weaker");
  });

  test("of everybody but the primary: it goes on, though nothing can be agreed (F9)", () => {
    const k0 = clusterState({ reign: reign({ cohort: cohort(0) }) });
    expect(
      ask(["m2", "m3"], k0, { ...HEALTHY, m1: { postgres: primary(0, []) } }, { selfId: id("m1") }),
    ).toMatchObject({
      outcome: "goes-on",
      isMajorityLeft: false,
    });
  });

  test("under a lease: the lease is waited for, and the loss is named", () => {
    const spec: ClusterSpec = { ...DEFAULT_SPEC, durability: { mode: "async", maxLagBytes: 50 } };
    const leased = clusterState({ spec, reign: reign({ cohort: { standbyIds: [], k: 0, isLeased: true } }) });
    expect(ask(["m1"], leased)).toMatchObject({ outcome: "failover", writableAfterMs: 3_300 });
    expect(ask(["m1"], leased).loss).toContain("async");
    expect(ask(["m1"], leased, HEALTHY, { primaryLsn: lsn(1_000) })).toMatchObject({
      outcome: "held",
      reason: "successor-too-far-behind",
      offer: { memberId: id("m2") },
    });
  });

  test("during a pause, and with nobody who may be promoted", () => {
    const pauses = [{ reason: "storage", by: "ann", atMs: 0 }];
    expect(ask(["m1"], { ...STATE, pauses })).toMatchObject({
      outcome: "held",
      reason: "paused",
      detail: "storage",
    });
    const tags = { failoverPriority: 0, isNoFailover: true };
    const members = [member("m1"), member("m2", { tags }), member("m3", { tags })];
    expect(ask(["m1"], { ...STATE, members })).toMatchObject({
      reason: "most-advanced-not-eligible",
      offer: null,
    });
  });

  test("of nobody, while a reign is being ended and held: why, and whom a person could have", () => {
    const fence: Fence = { reason: "member-lost", preferredId: null, fencedAtWallMs: NOW_MS };
    const fenced = { ...STATE, reign: reign({ fence }) };
    const seen = { m2: { postgres: pledgedStandby(100) } };
    const voterIds = [id("m2")];
    expect(ask([], fenced, seen, { voterIds })).toMatchObject({
      outcome: "held",
      reason: "waiting-for-pledges",
      offer: { memberId: id("m2"), position: { lsn: 100 } },
    });
  });

  test("uses what failovers took here before, and no switchover", () => {
    const record = (afterMs: number, kind = "automatic") => ({
      kind,
      phases: [{ phase: "writable", afterMs }],
    });
    const records = [
      record(80),
      record(120),
      record(2_000),
      record(30, "switchover"),
      record(40, "switchover"),
    ];
    const failovers = records as unknown as NonNullable<ClusterState["failovers"]>;
    expect(ask(["m1"], { ...STATE, failovers }).writableAfterMs).toBe(1_120);
    const switchovers = failovers.filter(({ kind }) => kind === "switchover");
    expect(ask(["m1"], { ...STATE, failovers: switchovers }).writableAfterMs).toBe(1_300);
  });

  test("counts an election where the leader is lost too, or nobody leads", () => {
    const members = [...STATE.members, member("m4", { kind: "witness" }), member("m5", { kind: "witness" })];
    const witness = { postgres: { kind: "witness" } } as const;
    const seen = { ...HEALTHY, m4: witness, m5: witness };
    const five = { ...STATE, members };
    const times = (names: readonly string[], leader: string | null, state: ClusterState = five) => {
      const { outcome, detectionMs, writableAfterMs } = ask(names, state, seen, {}, leader);
      return [outcome, detectionMs, writableAfterMs];
    };
    expect(times(["m1"], "m2")).toEqual(["failover", 1_000, 1_300]);
    // The leader's own silence is seen by whoever follows it: it lasts longer than the election.
    expect(times(["m1"], "m1")).toEqual(["failover", 1_000, 1_300]);
    expect(times(["m1", "m4"], "m4")).toEqual(["failover", 1_800, 2_100]);
    expect(times(["m1"], null)).toEqual(["failover", 1_800, 2_100]);
    const timing = { ...STATE.spec.timing, electionMsMin: 2_000, electionMsMax: 3_000 };
    expect(times(["m1"], "m1", { ...five, spec: { ...STATE.spec, timing } })).toEqual([
      "failover",
      3_000,
      3_300,
    ]);
    const spec: ClusterSpec = { ...DEFAULT_SPEC, durability: { mode: "async", maxLagBytes: 50 } };
    const cohortLeased = { standbyIds: [], k: 0, isLeased: true };
    const leased = { ...five, spec, reign: reign({ cohort: cohortLeased }) };
    // A new leader waits for a whole lease from its own election on.
    expect(times(["m1"], "m1", leased)).toEqual(["failover", 1_000, 4_100]);
  });
});

test("every way out belongs to a reason, and is a sentence", () => {
  for (const [reason, way] of Object.entries(WAYS_OUT)) {
    expect(Object.keys(REASONS)).toContain(reason);
    expect(way).toMatch(/[.]$/);
  }
});

test("every hold of the leader has a way out (F10)", () => {
  const sources = ["decide-cluster", "decide-cohort", "suspicion"].map((name) =>
    readFileSync(join(import.meta.dir, `../../../src/decision/${name}.ts`), "utf8"),
  );
  const held = sources.flatMap((text) =>
    [...text.matchAll(/(?:hold|suspect)\(\s*"([a-z-]+)"|cohort: null, reason: "([a-z-]+)"/g)].map(
      ([, direct, step]) => direct ?? step ?? "",
    ),
  );
  expect(held).toContain("waiting-for-pledges");
  const dead = held.filter((reason) => reason !== "steady" && !Object.hasOwn(WAYS_OUT, reason));
  expect(dead).toEqual([]);
});

test("whatever explain() says that commits or a failover wait for has a way out too (F10)", () => {
  const text = readFileSync(join(import.meta.dir, "../../../src/decision/explain.ts"), "utf8");
  const said = [...text.matchAll(/reason: "([a-z-]+)"/g)].map(([, reason]) => reason ?? "");
  expect(said).toContain("waiting-for-lease");
  // Commits go on, with fewer copies; a failover happens.
  const goesOn = ["cohort-weakening", "member-lost"];
  const dead = said.filter((reason) => !goesOn.includes(reason) && !Object.hasOwn(WAYS_OUT, reason));
  expect(dead).toEqual([]);
});
