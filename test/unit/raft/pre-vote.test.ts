import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { Bench, type BenchOptions, id, M1, M2, M3, M4, M5, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

const { electionTicksMin, electionTicksMax, heartbeatTicks } = TIMING;
const PRE_VOTE = { type: "pre-vote", last: id(9, 9), isTransfer: false } as const;

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

describe("PreVote in a group", () => {
  test("a member that was cut off and comes back disturbs nobody", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    group.member(M3).tick(200);
    group.member(M1).propose("x");
    group.exchange().heal().tick(heartbeatTicks);
    expect(group.roles).toEqual(["m1 leader 1", "m2 follower 1", "m3 follower 1"]);
    expect(group.member(M3).status.lastIndex).toBe(2 as LogIndex);
  });

  test("a member that hears everybody but the leader disturbs nobody", () => {
    const group = RaftGroup.of(3).elect(M1).cut(M1, M3).cut(M3, M1);
    group.tick(200);
    expect(group.member(M1).status).toMatchObject({ role: "leader", term: 1 });
    expect(group.member(M2).status).toMatchObject({ role: "follower", term: 1 });
    expect(group.member(M3).status).toMatchObject({ role: "pre-candidate", term: 1 });
  });

  test("a member that lost patience while its leader was only slow follows it again, in the same term", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M3).losePatience().tick(electionTicksMin);
    expect(group.member(M3).status.role).toBe("pre-candidate");
    group.beat(M1);
    expect(group.member(M3).status).toMatchObject({ role: "follower", term: 1, leaderId: M1 });
    expect(group.member(M1).status.role).toBe("leader");
  });

  test("when the leader is gone, those that are left elect another", () => {
    const patience = (at: number): BenchOptions => ({ integer: (min) => min + 2 * at });
    const group = new RaftGroup(
      ...[M1, M2, M3].map((member, at) => new Bench({ ...patience(at), id: member })),
    );
    group
      .elect(M1)
      .isolate(M1)
      .tick(2 * electionTicksMin);
    expect(group.member(M2).status).toMatchObject({ role: "leader", term: 2 });
    expect(group.member(M3).status).toMatchObject({ role: "follower", leaderId: M2 });
    // The old one has stepped down by itself, and follows once it hears of it.
    expect(group.member(M1).status).toMatchObject({ role: "follower", term: 1, leaderId: null });
    group.heal().beat(M2);
    expect(group.member(M1).status).toMatchObject({ role: "follower", term: 2, leaderId: M2 });
  });

  test("a member with an old log is told the term, and does not win", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    group.member(M1).propose("x");
    group.exchange().elect(M2).heal().elect(M3);
    expect(group.member(M3).status).toMatchObject({ role: "follower", term: 2 });
    expect(group.elect(M2).member(M2).status).toMatchObject({ role: "leader", term: 3 });
  });

  test("a pre-candidate whose term is behind learns it from the refusal, and takes part again", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3).elect(M2);
    group.member(M3).tick(electionTicksMax);
    expect(group.member(M3).status).toMatchObject({ role: "pre-candidate", term: 1 });
    for (const bench of [group.member(M1), group.member(M2)]) bench.tick(electionTicksMin).take();
    group.heal().exchange();
    expect(group.member(M3).status).toMatchObject({ term: 2 });
    group.elect(M1);
    expect(group.member(M1).status).toMatchObject({ role: "leader", term: 3 });
    expect(group.member(M3).status).toMatchObject({ role: "follower", term: 3, leaderId: M1 });
  });

  test("a promise for another term than the one that was asked about does not count", () => {
    const bench = new Bench({ term: 3 }).losePatience();
    bench.receive(M2, 9, { type: "pre-vote-response", isGranted: true });
    expect(bench.status).toMatchObject({ role: "pre-candidate", term: 3 });
    bench.receive(M2, 4, { type: "pre-vote-response", isGranted: true });
    expect(bench.status).toMatchObject({ role: "candidate", term: 4 });
  });

  test("a follower that is heard but hears nobody disturbs nobody", () => {
    const group = RaftGroup.of(3).elect(M1).cut(M1, M3).cut(M2, M3);
    group.tick(200);
    expect(group.roles).toEqual(["m1 leader 1", "m2 follower 1", "m3 pre-candidate 1"]);
    expect(group.member(M1).propose("x")).toMatchObject({ ok: true });
    group.exchange();
    expect(group.member(M2).status.commitIndex).toBe(2 as LogIndex);
  });

  test("a follower that hears but is not heard stays patient, and catches up when it is heard again", () => {
    const group = RaftGroup.of(3).elect(M1).cut(M3, M1).cut(M3, M2);
    group.tick(100);
    for (let at = 0; at < 5; at += 1) {
      group.member(M1).propose("x");
      group.tick(heartbeatTicks);
    }
    expect(group.roles).toEqual(["m1 leader 1", "m2 follower 1", "m3 follower 1"]);
    group.heal().beat(M1).beat(M1);
    expect(group.member(M3).status).toMatchObject({ lastIndex: 6, commitIndex: 6 });
  });
});
