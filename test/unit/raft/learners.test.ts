import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { Bench, config, M1, M2, M3, M4, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

const { electionTicksMin, electionTicksMax } = TIMING;
const PATIENT = { integer: (_min: number, max: number) => max };

function groupWithLearner(): RaftGroup {
  const options = { ...PATIENT, voters: [M1, M2], learners: [M3] };
  return new RaftGroup(...[M1, M2, M3].map((id) => new Bench({ ...options, id })));
}

describe("a learner", () => {
  test("receives the log and applies it, but nothing waits for it", () => {
    const group = groupWithLearner().elect(M1).isolate(M3);
    group.member(M1).propose("x");
    group.exchange();
    expect(group.member(M1).status.commitIndex).toBe(2 as LogIndex);
    group.heal().beat(M1).beat(M1);
    expect(group.member(M3).status).toMatchObject({ commitIndex: 2, appliedIndex: 2, leaderId: M1 });
    expect(group.member(M3).store.entries).toEqual(group.member(M1).store.entries);
  });

  test("does not campaign: neither by patience, nor when told to", () => {
    const bench = new Bench({ voters: [M2, M3], learners: [M1], term: 1 }).heartbeat(M2, 1);
    bench.engine.campaign();
    bench.settle().receive(M2, 1, { type: "timeout-now" });
    expect(bench.tick(5 * electionTicksMax).status).toMatchObject({ role: "follower", term: 1 });
    expect(bench.takeOf("vote")).toEqual([]);
  });

  test("that becomes a voter campaigns and can lead", () => {
    const group = groupWithLearner().elect(M1);
    expect(group.member(M1).changeConfig([M1, M2, M3])).toMatchObject({ ok: true });
    group.exchange().elect(M3);
    expect(group.member(M3).status).toMatchObject({ role: "leader", term: 2 });
  });

  test("that became a voter without having heard of it still helps to elect", () => {
    const group = groupWithLearner().elect(M1);
    group.isolate(M3).member(M1).changeConfig([M1, M2, M3]);
    group.exchange().heal().isolate(M1);
    expect(group.member(M3).status.config).toEqual(config([M1, M2], [M3]));
    group.elect(M2);
    expect(group.member(M2).status).toMatchObject({ role: "leader", term: 2 });
    expect(group.member(M3).status.config).toEqual(config([M1, M2, M3]));
  });

  test("that was a voter a moment ago does not campaign any more", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M1).changeConfig([M1, M2], [M3]);
    group.exchange().isolate(M3);
    expect(group.member(M3).tick(5 * electionTicksMax).status).toMatchObject({ role: "follower", term: 1 });
  });

  test("that is removed is sent nothing any more", () => {
    const group = groupWithLearner().elect(M1);
    group.member(M1).changeConfig([M1, M2]);
    group.exchange();
    group.member(M1).tick(TIMING.heartbeatTicks);
    expect(
      group
        .member(M1)
        .take()
        .map(({ to }) => to),
    ).toEqual([M2]);
    expect(group.member(M1).status.followers).toMatchObject([{ id: M2 }]);
  });

  test("with a later term does not shake a group for longer than one election", () => {
    const group = groupWithLearner().elect(M1);
    const joiner = new Bench({ id: M4, voters: [], term: 9 });
    group.add(joiner).member(M1).changeConfig([M1, M2], [M3, M4]);
    group.exchange();
    expect(group.member(M1).status).toMatchObject({ role: "follower", term: 9 });
    group.elect(M1);
    expect(group.roles).toEqual(["m1 leader 10", "m2 follower 10", "m3 follower 10", "m4 follower 10"]);
  });
});

describe("a follower is good enough to vote", () => {
  function leaderWith(acknowledged: number, limits = { appendEntriesMax: 4 }): Bench {
    const bench = new Bench({ voters: [M1], learners: [M2], limits }).becomeLeader();
    bench.propose(..."abcdefghi");
    if (acknowledged > 0) bench.acknowledge(M2, acknowledged);
    return bench;
  }

  test.each([
    { acknowledged: 0, isCaughtUp: false },
    { acknowledged: 5, isCaughtUp: false },
    { acknowledged: 6, isCaughtUp: true },
    { acknowledged: 10, isCaughtUp: true },
  ])("if it lacks no more than is under way: has $acknowledged of 10", ({ acknowledged, isCaughtUp }) => {
    expect(leaderWith(acknowledged).status.followers).toMatchObject([{ id: M2, isCaughtUp }]);
  });

  test("only while it is heard", () => {
    const bench = leaderWith(10).tick(electionTicksMin - 1);
    expect(bench.status.followers).toMatchObject([{ isActive: true, isCaughtUp: true }]);
    expect(bench.tick().status.followers).toMatchObject([{ isActive: false, isCaughtUp: false }]);
    expect(bench.answer(M2, 1).status.followers).toMatchObject([{ isActive: true, isCaughtUp: true }]);
  });

  test("not while it is asked where its log is, or waits for a snapshot", () => {
    const bench = leaderWith(10);
    bench.engine.reportUnreachable(M2);
    expect(bench.settle().status.followers).toMatchObject([{ state: "probe", isCaughtUp: false }]);
  });
});
