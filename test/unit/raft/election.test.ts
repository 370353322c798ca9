import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import {
  Bench,
  configEntry,
  entry,
  id,
  logOf,
  M1,
  M2,
  M3,
  M4,
  M5,
  TIMING,
} from "../../support/raft-bench.ts";

const { electionTicksMin, heartbeatTicks } = TIMING;
const PRE_VOTE = { type: "pre-vote", last: id(9, 9), isTransfer: false } as const;
const VOTE = { type: "vote", last: id(9, 9), isTransfer: false } as const;

/** Has a leader of term 1 that it heard a moment ago. */
function follower(): Bench {
  const bench = new Bench({ term: 1 });
  bench.receive(M2, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
  bench.take();
  return bench;
}

describe("PreVote", () => {
  test("a member that nobody answers never raises its term", () => {
    const bench = new Bench({ term: 3 }).tick(500);
    expect(bench.status).toMatchObject({ role: "pre-candidate", term: 3 });
    expect(bench.store.hard.vote).toBeNull();
  });

  test("asking for a pre-vote changes neither term nor vote of who is asked", () => {
    const bench = new Bench({ term: 3 }).tick(electionTicksMin);
    bench.receive(M2, 8, PRE_VOTE);
    expect(bench.store.hard).toMatchObject({ term: 3, vote: null });
    // With the own term, the asker would drop the answer as old.
    expect(bench.take()).toMatchObject([{ type: "pre-vote-response", term: 8, isGranted: true }]);
  });

  test("a pre-vote in an old term is refused aloud, with the newer term, so that the asker catches up", () => {
    const bench = new Bench({ term: 5 });
    bench.receive(M2, 3, PRE_VOTE);
    expect(bench.take()).toMatchObject([{ type: "pre-vote-response", term: 5, isGranted: false }]);
    const asker = new Bench({ term: 2 }).losePatience();
    asker.receive(M2, 5, { type: "pre-vote-response", isGranted: false });
    expect(asker.status).toMatchObject({ role: "follower", term: 5 });
  });

  test("a pre-candidate whom a majority refuses goes back to waiting", () => {
    const bench = new Bench({ term: 3 }).losePatience();
    bench.receive(M2, 3, { type: "pre-vote-response", isGranted: false });
    bench.receive(M3, 3, { type: "pre-vote-response", isGranted: false });
    expect(bench.status).toMatchObject({ role: "follower", term: 3 });
  });

  test("answers to a pre-vote do not count as votes", () => {
    const bench = new Bench({ voters: [M1, M2, M3, M4, M5] }).becomeCandidate();
    for (const from of [M2, M3, M4]) bench.receive(from, 1, { type: "pre-vote-response", isGranted: true });
    expect(bench.status.role).toBe("candidate");
  });
});

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
});

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

describe("a group of one", () => {
  test("elects itself without a tick, and commits only after its own disk has answered", () => {
    const bench = new Bench({ voters: [M1] });
    bench.engine.campaign();
    const vote = bench.engine.ready();
    expect(vote?.hard).toMatchObject({ term: 1, vote: M1 });
    expect(bench.status.role).toBe("candidate");
    bench.persist(vote);
    expect(bench.status).toMatchObject({ role: "leader", commitIndex: 0, isReady: false });
    const noop = bench.engine.ready();
    expect(noop).toMatchObject({ entries: [{ index: 1, kind: "noop" }], committed: [] });
    expect(bench.status.commitIndex).toBe(0 as LogIndex);
    bench.persist(noop);
    expect(bench.status).toMatchObject({ commitIndex: 1, isReady: false });
    bench.settle();
    expect(bench.status).toMatchObject({ appliedIndex: 1, isReady: true });
  });

  test("with others in the group, campaign() does nothing", () => {
    const bench = new Bench();
    bench.engine.campaign();
    expect(bench.settle().take()).toEqual([]);
    expect(bench.status.role).toBe("follower");
  });
});

describe("who may campaign", () => {
  test("a learner does not, but votes when asked: it may have been promoted without knowing", () => {
    const bench = new Bench({ voters: [M2, M3], learners: [M1] }).tick(200);
    expect(bench.status.role).toBe("follower");
    bench.receive(M2, 1, VOTE);
    expect(bench.take()).toMatchObject([{ type: "vote-response", isGranted: true }]);
  });

  test("a member that is not in its latest configuration does not", () => {
    expect(new Bench({ entries: [configEntry(1, 1, [M2, M3])] }).tick(200).status.role).toBe("follower");
    expect(new Bench({ voters: [] }).tick(200).status.role).toBe("follower");
  });

  test("a joiner does not while it replays history: an old configuration of one would elect it", () => {
    const bench = new Bench({ entries: [configEntry(1, 1, [M1]), entry(2, 1)], promotableFrom: 2 });
    bench.engine.campaign();
    expect(bench.tick(200).status.role).toBe("follower");
    bench.append(M2, 1, [2, 1], [], 2);
    expect(bench.losePatience().status.role).toBe("leader");
  });

  test("timeout-now makes a follower of this leader campaign at once, and nobody else", () => {
    const bench = follower();
    bench.receive(M3, 1, { type: "timeout-now" });
    expect(bench.status.role).toBe("follower");
    bench.receive(M2, 1, { type: "timeout-now" });
    expect(bench.status).toMatchObject({ role: "candidate", term: 2 });
    expect(bench.takeOf("vote")).toMatchObject([{ isTransfer: true }, { isTransfer: true }]);
    const learner = new Bench({ voters: [M2, M3], learners: [M1], term: 1 });
    learner.receive(M2, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    learner.receive(M2, 1, { type: "timeout-now" });
    expect(learner.status.role).toBe("follower");
  });

  test("messages from members that are not in the own configuration are answered", () => {
    const bench = new Bench({ entries: logOf(1) });
    bench.append(M5, 2, [1, 1], [entry(2, 2)]);
    expect(bench.take()).toMatchObject([{ type: "append-response", to: M5, index: 2 }]);
    expect(bench.status.leaderId).toBe(M5);
  });
});
