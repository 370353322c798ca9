import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { Bench, id, M1, M2, M3, M4, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

function leader(): Bench {
  const bench = new Bench({ learners: [M4] }).becomeLeader().acknowledgeAll();
  bench.take();
  return bench;
}

function transfer(bench: Bench, to: MemberId | null): ReturnType<Bench["engine"]["transferLeadership"]> {
  const answer = bench.engine.transferLeadership(to);
  bench.settle();
  return answer;
}

describe("handing leadership on", () => {
  test("a target that has everything is told at once", () => {
    const bench = leader();
    expect(transfer(bench, M2)).toEqual({ ok: true, to: M2 });
    expect(bench.take()).toMatchObject([{ type: "timeout-now", to: M2 }]);
    // Once: what it answers for meanwhile does not make it stand again.
    expect(bench.acknowledge(M2, 1).takeOf("timeout-now")).toEqual([]);
  });

  test("a target that lags is told when it has caught up, and until then nothing new is taken", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    expect(bench.takeOf("timeout-now")).toEqual([]);
    expect(bench.propose("b")).toMatchObject({ ok: false, reason: "transferring" });
    expect(bench.changeConfig([M1, M2])).toMatchObject({ ok: false, reason: "transferring" });
    bench.acknowledge(M3, 2);
    expect(bench.takeOf("timeout-now")).toEqual([]);
    bench.acknowledge(M2, 2);
    expect(bench.takeOf("timeout-now")).toMatchObject([{ to: M2 }]);
  });

  test("the target wins at once, whoever heard the old leader a moment ago", () => {
    const old = new Bench();
    const target = new Bench({ id: M2 });
    const third = new Bench({ id: M3 });
    const group = new RaftGroup(old, target, third);
    target.tick(TIMING.electionTicksMin);
    third.tick(TIMING.electionTicksMin);
    old.losePatience();
    group.exchange();
    expect(old.status.role).toBe("leader");
    old.propose("a");
    old.tick(TIMING.heartbeatTicks);
    group.exchange();
    transfer(old, M2);
    group.exchange();
    expect(target.status).toMatchObject({ role: "leader", term: 2, isReady: true });
    expect(old.status).toMatchObject({ role: "follower", leaderId: M2 });
    expect(third.status.leaderId).toBe(M2);
  });

  test("it is given up after one election timeout; asking again does not buy time", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    for (let tick = 1; tick < TIMING.electionTicksMin; tick += 1) {
      bench.tick().receive(M3, 1, { type: "heartbeat-response", round: tick });
      transfer(bench, M2);
    }
    expect(bench.status.isTransferring).toBe(true);
    bench.tick();
    expect(bench.status).toMatchObject({ role: "leader", isTransferring: false });
    expect(bench.propose("b")).toMatchObject({ ok: true });
  });

  test("never to a learner, a stranger, or itself", () => {
    expect(transfer(leader(), M4)).toMatchObject({ ok: false, reason: "not-a-voter" });
    expect(transfer(leader(), "m9" as MemberId)).toMatchObject({ ok: false, reason: "not-a-voter" });
    expect(transfer(leader(), M1)).toMatchObject({ ok: false, reason: "already-leader" });
    expect(transfer(new Bench(), M2)).toMatchObject({ ok: false, reason: "not-leader" });
  });

  test("a second transfer replaces the first", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    transfer(bench, M3);
    bench.take();
    bench.acknowledge(M2, 2);
    expect(bench.takeOf("timeout-now")).toEqual([]);
    bench.acknowledge(M3, 2);
    expect(bench.takeOf("timeout-now")).toMatchObject([{ to: M3 }]);
  });
});

describe("a transfer in a group", () => {
  test("goes there and back, each time in a later term and without an election that runs out", () => {
    const group = RaftGroup.of(3).elect(M1);
    for (const [at, [from, to]] of [
      [M1, M2],
      [M2, M3],
      [M3, M1],
    ].entries()) {
      transfer(group.member(from as MemberId), to as MemberId);
      group.exchange();
      expect(group.member(to as MemberId).status).toMatchObject({
        role: "leader",
        term: at + 2,
        isReady: true,
      });
    }
  });

  test("waits for a target that first needs a snapshot", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    const old = group.member(M1);
    old.propose("a", "b");
    group.exchange();
    old.engine.compactedTo(old.store.compact(old.status.appliedIndex));
    group.heal();
    transfer(old, M3);
    expect(old.hasSent("timeout-now")).toBe(false);
    group.exchange().beat(M1);
    expect(group.member(M3).status).toMatchObject({ role: "leader", term: 2, isReady: true });
    expect(old.status).toMatchObject({ role: "follower", leaderId: M3 });
  });

  test("among seven reaches the one that is meant", () => {
    const group = RaftGroup.of(7).elect(M1);
    transfer(group.member(M1), M4);
    group.exchange();
    expect(group.roles.filter((role) => role.includes("leader"))).toEqual(["m4 leader 2"]);
    for (const { status } of group.all) expect(status.leaderId).toBe(M4);
  });

  test("to a member that crashes before it can lead leaves the old leader in office", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M2);
    transfer(group.member(M1), M2);
    for (let tick = 0; tick < TIMING.electionTicksMin; tick += 1) group.tick();
    expect(group.member(M1).status).toMatchObject({ role: "leader", term: 1, isTransferring: false });
    expect(group.member(M1).propose("x")).toMatchObject({ ok: true });
    group.exchange();
    expect(group.member(M3).status.commitIndex).toBe(2 as LogIndex);
  });
});

describe("a transfer ends", () => {
  test("when another leads or asks to: what was refused meanwhile is taken again by whoever leads", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    bench.receive(M3, 5, { type: "vote", last: id(9, 9), isTransfer: true });
    expect(bench.status).toMatchObject({ role: "follower", term: 5, isTransferring: false });
    expect(bench.becomeLeader().propose("b")).toMatchObject({ ok: true });
  });

  test("counting the time that has truly passed", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    bench.tick(1, TIMING.electionTicksMin - 1);
    bench.answer(M2, 1).answer(M3, 1);
    expect(bench.status.isTransferring).toBe(true);
    expect(bench.tick().status).toMatchObject({ role: "leader", isTransferring: false });
  });

  test("neither by a change of the group nor with one: its target stays a voter until it is over", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    for (const [voters, learners] of [
      [[M1, M3], []],
      [[M1, M3], [M2]],
    ] as const)
      expect(bench.changeConfig(voters, learners)).toMatchObject({ ok: false, reason: "transferring" });
  });
});

describe("a target that nobody named", () => {
  test("is the voter that needs the least to catch up", () => {
    const bench = new Bench({ learners: [M4] }).becomeLeader().acknowledgeAll();
    bench.propose("a");
    bench.acknowledge(M4, 2).acknowledge(M3, 2);
    expect(transfer(bench, null)).toEqual({ ok: true, to: M3 });
    expect(bench.takeOf("timeout-now")).toMatchObject([{ to: M3 }]);
  });

  test("is one that is heard", () => {
    const bench = leader();
    for (let tick = 0; tick < TIMING.electionTicksMin; tick += 1) bench.tick().answer(M3, 1);
    expect(transfer(bench, null)).toEqual({ ok: true, to: M3 });
  });

  test("is nobody in a group of one", () => {
    const alone = new Bench({ voters: [M1], learners: [M4] }).becomeLeader();
    expect(transfer(alone, null)).toEqual({ ok: false, reason: "no-target", leaderId: M1 });
  });

  test("stays the one that a transfer under way has", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    bench.acknowledge(M3, 2);
    expect(transfer(bench, null)).toEqual({ ok: true, to: M2 });
  });

  test("is nobody while no other voter has said anything in this term", () => {
    const bench = new Bench().becomeLeader();
    expect(transfer(bench, null)).toEqual({ ok: false, reason: "no-target", leaderId: M1 });
    bench.answer(M3, 1);
    expect(transfer(bench, null)).toEqual({ ok: true, to: M3 });
  });
});
