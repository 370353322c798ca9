import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import {
  Bench,
  config,
  configEntry,
  entry,
  id,
  logOf,
  M1,
  M2,
  M3,
  TIMING,
  termsOf,
} from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

const { electionTicksMin, electionTicksMax } = TIMING;

describe("a member that starts again", () => {
  test.each(["follower", "pre-candidate", "candidate", "leader"] as const)(
    "begins as a follower that knows no leader, whatever it was: %s",
    (role) => {
      const bench = new Bench();
      if (role === "pre-candidate") bench.losePatience();
      if (role === "candidate") bench.becomeCandidate();
      if (role === "leader") bench.becomeLeader();
      expect(bench.status.role).toBe(role);
      const again = bench.restart();
      expect(again.status).toMatchObject({ role: "follower", leaderId: null, followers: [] });
      expect(again.settle().take()).toEqual([]);
    },
  );

  test("has its term, its vote, its log, its commits and its members", () => {
    const bench = new Bench({ entries: [configEntry(1, 1, [M1, M2])], term: 1 });
    bench.append(M2, 3, [1, 1], [entry(2, 3), entry(3, 3)], 2);
    const again = bench.restart();
    expect(again.status).toMatchObject({
      term: 3,
      lastIndex: 3,
      commitIndex: 2,
      appliedIndex: 2,
      config: config([M1, M2]),
    });
  });

  test("keeps the vote that it gave, and gives none to another in that term", () => {
    const bench = new Bench({ term: 1 });
    bench.receive(M2, 2, { type: "vote", last: id(0, 0), isTransfer: true });
    expect(bench.takeOf("vote-response")).toMatchObject([{ to: M2, isGranted: true }]);
    const again = bench.restart();
    again.receive(M3, 2, { type: "vote", last: id(9, 9), isTransfer: true });
    again.receive(M2, 2, { type: "vote", last: id(0, 0), isTransfer: true });
    expect(again.takeOf("vote-response").map(({ to, isGranted }) => `${to} ${isGranted}`)).toEqual([
      "m3 false",
      "m2 true",
    ]);
  });

  test("keeps the vote for itself", () => {
    const again = new Bench().becomeCandidate().restart();
    again.receive(M2, 1, { type: "vote", last: id(9, 9), isTransfer: true });
    expect(again.takeOf("vote-response")).toMatchObject([{ isGranted: false }]);
  });

  test("applies what was committed and not applied yet, once, before it is asked for anything", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1), commit: 2 });
    expect(bench.status).toMatchObject({ commitIndex: 2, appliedIndex: 0 });
    const ready = bench.engine.ready();
    expect(ready).toMatchObject({ entries: [], hard: null, committed: [{ index: 1 }, { index: 2 }] });
    bench.persist(ready);
    expect(bench.engine.ready()).toBeNull();
    expect(bench.restart().engine.ready()).toBeNull();
  });

  test("trusts what was applied more than a stored commit that lags behind", () => {
    const store = new MemoryLogStore({ entries: logOf(1, 1, 1) });
    store.applied = 2 as LogIndex;
    expect(new Bench({ store }).status).toMatchObject({ commitIndex: 2, appliedIndex: 2 });
  });

  test("applies a long log in portions, with no gap, and never stores a commit that goes back", () => {
    const entries = Array.from({ length: 30 }, (_, at) => entry(at + 1, 1, "x".repeat(10)));
    const bench = new Bench({ entries, commit: 29, limits: { applyBytesMax: 25 } });
    bench.append(M2, 1, [30, 1], [entry(31, 1)], 31);
    expect(bench.status).toMatchObject({ commitIndex: 31, appliedIndex: 31 });
    expect(bench.store.commands.map(({ index }) => Number(index))).toEqual(
      Array.from({ length: 31 }, (_, at) => at + 1),
    );
    for (const { committed } of bench.store.batches) expect(committed.length).toBeLessThanOrEqual(2);
    const commits = bench.store.batches.flatMap(({ hard }) => (hard === null ? [] : [hard.commit]));
    expect(commits).toEqual([31 as LogIndex]);
  });

  test("keeps what was not committed: it may be what a majority acknowledged", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M1).propose("x");
    // All three have it; none knows that it is committed when all crash.
    for (const to of [M2, M3]) {
      for (const message of group.member(M1).takeOf("append"))
        group.member(to).engine.step({ ...message, to });
      group.member(to).settle();
    }
    for (const { id: member } of group.all) group.restart(member);
    group.elect(M2);
    expect(group.member(M2).store.commands).toHaveLength(1);
  });

  test("after a compaction begins at the floor, with the members of then", () => {
    const entries = [configEntry(1, 1, [M1, M2]), entry(2, 1), entry(3, 1)];
    const bench = new Bench({ entries, commit: 3 }).settle();
    bench.store.compact(2 as LogIndex);
    const again = bench.restart();
    expect(again.status).toMatchObject({
      floorIndex: 2,
      lastIndex: 3,
      appliedIndex: 3,
      config: config([M1, M2]),
    });
    expect(again.append(M2, 1, [3, 1], [entry(4, 1)]).status.lastIndex).toBe(4 as LogIndex);
  });

  test("alone leads again in a later term, with everything it had", () => {
    let bench = new Bench({ voters: [M1] });
    for (let life = 1; life <= 3; life += 1) {
      bench.engine.campaign();
      bench.settle().propose("x");
      expect(bench.status).toMatchObject({ role: "leader", term: life, isReady: true });
      bench = bench.restart();
    }
    expect(termsOf(bench.store.entries)).toEqual([1, 1, 2, 2, 3, 3]);
    expect(bench.store.commands).toHaveLength(3);
  });
});

describe("a group that starts again", () => {
  test("elects a leader and has everything that was agreed", () => {
    const group = RaftGroup.of(3, { integer: (min) => min }).elect(M1);
    group.member(M1).propose("x");
    group.exchange();
    for (const { id: member } of group.all) group.restart(member);
    group.elect(M3);
    expect(group.member(M3).status).toMatchObject({ role: "leader", term: 2, isReady: true });
    for (const { store } of group.all) expect(store.commands).toHaveLength(1);
  });

  test("does not need the member that is down, and that catches up when it is back", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    group.member(M1).propose("a", "b");
    group.exchange().restart(M3);
    group.heal().beat(M1).beat(M1);
    expect(group.member(M3).status).toMatchObject({ appliedIndex: 3, leaderId: M1 });
  });

  test("follows the leader that stayed, and does not unseat it", () => {
    const group = RaftGroup.of(3).elect(M1);
    for (let round = 0; round < 5; round += 1) {
      group.restart(M2);
      group.restart(M3);
      group.beat(M1);
    }
    expect(group.roles).toEqual(["m1 leader 1", "m2 follower 1", "m3 follower 1"]);
  });
});

describe("a joiner", () => {
  test("does not stand before it has what made it a member, also after a restart", () => {
    const bench = new Bench({ voters: [], promotableFrom: 3 });
    bench.append(M2, 2, [0, 0], [configEntry(1, 1, [M1]), configEntry(2, 1, [M2])], 1);
    bench.engine.campaign();
    expect(bench.tick(electionTicksMax).status).toMatchObject({ role: "follower", term: 2 });
    const again = bench.restart();
    again.engine.campaign();
    expect(again.tick(electionTicksMax).status).toMatchObject({ role: "follower", term: 2 });
    again.append(M2, 2, [2, 1], [configEntry(3, 2, [M1, M2])], 3);
    again.tick(electionTicksMax);
    expect(again.status.role).toBe("pre-candidate");
  });

  test("votes all the same", () => {
    const bench = new Bench({ voters: [], promotableFrom: 30 }).tick(electionTicksMin);
    bench.receive(M2, 2, { type: "vote", last: id(1, 1), isTransfer: false });
    expect(bench.takeOf("vote-response")).toMatchObject([{ isGranted: true }]);
  });
});

describe("a disk that lies", () => {
  test("about its term is not started from: an entry is newer than the stored term", () => {
    const hard = { term: 1 as Term, vote: null, commit: 0 as LogIndex };
    expect(() => new Bench({ store: new MemoryLogStore({ entries: logOf(1, 2), hard }) })).toThrow(
      "no entry is newer than the stored term",
    );
  });

  test("about its commits is not started from: what was committed is not there", () => {
    const hard = { term: 2 as Term, vote: null, commit: 3 as LogIndex };
    expect(() => new Bench({ store: new MemoryLogStore({ entries: logOf(1, 2), hard }) })).toThrow(
      "was data lost from the disk?",
    );
  });

  test("about what it acknowledged ends the process once the leader counts on it", () => {
    const leader = new Bench({ voters: [M1, M2] }).becomeLeader();
    leader.propose("x");
    const follower = new Bench({ id: M2, voters: [M1, M2] });
    new RaftGroup(leader, follower).exchange();
    expect(leader.status.commitIndex).toBe(2 as LogIndex);
    const wiped = new Bench({ id: M2, voters: [M1, M2], term: 1 });
    expect(() => new RaftGroup(leader, wiped).beat(M1)).toThrow("was data lost from the disk?");
  });
});
