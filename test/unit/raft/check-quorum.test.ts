import { describe, expect, test } from "bun:test";
import { Bench, type BenchOptions, id, M1, M2, M3, M4, M5, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

const { electionTicksMin, electionTicksMax, heartbeatTicks } = TIMING;
const VOTE = { type: "vote", last: id(9, 9), isTransfer: false } as const;

describe("CheckQuorum", () => {
  test("a leader that hears no quorum for the minimum timeout steps down, in its own term", () => {
    const bench = new Bench().becomeLeader();
    bench.tick(electionTicksMin - 1);
    expect(bench.status.role).toBe("leader");
    bench.tick();
    expect(bench.status).toMatchObject({ role: "follower", term: 1, leaderId: null });
  });

  test("one of two followers is enough", () => {
    const bench = new Bench().becomeLeader();
    for (let round = 1; round <= 30; round += 1) {
      bench.tick(heartbeatTicks).receive(M3, 1, { type: "heartbeat-response", round });
    }
    expect(bench.status.role).toBe("leader");
    expect(bench.status.followers).toMatchObject([
      { id: M2, isActive: false },
      { id: M3, isActive: true },
    ]);
  });

  test("a leader that stepped down is free to vote for another", () => {
    const bench = new Bench().becomeLeader().tick(electionTicksMin);
    bench.take();
    bench.receive(M3, 2, VOTE);
    expect(bench.take()).toMatchObject([{ isGranted: true }]);
  });
});

describe("CheckQuorum in a group", () => {
  test("while the leader is heard, nobody supersedes it; then somebody does", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M3).tick(electionTicksMax);
    group.exchange();
    expect(group.member(M3).status).toMatchObject({ role: "pre-candidate", term: 1 });
    expect(group.member(M1).status.role).toBe("leader");
    group.elect(M3);
    expect(group.member(M3).status).toMatchObject({ role: "leader", term: 2 });
    expect(group.member(M1).status).toMatchObject({ role: "follower", leaderId: M3 });
  });

  test("a leader that reaches nobody steps down although it hears everybody's questions", () => {
    const group = RaftGroup.of(3).elect(M1).cut(M1, M2).cut(M1, M3);
    group.tick(electionTicksMin);
    expect(group.member(M1).status.role).toBe("follower");
  });

  test("a leader that is told of a later term by an answer steps down, so that a stuck candidate is free", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    // Made a candidate by a leader that is gone: its term is later than everybody's.
    const stuck = group.member(M3).receive(M1, 1, { type: "timeout-now" });
    expect(stuck.status).toMatchObject({ role: "candidate", term: 2 });
    stuck.take();
    group.heal().beat(M1);
    expect(group.member(M1).status).toMatchObject({ role: "follower", term: 2 });
    group.elect(M1);
    expect(group.roles).toEqual(["m1 leader 3", "m2 follower 3", "m3 follower 3"]);
  });

  test("a member that may not campaign lets another lead, and follows", () => {
    const group = new RaftGroup(
      new Bench({ id: M1, voters: [M1, M2] }),
      new Bench({ id: M2, voters: [M1] }),
    ).elect(M1);
    expect(group.member(M1).status.role).toBe("leader");
    expect(group.member(M2).status).toMatchObject({ role: "follower", leaderId: M1 });
  });

  test("a voter that was just added counts as heard until it had time to answer", () => {
    const bench = new Bench({ voters: [M1], learners: [M2] }).becomeLeader().acknowledgeAll();
    bench
      .tick(5 * electionTicksMin)
      .answer(M2, 1)
      .changeConfig([M1, M2]);
    expect(bench.tick(electionTicksMin - 1).status.role).toBe("leader");
    expect(bench.tick().status.role).toBe("follower");
  });

  test("learners keep no leader in office", () => {
    const bench = new Bench({ learners: [M4, M5] }).becomeLeader().acknowledgeAll();
    for (let tick = 1; tick < electionTicksMin; tick += 1) {
      for (const learner of [M4, M5]) bench.answer(learner, 1);
      bench.tick();
    }
    expect(bench.status.role).toBe("leader");
    expect(bench.tick().status.role).toBe("follower");
  });

  test("while the configuration is joint, both halves must be heard", () => {
    const bench = new Bench({ learners: [M4, M5] }).becomeLeader().acknowledgeAll();
    expect(bench.changeConfig([M1, M4, M5])).toMatchObject({ ok: true });
    for (let tick = 1; tick < electionTicksMin; tick += 1) {
      for (const heard of [M4, M5]) bench.answer(heard, 1);
      bench.tick();
    }
    expect(bench.status.role).toBe("leader");
    expect(bench.tick().status.role).toBe("follower");
  });

  test("authority counts the time that has truly passed, however few the ticks", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    expect(bench.tick(1, electionTicksMin - 1).status.role).toBe("leader");
    expect(bench.tick(1, 1).status.role).toBe("follower");
  });

  test("a leader that is heard but hears nobody makes room for one that does", () => {
    const patience = (at: number): BenchOptions => ({ integer: (min) => min + 3 * at });
    const group = new RaftGroup(
      ...[M1, M2, M3].map((member, at) => new Bench({ ...patience(at), id: member })),
    );
    group.elect(M1).cut(M2, M1).cut(M3, M1);
    group.tick(5 * electionTicksMin);
    expect(group.roles).toEqual(["m1 pre-candidate 1", "m2 leader 2", "m3 follower 2"]);
    expect(group.member(M2).propose("x")).toMatchObject({ ok: true });
    group.exchange();
    expect(group.member(M2).status.commitIndex).toBe(group.member(M2).status.lastIndex);
  });
});
