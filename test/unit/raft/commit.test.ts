import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import { Bench, logOf, M1, M2, M3, M4, M5 } from "../../support/raft-bench.ts";
import { RaftGroup, SEVEN } from "../../support/raft-group.ts";

describe("what a leader counts", () => {
  test("a leader does not count itself before its disk has answered", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.engine.propose([new Uint8Array(1)]);
    const ready = bench.engine.ready();
    expect(ready).toMatchObject({ entries: [{ index: 2 }], committed: [] });
    bench.persist(ready);
    bench.engine.propose([new Uint8Array(1)]);
    // M2 has answered for an entry that the leader's own disk does not hold yet: that is one of three.
    bench.engine.step({
      from: M2,
      to: M1,
      term: bench.status.term,
      type: "append-response",
      index: 3 as LogIndex,
      rejection: null,
    });
    expect(bench.status.commitIndex).toBe(2 as LogIndex);
    bench.settle();
    expect(bench.status.commitIndex).toBe(3 as LogIndex);
  });
});

describe("a quorum of copies", () => {
  // The leader has 1/1 2/1 of an earlier leader and 3/2 of its own; each acknowledgement is of one member.
  test.each([
    { voters: 1, acks: [], commit: 3 },
    { voters: 2, acks: [], commit: 0 },
    { voters: 2, acks: [2], commit: 0 },
    { voters: 2, acks: [3], commit: 3 },
    { voters: 3, acks: [1, 2], commit: 0 },
    { voters: 3, acks: [2, 2], commit: 0 },
    { voters: 3, acks: [3, 0], commit: 3 },
    { voters: 3, acks: [0, 3], commit: 3 },
    { voters: 4, acks: [3, 2, 2], commit: 0 },
    { voters: 4, acks: [3, 3, 0], commit: 3 },
    { voters: 5, acks: [3, 0, 0, 2], commit: 0 },
    { voters: 5, acks: [3, 0, 0, 3], commit: 3 },
    { voters: 7, acks: [3, 3, 0, 0, 0, 2], commit: 0 },
    { voters: 7, acks: [3, 3, 0, 0, 0, 3], commit: 3 },
  ])("commits entries of the own term, and what lies before them: $acks of $voters voters", (row) => {
    const voters = SEVEN.slice(0, row.voters);
    const bench = new Bench({ voters, entries: logOf(1, 1), term: 1 }).becomeLeader();
    for (const [at, index] of row.acks.entries())
      if (index > 0) bench.acknowledge(voters[at + 1] as MemberId, index);
    expect(bench.status.commitIndex).toBe(row.commit as LogIndex);
  });

  test("is of both halves while the configuration is joint", () => {
    const bench = new Bench({ learners: [M4, M5] }).becomeLeader().acknowledgeAll();
    bench.changeConfig([M1, M4, M5]);
    bench.acknowledge(M4, 2).acknowledge(M5, 2);
    expect(bench.status.commitIndex).toBe(1 as LogIndex);
    bench.acknowledge(M3, 2);
    expect(bench.status.commitIndex).toBe(2 as LogIndex);
  });

  test("is not made of learners", () => {
    const bench = new Bench({ learners: [M4, M5] }).becomeLeader();
    expect(bench.acknowledge(M4, 1).acknowledge(M5, 1).status.commitIndex).toBe(0 as LogIndex);
    expect(bench.acknowledge(M2, 1).status.commitIndex).toBe(1 as LogIndex);
  });

  test("gets smaller with the group: what waited for the member that is removed is committed", () => {
    const bench = new Bench({ voters: [M1, M2] }).becomeLeader().acknowledgeAll();
    bench.propose("x");
    expect(bench.status.commitIndex).toBe(1 as LogIndex);
    expect(bench.changeConfig([M1])).toMatchObject({ ok: true });
    expect(bench.status).toMatchObject({ commitIndex: 3, appliedIndex: 3, isConfigPending: false });
  });

  test("of one: committed as soon as the own disk has it, and not before", () => {
    const bench = new Bench({ voters: [M1] }).becomeLeader();
    bench.engine.propose([new Uint8Array(1)]);
    const ready = bench.engine.ready();
    expect(bench.status.commitIndex).toBe(1 as LogIndex);
    expect(bench.persist(ready).status.commitIndex).toBe(2 as LogIndex);
  });

  test("of the others commits before the own disk has it; it is stored and applied in one transaction then", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.engine.propose([new Uint8Array(1)]);
    for (const from of [M2, M3])
      bench.step(from, 1, { type: "append-response", index: 2 as LogIndex, rejection: null });
    expect(bench.status).toMatchObject({ commitIndex: 2, appliedIndex: 1 });
    const before = bench.store.batches.length;
    bench.settle();
    expect(bench.store.batches.slice(before)).toMatchObject([
      { entries: [{ index: 2 }], committed: [{ index: 2 }] },
    ]);
    expect(bench.status.appliedIndex).toBe(2 as LogIndex);
  });
});

describe("entries of earlier leaders", () => {
  test("are committed by a new leader without waiting for a proposal", () => {
    const group = RaftGroup.of(5).elect(M1).isolate(M1, M2);
    group.member(M1).propose("a", "b");
    group.exchange();
    expect(group.member(M1).status.commitIndex).toBe(1 as LogIndex);
    group.heal().elect(M2);
    expect(group.member(M2).status).toMatchObject({ term: 2 as Term, commitIndex: 4, isReady: true });
  });
});

describe("a leader that loses its office", () => {
  test("counts nothing that its disk answers afterwards", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.engine.propose([new Uint8Array(1)]);
    bench.step(M2, 1, { type: "append-response", index: 2 as LogIndex, rejection: null });
    bench.step(M3, 2, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    expect(bench.settle().status).toMatchObject({ role: "follower", commitIndex: 1, lastIndex: 2 });
  });

  test("forgets how far the others were: they tell the next leader anew", () => {
    const group = RaftGroup.of(3).elect(M1).elect(M2);
    expect(group.member(M1).status.followers).toEqual([]);
    group.elect(M1);
    expect(group.member(M1).status.followers).toMatchObject([
      { id: M2, matchIndex: 3 },
      { id: M3, matchIndex: 3 },
    ]);
  });
});
