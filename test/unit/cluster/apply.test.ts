import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ClusterId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import { DEFAULT_SPEC } from "../../../src/cluster/spec.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState, cohort, epoch, id, lsn, member, reign, timeline } from "../../support/situation.ts";

const FENCE = { reason: "postmaster-died", preferredId: null, fencedAtWallMs: 0 };
const FENCED = clusterState({ reign: reign({ fence: FENCE }) });

function command(change: Change, atMs = 5_000): Command {
  return { id: "c", atMs, by: "leader", change };
}

/** The state after a command that must be accepted. */
function accepted(state: ClusterState | null, change: Change): ClusterState {
  const applied = apply(state, command(change));
  if (!applied.outcome.ok) throw new Error(`refused: ${applied.outcome.code}`);
  if (applied.state === null) throw new Error("an accepted command leaves a state");
  return applied.state;
}

/** The code of a command that must be refused, having changed nothing. */
function refused(state: ClusterState | null, change: Change, atMs?: number): string {
  const applied = apply(state, command(change, atMs));
  expect(applied.state).toBe(state);
  expect(applied.events).toEqual([]);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

const form: Change = {
  kind: "form",
  clusterId: "00000000-0000-4000-8000-00000000c1c1" as ClusterId,
  name: "test",
  spec: DEFAULT_SPEC,
  authority: { certificatePem: "", privateKeyPem: "" },
  member: member("m1", { data: "none" }),
  token: { id: "t", secretHash: "h", scope: "admin", createdAtMs: 0 },
};
const appoint = (previousEpoch: number, name = "m2"): Extract<Change, { kind: "appoint" }> => ({
  kind: "appoint",
  memberId: id(name),
  previousEpoch: epoch(previousEpoch),
  cohort: cohort(1, "m3"),
  position: { timeline: timeline(2), lsn: lsn(100) },
  timelines: [],
  reason: "postmaster-died",
  passedOver: [{ memberId: id("m3"), reason: "behind by 8 bytes" }],
});

describe("forming", () => {
  test("makes the first state", () =>
    expect(accepted(null, form).members.map(({ name }) => name)).toEqual(["m1"]));
  test("begins at the feature level of the release that forms, and 0.1.0 named none", () => {
    expect(accepted(null, { ...form, featureLevel: 2 }).featureLevel).toBe(2);
    expect(accepted(null, form)).not.toHaveProperty("featureLevel");
  });
  test("happens once", () => expect(refused(clusterState(), form)).toBe("already-formed"));
  test("comes before all else", () => expect(refused(null, appoint(1))).toBe("not-formed"));
});

describe("joining", () => {
  const token = { id: "j", secretHash: "h", expiresAtMs: 10_000, usedBy: null };
  const state = clusterState({ joinTokens: [token] });
  const add = (name: string, joinTokenId = "j"): Change => ({
    kind: "add-member",
    member: member(name),
    joinTokenId,
  });

  test("spends the token", () => {
    const joined = accepted(state, add("m4"));
    expect(joined.members.map(({ name }) => name)).toEqual(["m1", "m2", "m3", "m4"]);
    expect(joined.joinTokens[0]?.usedBy).toBe("m4");
    expect(refused(joined, add("m5"))).toBe("join-token-used");
  });
  test("needs a token that is known", () =>
    expect(refused(state, add("m4", "x"))).toBe("join-token-unknown"));
  test("needs a token that has not expired", () =>
    expect(refused(state, add("m4"), 10_000)).toBe("join-token-expired"));
  test("needs a name of its own", () => expect(refused(state, add("m3"))).toBe("name-taken"));
});

describe("initialising", () => {
  const bare = clusterState({ initialization: null, reign: null, systemIdentifier: null });
  const initialize: Change = {
    kind: "initialize",
    memberId: id("m1"),
    operationId: "op",
    options: { encoding: "UTF8", locale: "C.UTF-8" },
  };

  test("happens once", () => {
    const begun = accepted(bare, initialize);
    expect(begun.operations.map(({ kind, status }) => `${kind} ${status}`)).toEqual(["initialize running"]);
    expect(refused(begun, initialize)).toBe("already-initialized");
  });
  test("takes initdb's word from the chosen member, once", () => {
    const begun = accepted(bare, initialize);
    const record = (name: string): Change => ({
      kind: "record-system",
      memberId: id(name),
      systemIdentifier: "7",
    });
    expect(refused(begun, record("m2"))).toBe("member-unsuitable");
    expect(refused(accepted(begun, record("m1")), record("m1"))).toBe("already-initialized");
  });
  test("may be begun again if it made nothing, but not once there is a PostgreSQL (F7)", () => {
    const begun = accepted(bare, initialize);
    const fail: Change = {
      kind: "finish-operation",
      operationId: "op",
      status: "failed",
      message: "the place is taken",
    };
    const undone = accepted(begun, fail);
    expect(undone.operations[0]?.status).toBe("failed");
    const again = accepted(undone, { ...initialize, operationId: "op-2" });
    expect(again.initialization?.operationId).toBe("op-2");
    const made = accepted(begun, { kind: "record-system", memberId: id("m1"), systemIdentifier: "7" });
    expect(refused(accepted(made, fail), initialize)).toBe("already-initialized");
  });
});

describe("a reign (F2, F4)", () => {
  test("is fenced once", () => {
    const fence: Change = { kind: "fence", epoch: epoch(1), reason: "x", preferredId: null };
    expect(refused(accepted(clusterState(), fence), fence)).toBe("stale-epoch");
  });
  test("has one successor: a second appointment for the same predecessor is refused", () => {
    const appointed = accepted(FENCED, appoint(1));
    expect(appointed.reign?.epoch).toBe(epoch(2));
    expect(refused(appointed, appoint(1, "m3"))).toBe("stale-epoch");
  });
  test("is not succeeded before it is fenced", () =>
    expect(refused(clusterState(), appoint(1))).toBe("stale-epoch"));
  test("cannot be skipped", () => expect(refused(FENCED, appoint(2))).toBe("stale-epoch"));
  test("never begins with a witness", () => {
    const members = [member("m1"), member("m2", { kind: "witness" }), member("m3")];
    expect(refused({ ...FENCED, members }, appoint(1))).toBe("member-unsuitable");
  });
  test("inherits the rules of the reign before, until its cohort is settled", () => {
    const pending = { ...FENCED, reign: reign({ fence: FENCE, pendingCohort: cohort(1, "m2") }) };
    const appointed = accepted(pending, appoint(1));
    expect(appointed.reign?.inheritedRules).toEqual([cohort(1, "m2", "m3"), cohort(1, "m2")]);
    const settled = accepted(appointed, { kind: "settle-cohort", epoch: epoch(2), cohort: cohort(1, "m3") });
    expect(settled.reign?.inheritedRules).toEqual([]);
  });
  test("counts as a failover unless it was planned", () => {
    expect(accepted(FENCED, appoint(1)).failoverCount).toBe(1);
    const planned = clusterState({
      switchover: { operationId: "op", epoch: epoch(1), targetId: id("m2") },
      reign: reign({ fence: { ...FENCE, preferredId: id("m2") } }),
    });
    const appointed = accepted(planned, appoint(1));
    expect([appointed.failoverCount, appointed.switchoverCount]).toEqual([0, 1]);
  });
  test("says why the others were passed over", () => {
    const [event] = apply(FENCED, command(appoint(1))).events;
    expect(event?.fields["passedOver"]).toBe("m3: behind by 8 bytes");
  });
});

describe("a cohort", () => {
  const change: Change = { kind: "change-cohort", epoch: epoch(1), cohort: cohort(1, "m2") };
  test("changes one step at a time", () => {
    expect(refused(accepted(clusterState(), change), change)).toBe("stale-epoch");
  });
  test("is settled as it was announced", () => {
    const announced = accepted(clusterState(), change);
    const other: Change = { kind: "settle-cohort", epoch: epoch(1), cohort: cohort(1, "m3") };
    expect(refused(announced, other)).toBe("stale-epoch");
    const settled = accepted(announced, { kind: "settle-cohort", epoch: epoch(1), cohort: cohort(1, "m2") });
    expect(settled.reign?.cohort).toEqual(cohort(1, "m2"));
    expect(settled.reign?.pendingCohort).toBeNull();
  });
  test("is not settled by what was decided of one before it that asked for the same", () => {
    const before = accepted(clusterState({ featureLevel: 4 }), change);
    const settle: Change = { kind: "settle-cohort", epoch: epoch(1), cohort: cohort(1, "m2"), number: 1 };
    expect(accepted(before, settle).reign?.pendingCohort).toBeNull();
    const between = accepted(before, { ...change, cohort: cohort(1, "m3") });
    const again = accepted(between, change);
    expect(again.reign?.cohortNumber).toBe(3);
    expect(refused(again, settle)).toBe("stale-epoch");
    expect(accepted(again, { ...settle, number: 3 }).reign?.pendingCohort).toBeNull();
  });
  test("does not change while the reign is being ended", () =>
    expect(refused(FENCED, change)).toBe("stale-epoch"));
});

describe("a switchover", () => {
  const begin = (name: string): Change => ({
    kind: "begin-switchover",
    targetId: id(name),
    operationId: "op",
    epoch: epoch(1),
  });
  test("goes to another data member", () => {
    expect(refused(clusterState(), begin("m1"))).toBe("member-unsuitable");
    expect(refused(clusterState(), begin("m9"))).toBe("member-unknown");
  });
  test("is one at a time, and can be given up", () => {
    const begun = accepted(clusterState(), begin("m2"));
    expect(refused(begun, begin("m3"))).toBe("operation-running");
    const ended = accepted(begun, { kind: "abort-switchover", operationId: "op", reason: "m2 is gone" });
    expect(ended.switchover).toBeNull();
    expect(ended.operations.map(({ status }) => status)).toEqual(["failed"]);
  });
  test("fails as an operation when another member had to be appointed", () => {
    const begun = accepted(clusterState(), begin("m3"));
    const fenced = accepted(begun, {
      kind: "fence",
      epoch: epoch(1),
      reason: "switchover",
      preferredId: id("m3"),
    });
    const appointed = accepted(fenced, appoint(1, "m2"));
    expect(appointed.operations.map(({ status }) => status)).toEqual(["failed"]);
    expect(appointed.failoverCount).toBe(1);
  });
});

describe("building a member anew", () => {
  const again = (name: string): Change => ({
    kind: "reinitialize-member",
    memberId: id(name),
    operationId: "op",
  });
  test("is never done to the primary", () =>
    expect(refused(clusterState(), again("m1"))).toBe("member-unsuitable"));
  test("is one at a time for a member", () => {
    const begun = accepted(clusterState(), again("m2"));
    expect(begun.members.map(({ data }) => data)).toEqual(["ready", "replace", "ready"]);
    expect(refused(begun, again("m2"))).toBe("operation-running");
  });
});

test("apply() is deterministic and leaves its argument alone, for any order of commands", () => {
  const changes: readonly Change[] = [
    form,
    appoint(1),
    appoint(2, "m3"),
    { kind: "fence", epoch: epoch(1), reason: "x", preferredId: null },
    { kind: "fence", epoch: epoch(2), reason: "x", preferredId: null },
    { kind: "change-cohort", epoch: epoch(1), cohort: cohort(1, "m2") },
    { kind: "settle-cohort", epoch: epoch(1), cohort: cohort(1, "m2") },
    { kind: "begin-switchover", targetId: id("m2"), operationId: "op", epoch: epoch(1) },
    { kind: "reinitialize-member", memberId: id("m2"), operationId: "op2" },
    { kind: "mark-data-ready", memberId: id("m2") },
    { kind: "record-lineage", epoch: epoch(2), timeline: timeline(3), ancestors: [] },
  ];
  fc.assert(
    fc.property(fc.array(fc.nat(changes.length - 1), { maxLength: 30 }), (picks) => {
      const run = (): ClusterState | null =>
        picks.reduce<ClusterState | null>((state, pick) => {
          const change = changes[pick];
          if (change === undefined) return state;
          const before = JSON.stringify(state);
          const { state: after } = apply(state, command(change));
          expect(JSON.stringify(state)).toBe(before);
          const reigned = state?.reign?.epoch ?? 0;
          expect(after?.reign?.epoch ?? 0).toBeGreaterThanOrEqual(reigned);
          return after;
        }, clusterState());
      expect(JSON.stringify(run())).toBe(JSON.stringify(run()));
    }),
  );
});
