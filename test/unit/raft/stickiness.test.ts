import { describe, expect, test } from "bun:test";
import { Bench, id, M1, M2, M3, M4, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

const { electionTicksMin, electionTicksMax, heartbeatTicks } = TIMING;
const PRE_VOTE = { type: "pre-vote", last: id(9, 9), isTransfer: false } as const;
const VOTE = { type: "vote", last: id(9, 9), isTransfer: false } as const;

/** Has a leader of term 1 that it heard a moment ago. */
function follower(): Bench {
  const bench = new Bench({ term: 1 }).heartbeat(M2, 1);
  bench.take();
  return bench;
}

describe("leader stickiness", () => {
  test.each([PRE_VOTE, VOTE])(
    "a $type within the minimum timeout of hearing a leader gets no answer and no term",
    (request) => {
      const bench = follower().tick(electionTicksMin - 1);
      bench.receive(M3, 7, request);
      expect(bench.take()).toEqual([]);
      expect(bench.status).toMatchObject({ term: 1, leaderId: M2 });
    },
  );

  test("after it the vote is given", () => {
    const bench = follower().tick(electionTicksMin);
    bench.take();
    bench.receive(M3, 7, VOTE);
    expect(bench.take()).toMatchObject([{ type: "vote-response", term: 7, isGranted: true }]);
  });

  test("a vote that the leader itself wants is given at once", () => {
    const bench = follower();
    bench.receive(M3, 2, { ...VOTE, isTransfer: true });
    expect(bench.take()).toMatchObject([{ type: "vote-response", term: 2, isGranted: true }]);
  });

  test("a leader does not give its vote to others", () => {
    const bench = new Bench().becomeLeader();
    bench.take();
    bench.receive(M3, 7, VOTE);
    expect(bench.take()).toEqual([]);
    expect(bench.status).toMatchObject({ role: "leader", term: 1 });
  });

  test("after a start, votes are refused for one window: what was promised before is not known", () => {
    const bench = new Bench({ term: 1 }).tick(electionTicksMin - 1);
    bench.receive(M3, 2, VOTE);
    expect(bench.take()).toEqual([]);
    bench.tick().receive(M3, 2, VOTE);
    expect(bench.takeOf("vote-response")).toMatchObject([{ isGranted: true }]);
  });

  test("after a start, also for the very term that it has not voted in yet", () => {
    const bench = new Bench({ term: 2 });
    bench.receive(M3, 2, VOTE);
    expect(bench.take()).toEqual([]);
    expect(bench.store.hard.vote).toBeNull();
  });

  test("who led and steps down owes nothing, even if it was loyal to another the moment before it led", () => {
    const bench = follower();
    bench.receive(M2, 1, { type: "timeout-now" });
    bench.receive(M3, 2, { type: "vote-response", isGranted: true });
    expect(bench.status.role).toBe("leader");
    bench.tick(1, electionTicksMin).take();
    expect(bench.status.role).toBe("follower");
    bench.receive(M3, 3, VOTE);
    expect(bench.takeOf("vote-response")).toMatchObject([{ term: 3, isGranted: true }]);
  });
});

describe("loyalty in a group", () => {
  test("a removed member whose log is up to date cannot unseat the leader", () => {
    const group = RaftGroup.of(4).elect(M1);
    group.member(M1).changeConfig([M1, M2, M3]);
    // It never learns that it was removed.
    group.isolate(M4).exchange().heal();
    expect(group.member(M4).status.config.voters).toContain(M4);
    for (let round = 0; round < 20; round += 1) {
      group.tick(heartbeatTicks);
      group.member(M4).tick(electionTicksMax);
      group.exchange();
    }
    expect(group.member(M1).status).toMatchObject({ role: "leader", term: 1 });
    expect(group.member(M2).status).toMatchObject({ term: 1, leaderId: M1 });
  });

  test("a leader that is replaced soon after all restarted waits for nobody's promise that ran out", () => {
    const group = RaftGroup.of(3).elect(M1);
    for (const member of [M1, M2, M3]) group.restart(member);
    group.member(M2).tick(electionTicksMax);
    group.exchange();
    expect(group.member(M2).status.role).toBe("pre-candidate");
    expect(group.elect(M2).member(M2).status).toMatchObject({ role: "leader", term: 2 });
  });

  test("a leader that stood still for long steps down at its first tick, before it can refuse anybody", () => {
    const bench = new Bench().becomeLeader().tick(1, electionTicksMin);
    expect(bench.status).toMatchObject({ role: "follower", leaderId: null });
    bench.take();
    bench.receive(M2, 2, VOTE);
    expect(bench.takeOf("vote-response")).toMatchObject([{ isGranted: true }]);
  });

  test("a follower that stood still for long counts one tick: what waits in its sockets comes first", () => {
    const bench = follower().tick(1, 50 * electionTicksMax);
    expect(bench.status).toMatchObject({ role: "follower", leaderId: M2 });
    bench.receive(M3, 7, VOTE);
    expect(bench.take()).toEqual([]);
  });

  test("does not hold against the old leader itself, once it asks again", () => {
    const group = RaftGroup.of(3).elect(M1).elect(M1);
    expect(group.roles).toEqual(["m1 leader 2", "m2 follower 2", "m3 follower 2"]);
  });
});
