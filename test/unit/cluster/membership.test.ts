import { describe, expect, test } from "bun:test";
import { AssertionError } from "../../../src/base/assert.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import { FEATURE_LEVEL, isUnderstoodByAll } from "../../../src/cluster/feature-level.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { isNamedByReign, memberById, memberName, standbyNameOf } from "../../../src/cluster/state.ts";
import { clusterState, cohort, epoch, id, member, reign } from "../../support/situation.ts";

function command(change: Change, atMs = 5_000): Command {
  return { id: "c", atMs, by: "admin", change };
}

function accepted(state: ClusterState, ...changes: readonly Change[]): ClusterState {
  return changes.reduce((before: ClusterState, change) => {
    const { outcome, state: after } = apply(before, command(change));
    if (!outcome.ok || after === null)
      throw new Error(`${change.kind}: ${outcome.ok ? "no state" : outcome.code}`);
    return after;
  }, state);
}

function refused(state: ClusterState, change: Change): string {
  const applied = apply(state, command(change));
  expect(applied.state).toBe(state);
  expect(applied.events).toEqual([]);
  if (applied.outcome.ok) return "accepted";
  expect(applied.outcome.message).toMatch(/^[A-Z].*\.$/);
  return applied.outcome.code;
}

const remove = (name: string): Change => ({
  kind: "remove-member",
  memberId: id(name),
  operationId: `remove-${name}`,
});
const forget = (name: string): Change => ({ kind: "forget-member", memberId: id(name) });
const voting = (name: string, wish: "auto" | "voter" | "learner"): Change => ({
  kind: "set-member-voting",
  memberId: id(name),
  voting: wish,
});
const settled = (...names: readonly string[]) =>
  clusterState({ featureLevel: 2, reign: reign({ cohort: cohort(1, ...names) }) });
const BOTH = settled("m2", "m3");

describe("removing a member", () => {
  test("begins with an operation; the member is wanted nowhere from then on", () => {
    const leaving = accepted(BOTH, remove("m3"));
    expect(memberById(leaving, id("m3"))?.isLeaving).toBe(true);
    expect(leaving.operations).toMatchObject([
      { id: "remove-m3", kind: "remove", memberId: id("m3"), status: "running", by: "admin" },
    ]);
    expect(refused(leaving, remove("m3"))).toBe("member-leaving");
    expect(refused(leaving, voting("m3", "voter"))).toBe("member-leaving");
    expect(refused(leaving, { kind: "reinitialize-member", memberId: id("m3"), operationId: "o" })).toBe(
      "member-leaving",
    );
    const switchover: Change = {
      kind: "begin-switchover",
      targetId: id("m3"),
      operationId: "s",
      epoch: epoch(1),
    };
    expect(refused(leaving, switchover)).toBe("member-leaving");
  });

  test("is refused for the primary, for the last, for an unknown, and for who is being worked on", () => {
    expect(refused(BOTH, remove("m1"))).toBe("member-is-primary");
    expect(refused(BOTH, remove("m9"))).toBe("member-unknown");
    const alone = clusterState({ featureLevel: 2, members: [member("m2")], reign: null });
    expect(refused(alone, remove("m2"))).toBe("last-member");
    const both = clusterState({ featureLevel: 2, members: [member("m2"), member("m3")], reign: null });
    expect(refused(accepted(both, remove("m2")), remove("m3"))).toBe("last-member");
    const busy = accepted(BOTH, { kind: "reinitialize-member", memberId: id("m3"), operationId: "r" });
    expect(refused(busy, remove("m3"))).toBe("operation-running");
  });

  test("ends only once no rule of the reign names the member", () => {
    const leaving = accepted(BOTH, remove("m3"));
    expect(isNamedByReign(leaving, id("m3"))).toBe(true);
    expect(refused(leaving, forget("m3"))).toBe("member-needed");
    const pending = { ...leaving, reign: reign({ cohort: cohort(1, "m2"), pendingCohort: cohort(1, "m3") }) };
    expect(refused(pending, forget("m3"))).toBe("member-needed");
    const inherited = {
      ...leaving,
      reign: reign({ cohort: cohort(1, "m2"), inheritedRules: [cohort(1, "m3")] }),
    };
    expect(refused(inherited, forget("m3"))).toBe("member-needed");
    const released = { ...leaving, reign: reign({ cohort: cohort(1, "m2") }) };
    const gone = accepted(released, forget("m3"));
    expect(gone.members.map(({ name }) => name)).toEqual(["m1", "m2"]);
    expect(gone.removed).toEqual([{ id: id("m3"), name: "m3", atMs: 5_000 }]);
    expect(gone.operations[0]).toMatchObject({ status: "succeeded", finishedAtMs: 5_000 });
    expect(memberName(gone, id("m3"))).toBe("m3");
    expect(refused(gone, forget("m3"))).toBe("member-unknown");
  });

  test("is not ended for a member that nobody said to remove", () =>
    expect(refused(settled("m2"), forget("m3"))).toBe("member-needed"));

  test("keeps a bounded number of tombstones, the newest", () => {
    const removed = Array.from({ length: 200 }, (_, at) => ({ id: id(`x${at}`), name: `x${at}`, atMs: at }));
    const leaving = accepted(settled("m2"), remove("m3"));
    const after = accepted({ ...leaving, removed }, forget("m3")).removed ?? [];
    expect(after).toHaveLength(200);
    expect(after.at(0)?.name).toBe("x1");
    expect(after.at(-1)?.name).toBe("m3");
  });

  test("is given up for a member that had to be appointed", () => {
    const leaving = accepted(BOTH, remove("m3"));
    const fence: Change = { kind: "fence", epoch: epoch(1), reason: "member-lost", preferredId: null };
    const appointed = accepted(leaving, fence, {
      kind: "appoint",
      memberId: id("m3"),
      previousEpoch: epoch(1),
      cohort: cohort(1, "m2"),
      position: null,
      timelines: [],
      reason: "member-lost",
      passedOver: [],
    });
    expect(memberById(appointed, id("m3"))?.isLeaving).toBeUndefined();
    expect(appointed.operations[0]).toMatchObject({ kind: "remove", status: "failed" });
  });
});

describe("replacing a member", () => {
  const bound = accepted(BOTH, {
    kind: "create-join-token",
    tokenId: "j",
    secretHash: "h",
    expiresAtMs: 10_000,
    replaces: id("m3"),
  });
  const join = (name: string, as: string): Change => ({
    kind: "add-member",
    member: { ...member(as, { data: "none" }), name },
    joinTokenId: "j",
  });

  test("gives the newcomer the name and begins the removal of the old one, in one command", () => {
    const joined = accepted(bound, join("m3", "m7"));
    expect(joined.members.map(({ name }) => name)).toEqual(["m1", "m2", "m3", "m3-00000003"]);
    expect(memberById(joined, id("m7"))).toMatchObject({ name: "m3" });
    expect(memberById(joined, id("m3"))).toMatchObject({ name: "m3-00000003", isLeaving: true });
    expect(joined.operations).toMatchObject([{ kind: "remove", memberId: id("m3"), status: "running" }]);
  });

  // Two walreceivers of one name would both be counted: a commit could be acknowledged by nobody who pledges.
  test("never lets two PostgreSQLs receive WAL under one name", () => {
    const joined = accepted(bound, join("m3", "m7"));
    expect(standbyNameOf(joined, id("m3"))).toBe("m3");
    expect(standbyNameOf(joined, id("m7"))).toBe("m3-00000007");
    const again = accepted(
      { ...joined, reign: reign({ cohort: cohort(1, "m2") }) },
      forget("m3"),
      { kind: "create-join-token", tokenId: "k", secretHash: "h", expiresAtMs: 10_000, replaces: id("m7") },
      { kind: "add-member", member: { ...member("m8"), name: "m3" }, joinTokenId: "k" },
    );
    expect(["m3", "m7", "m8"].map((name) => standbyNameOf(again, id(name)))).toEqual([
      "m3",
      "m3-00000007",
      "m3-00000008",
    ]);
  });

  test("asks for the bound name, and for a member that can go", () => {
    expect(refused(bound, join("m4", "m7"))).toBe("name-bound");
    const token: Change = { kind: "create-join-token", tokenId: "k", secretHash: "h", expiresAtMs: 10_000 };
    expect(refused(BOTH, { ...token, replaces: id("m1") })).toBe("member-is-primary");
    expect(refused(BOTH, { ...token, replaces: id("m9") })).toBe("member-unknown");
  });

  test("its token goes with the member that it was bound to", () => {
    const leaving = accepted(bound, remove("m3"));
    expect(refused(leaving, join("m3", "m7"))).toBe("member-leaving");
    const gone = accepted({ ...leaving, reign: reign({ cohort: cohort(1, "m2") }) }, forget("m3"));
    expect(gone.joinTokens).toEqual([]);
  });
});

describe("voting", () => {
  test("is wished for one member at a time", () =>
    expect(memberById(accepted(BOTH, voting("m2", "learner")), id("m2"))?.voting).toBe("learner"));

  test("somebody must be left who may vote", () => {
    const learning = accepted(BOTH, voting("m1", "learner"), voting("m2", "learner"));
    expect(refused(learning, voting("m3", "learner"))).toBe("last-voter");
    expect(refused(accepted(learning, remove("m2")), voting("m3", "learner"))).toBe("last-voter");
  });

  test("no more are wanted as voters than may vote", () => {
    const one = { ...BOTH, spec: { ...BOTH.spec, consensus: { votersMax: 1 } } };
    const wanted = accepted(one, voting("m1", "voter"), voting("m1", "voter"));
    expect(refused(wanted, voting("m2", "voter"))).toBe("too-many-voters");
  });
});

test("tags: only what is named changes", () => {
  const change: Change = { kind: "set-member-tags", memberId: id("m2"), tags: { failoverPriority: 7 } };
  expect(memberById(accepted(BOTH, change), id("m2"))?.tags).toEqual({
    failoverPriority: 7,
    isNoFailover: false,
  });
  expect(refused(BOTH, { ...change, memberId: id("m9") })).toBe("member-unknown");
  const recent = { ...BOTH, featureLevel: 3 };
  const placed = accepted(recent, { ...change, tags: { zone: "a", isNoSync: true } });
  expect(memberById(placed, id("m2"))?.tags).toMatchObject({ zone: "a", isNoSync: true });
  expect(memberById(accepted(placed, { ...change, tags: { zone: "" } }), id("m2"))?.tags).toEqual({
    failoverPriority: 0,
    isNoFailover: false,
    isNoSync: true,
  });
  expect(refused(BOTH, { ...change, tags: { zone: "a" } })).toBe("feature-level-low");
});

describe("the feature level", () => {
  const old = clusterState();
  const raise = (level: number): Change => ({ kind: "raise-feature-level", level });

  test("keeps out what an older release could not apply", () => {
    for (const change of [remove("m3"), forget("m3"), voting("m3", "auto")]) {
      expect(isUnderstoodByAll(old, change)).toBe(false);
      expect(refused(old, change)).toBe("feature-level-low");
      expect(isUnderstoodByAll(accepted(old, raise(2)), change)).toBe(true);
    }
  });

  test("rises, and never falls", () => {
    expect(accepted(old, raise(2)).featureLevel).toBe(2);
    expect(refused(BOTH, raise(2))).toBe("feature-level-reached");
    expect(refused(BOTH, raise(1))).toBe("feature-level-reached");
  });

  test("stops a binary that does not understand it", () =>
    expect(() => apply(BOTH, command(raise(FEATURE_LEVEL + 1)))).toThrow(AssertionError));

  test("a cohort that was announced is replaced by another only from level 2 on, and counts until that is settled", () => {
    const change: Change = { kind: "change-cohort", epoch: epoch(1), cohort: cohort(0, "m2", "m3") };
    const pending = reign({ pendingCohort: cohort(2, "m2", "m3") });
    expect(refused({ ...old, reign: pending }, change)).toBe("stale-epoch");
    const changed = accepted({ ...BOTH, reign: pending }, change).reign;
    expect(changed?.inheritedRules).toEqual([cohort(2, "m2", "m3")]);
    expect(changed?.pendingCohort).toEqual(cohort(0, "m2", "m3"));
  });
});
