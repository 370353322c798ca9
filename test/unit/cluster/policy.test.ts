import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import { isLossAccepted } from "../../../src/cluster/apply-policy.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import {
  type ClusterSpec,
  DEFAULT_FAILOVER,
  DEFAULT_SPEC,
  failoverOf,
  isLeased,
} from "../../../src/cluster/spec.ts";
import { type ClusterState, leaseMsOf, longestLeaseMs } from "../../../src/cluster/state.ts";
import { clusterState, cohort, epoch, id, lsn, timeline } from "../../support/situation.ts";

let commands = 0;

function command(change: Change, by = "leader", atMs = 1_000): Command {
  commands += 1;
  return { id: `c${commands}`, atMs, by, change };
}

function accepted(state: ClusterState, change: Change, by = "leader", atMs = 1_000): ClusterState {
  const applied = apply(state, command(change, by, atMs));
  if (!applied.outcome.ok) throw new Error(applied.outcome.code);
  if (applied.state === null) throw new Error("a formed cluster stays formed");
  return applied.state;
}

function refusal(state: ClusterState, change: Change, by = "leader", atMs = 1_000): string {
  const applied = apply(state, command(change, by, atMs));
  if (!applied.outcome.ok) expect(applied.state).toBe(state);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

const LEVEL_4 = clusterState({ featureLevel: 4 });
const LEVEL_3 = clusterState({ featureLevel: 3 });
const ASYNC: ClusterSpec = { ...DEFAULT_SPEC, durability: { mode: "async", maxLagBytes: 1_000 } };

describe("settings", () => {
  test("change once per generation, and name the next one", () => {
    const { generation } = LEVEL_3;
    const changed = accepted(LEVEL_3, { kind: "change-spec", generation, spec: ASYNC });
    expect(changed.generation).toBe((generation + 1) as typeof generation);
    expect(isLeased(changed.spec)).toBe(true);
    expect(refusal(changed, { kind: "change-spec", generation, spec: DEFAULT_SPEC })).toBe(
      "stale-generation",
    );
  });

  test("have defaults, and a lease that keeps its proportion to the time after which silence counts", () => {
    expect(failoverOf(DEFAULT_SPEC)).toEqual(DEFAULT_FAILOVER);
    const { suspectMs } = DEFAULT_SPEC.timing;
    expect(leaseMsOf(LEVEL_4)).toBe(4 * suspectMs);
    // As members of that level have it: all must mean the same.
    expect(leaseMsOf(LEVEL_3)).toBe(3 * suspectMs);
  });

  test("that make leases shorter shorten none that stands", () => {
    const withLease = (leaseMs: number): ClusterSpec => ({
      ...ASYNC,
      timing: { ...ASYNC.timing, leaseMs },
    });
    const changed = (state: ClusterState, leaseMs: number): ClusterState =>
      accepted(state, { kind: "change-spec", generation: state.generation, spec: withLease(leaseMs) });
    const long = changed(LEVEL_4, 20_000);
    expect(longestLeaseMs(long)).toBe(20_000);
    const short = changed(long, 3_000);
    expect(longestLeaseMs(short)).toBe(20_000);
    expect(longestLeaseMs(changed(short, 2_500))).toBe(20_000);
    // A member of an older release would not keep it in mind, so nobody does before all can.
    expect(changed({ ...long, featureLevel: 3 }, 3_000).reign).toEqual(long.reign);
  });

  test("of feature level 3 are refused while some member would not understand them", () => {
    const { generation } = LEVEL_3;
    const older = clusterState({ featureLevel: 2 });
    expect(refusal(older, { kind: "change-spec", generation, spec: ASYNC })).toBe("feature-level-low");
    expect(refusal(older, { kind: "pause", reason: "upgrade" })).toBe("feature-level-low");
    const withParameters = { ...DEFAULT_SPEC, postgres: { parameters: { cluster: { work_mem: "1MB" } } } };
    const change = { kind: "change-spec", generation, spec: withParameters } as const;
    expect(refusal(LEVEL_3, change)).toBe("feature-level-low");
    expect(refusal(clusterState({ featureLevel: 4 }), change)).toBe("accepted");
  });
});

describe("pauses", () => {
  test("hold until every reason is taken back", () => {
    const one = accepted(LEVEL_3, { kind: "pause", reason: "upgrade" }, "ann");
    const two = accepted(one, { kind: "pause", reason: "storage" }, "bob");
    expect(refusal(two, { kind: "pause", reason: "storage" })).toBe("paused-already");
    const left = accepted(two, { kind: "resume", reason: "upgrade" });
    expect(left.pauses?.map(({ reason, by }) => `${reason} ${by}`)).toEqual(["storage bob"]);
    expect(refusal(left, { kind: "resume", reason: "upgrade" })).toBe("not-paused");
    expect(accepted(two, { kind: "resume", reason: null }).pauses).toEqual([]);
  });
});

describe("a loss that somebody takes", () => {
  const shown = { timeline: timeline(2), lsn: lsn(80) };
  const taking: Change = {
    kind: "accept-loss",
    epoch: epoch(1),
    memberId: id("m2"),
    position: shown,
    expiresAtMs: 5_000,
  };

  test("ends the reign, and holds for one member that is no further back than what was shown", () => {
    const taken = accepted(LEVEL_3, taking, "ann");
    expect(taken.reign?.fence).toMatchObject({ reason: "loss-accepted", preferredId: id("m2") });
    expect(taken.failovers?.[0]).toMatchObject({ kind: "manual", by: "ann", from: "m1", to: null });
    const candidate = { memberId: id("m2"), position: shown };
    expect(isLossAccepted(taken, candidate, 4_000)).toBe(true);
    expect(isLossAccepted(taken, candidate, 5_001)).toBe(false);
    expect(isLossAccepted(taken, { ...candidate, memberId: id("m3") }, 4_000)).toBe(false);
    const shorter = { timeline: timeline(2), lsn: lsn(79) };
    expect(isLossAccepted(taken, { ...candidate, position: shorter }, 4_000)).toBe(false);
  });

  test("is refused late, for another reign, and for the primary itself", () => {
    expect(refusal(LEVEL_3, taking, "ann", 5_001)).toBe("stale-loss");
    expect(refusal(LEVEL_3, { ...taking, epoch: epoch(7) }, "ann")).toBe("stale-epoch");
    expect(refusal(LEVEL_3, { ...taking, memberId: id("m1") }, "ann")).toBe("member-unsuitable");
  });

  test("is over with the appointment", () => {
    const taken = accepted(LEVEL_3, taking, "ann");
    const appointed = accepted(taken, {
      kind: "appoint",
      memberId: id("m2"),
      previousEpoch: epoch(1),
      cohort: cohort(1, "m3"),
      position: shown,
      timelines: [],
      reason: "loss-accepted",
      passedOver: [{ memberId: id("m3"), reason: "silent" }],
      sinceFenceMs: 70,
      loss: "m3 may hold more",
    });
    expect(appointed.acceptedLoss).toBeNull();
    expect(appointed.failovers?.[0]).toMatchObject({
      to: "m2",
      loss: "m3 may hold more",
      nextEpoch: 2,
      phases: [{ phase: "revoked", afterMs: 70 }],
      passedOver: [{ member: "m3", reason: "silent" }],
    });
  });
});

describe("the history of failovers", () => {
  test("tells each phase once, and only of the reign that stands", () => {
    const fence: Change = {
      kind: "fence",
      epoch: epoch(1),
      reason: "postmaster-died",
      preferredId: null,
      evidence: ["m1's supervisor saw the postmaster end"],
      detectionMs: 12,
    };
    const fenced = accepted(LEVEL_3, fence, "leader", 10_000);
    const appointed = accepted(fenced, {
      kind: "appoint",
      memberId: id("m2"),
      previousEpoch: epoch(1),
      cohort: cohort(1, "m3"),
      position: { timeline: timeline(2), lsn: lsn(100) },
      timelines: [],
      reason: "postmaster-died",
      passedOver: [],
      sinceFenceMs: 20,
    });
    const promoted = accepted(appointed, {
      kind: "record-lineage",
      epoch: epoch(2),
      timeline: timeline(3),
      ancestors: [],
      sinceFenceMs: 60,
    });
    const told = accepted(promoted, {
      kind: "record-phase",
      epoch: epoch(2),
      phase: "writable",
      sinceFenceMs: 90,
    });
    const again = accepted(told, {
      kind: "record-phase",
      epoch: epoch(2),
      phase: "writable",
      sinceFenceMs: 900,
    });
    expect(again.failovers).toHaveLength(1);
    expect(again.failovers?.[0]).toMatchObject({
      number: 1,
      kind: "automatic",
      reason: "postmaster-died",
      detectionMs: 12,
      phases: [
        { phase: "revoked", afterMs: 20 },
        { phase: "promoted", afterMs: 60 },
        { phase: "writable", afterMs: 90 },
      ],
    });
    const stale: Change = { kind: "record-phase", epoch: epoch(1), phase: "rejoined", sinceFenceMs: 1 };
    expect(refusal(again, stale)).toBe("stale-epoch");
  });
});
