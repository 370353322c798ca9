import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import type { StagedSnapshot } from "../../../src/raft/ports.ts";
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
  M4,
  M5,
  TIMING,
} from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

const { electionTicksMin, electionTicksMax } = TIMING;

/** Of commands that it stands for, and of who votes as of its last entry. */
function snapshot(
  index: number,
  term: number,
  members: ClusterConfig = config([M1, M2, M3]),
): StagedSnapshot {
  const commands = Array.from({ length: index }, (_, at) => entry(at + 1, term));
  const placed = { index: index as LogIndex, config: members };
  return { meta: { ...id(index, term), config: placed }, content: commands };
}

describe("a follower that is given a snapshot", () => {
  test("has everything that it stands for: log, commits, members, state", () => {
    const bench = new Bench({ voters: [] }).receiveSnapshot(M2, 3, snapshot(11, 2));
    expect(bench.status).toMatchObject({
      term: 3,
      leaderId: M2,
      floorIndex: 11,
      lastIndex: 11,
      commitIndex: 11,
      appliedIndex: 11,
      config: config([M1, M2, M3]),
      isConfigPending: false,
    });
    expect(bench.store.commands).toHaveLength(11);
    expect(bench.store.hard).toMatchObject({ term: 3, commit: 11 });
    expect(bench.take()).toMatchObject([{ type: "append-response", to: M2, index: 11, rejection: null }]);
  });

  test("says so only when it is on the disk, and hands it to the disk once", () => {
    const bench = new Bench();
    const { meta, content } = snapshot(11, 2);
    bench.engine.stepSnapshot({ type: "snapshot", from: M2, to: M1, term: 3 as Term, meta }, content);
    const ready = bench.engine.ready();
    expect(ready).toMatchObject({ snapshot: { meta, content }, mustSync: true, entries: [], committed: [] });
    expect(ready?.urgent).toEqual([]);
    expect(bench.take()).toEqual([]);
    expect(bench.persist(ready).takeOf("append-response")).toHaveLength(1);
    expect(bench.engine.ready()).toBeNull();
  });

  test("goes on from there", () => {
    const bench = new Bench().receiveSnapshot(M2, 2, snapshot(11, 2));
    bench.append(M2, 2, [11, 2], [entry(12, 2), entry(13, 2)], 12);
    expect(bench.status).toMatchObject({ lastIndex: 13, appliedIndex: 12, floorIndex: 11 });
    const restarted = bench.restart();
    expect(restarted.status).toMatchObject({ lastIndex: 13, appliedIndex: 12, floorIndex: 11 });
    expect(restarted.status.config).toEqual(config([M1, M2, M3]));
  });

  test("holds it against who asks for its vote with an older log", () => {
    const bench = new Bench().receiveSnapshot(M2, 5, snapshot(11, 5));
    bench.take();
    for (const [last, isGranted] of [
      [id(99, 4), false],
      [id(10, 5), false],
      [id(11, 5), true],
    ] as const) {
      bench.receive(M3, 5, { type: "pre-vote", last, isTransfer: true });
      bench.receive(M3, 6, { type: "pre-vote", last, isTransfer: true });
      expect(bench.takeOf("pre-vote-response").map((answer) => answer.isGranted)).toEqual([false, isGranted]);
    }
  });

  test("knows the members as they were then, whatever its own log said", () => {
    const entries = [configEntry(1, 1, [M1, M2, M3]), configEntry(2, 1, [M1, M2, M3, M4, M5])];
    const bench = new Bench({ entries }).receiveSnapshot(M2, 2, snapshot(11, 2, config([M1, M2])));
    expect(bench.status.config).toEqual(config([M1, M2]));
    expect(bench.restart().status.config).toEqual(config([M1, M2]));
  });

  test("loses what its own log had and the snapshot has not, also what was only in memory", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1), term: 2 });
    bench.step(M2, 2, {
      type: "append",
      previous: id(3, 1),
      entries: [entry(4, 2), entry(5, 2)],
      commit: 0 as LogIndex,
    });
    const { meta, content } = snapshot(11, 2);
    bench.engine.stepSnapshot({ type: "snapshot", from: M2, to: M1, term: 2 as Term, meta }, content);
    bench.settle();
    expect(bench.store.entries).toEqual([]);
    expect(bench.store.batches).toMatchObject([{ entries: [], snapshot: { meta } }]);
    expect(bench.status).toMatchObject({ lastIndex: 11, appliedIndex: 11 });
  });

  test("has it and what follows in one transaction, where both come in one turn", () => {
    const bench = new Bench();
    const { meta, content } = snapshot(11, 2);
    bench.engine.stepSnapshot({ type: "snapshot", from: M2, to: M1, term: 2 as Term, meta }, content);
    bench.append(M2, 2, [11, 2], [entry(12, 2)], 12);
    expect(bench.store.batches).toHaveLength(1);
    expect(bench.status).toMatchObject({ lastIndex: 12, appliedIndex: 12, floorIndex: 11 });
    expect(bench.store.last).toEqual(id(12, 2));
  });

  test("takes the later of two that come in one turn, and of two in two turns", () => {
    const bench = new Bench();
    for (const { meta, content } of [snapshot(11, 2), snapshot(15, 2)])
      bench.engine.stepSnapshot({ type: "snapshot", from: M2, to: M1, term: 2 as Term, meta }, content);
    bench.settle();
    expect(bench.store.batches).toMatchObject([{ snapshot: { meta: { index: 15 } } }]);
    bench.receiveSnapshot(M2, 2, snapshot(12, 2)).receiveSnapshot(M2, 2, snapshot(20, 2));
    expect(bench.status).toMatchObject({ floorIndex: 20, appliedIndex: 20 });
    expect(bench.store.commands).toHaveLength(20);
  });

  test("gives up its candidacy: who sends one leads", () => {
    const bench = new Bench().becomeCandidate().receiveSnapshot(M2, 1, snapshot(11, 1));
    expect(bench.status).toMatchObject({ role: "follower", leaderId: M2, term: 1 });
    expect(bench.tick(electionTicksMin).status.role).toBe("follower");
  });
});

describe("a snapshot that brings no news", () => {
  test.each([
    { name: "older than what is committed", index: 2, term: 1, answered: 3 },
    { name: "as far as what is committed", index: 3, term: 1, answered: 3 },
  ])("is not taken: $name", ({ index, term, answered }) => {
    const bench = new Bench({ entries: logOf(1, 1, 1, 1), commit: 3 }).settle();
    bench.receiveSnapshot(M2, 1, snapshot(index, term, config([M5])));
    expect(bench.status).toMatchObject({ lastIndex: 4, floorIndex: 0, config: config([M1, M2, M3]) });
    expect(bench.take()).toMatchObject([{ type: "append-response", index: answered, rejection: null }]);
    expect(bench.store.batches.every(({ snapshot: taken }) => taken === null)).toBe(true);
  });

  test("only commits, where the log has its last entry; what follows stays", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1, 1), commit: 1 });
    bench.receiveSnapshot(M2, 1, snapshot(3, 1));
    expect(bench.status).toMatchObject({ commitIndex: 3, appliedIndex: 3, lastIndex: 4, floorIndex: 0 });
    expect(bench.take()).toMatchObject([{ type: "append-response", index: 3, rejection: null }]);
  });

  test("is taken, where the log has another entry in that place", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1, 1), commit: 1 });
    bench.receiveSnapshot(M2, 2, snapshot(3, 2));
    expect(bench.status).toMatchObject({ commitIndex: 3, lastIndex: 3, floorIndex: 3 });
    expect(bench.store.entries).toEqual([]);
  });

  test("of a leader of an old term changes nothing; of one of a later term it is taken", () => {
    const bench = new Bench({ term: 5 });
    expect(bench.receiveSnapshot(M2, 4, snapshot(11, 4)).status).toMatchObject({ lastIndex: 0, term: 5 });
    expect(bench.take()).toEqual([]);
    expect(bench.receiveSnapshot(M2, 6, snapshot(11, 4)).status).toMatchObject({ lastIndex: 11, term: 6 });
  });
});

describe("the members that a snapshot names", () => {
  test.each([
    { name: "a learner stays one", members: config([M2, M3], [M1]), campaigns: false },
    { name: "a voter becomes a learner", members: config([M2, M3], [M1]), campaigns: false },
    { name: "a learner becomes a voter", members: config([M1, M2, M3]), campaigns: true },
    { name: "a member is none any more", members: config([M2, M3]), campaigns: false },
  ])("$name", ({ name, members, campaigns }) => {
    const before = name.startsWith("a learner") ? { voters: [M2, M3], learners: [M1] } : {};
    const bench = new Bench(before).receiveSnapshot(M2, 2, snapshot(11, 2, members));
    expect(bench.status.config).toEqual(members);
    bench.tick(electionTicksMax);
    expect(bench.hasSent("pre-vote")).toBe(campaigns);
  });

  test("may be those of a joint configuration: both halves elect, and the new leader leaves it", () => {
    const joint = { voters: [M1, M4, M5], outgoing: [M1, M2, M3], learners: [], learnersNext: [M2] };
    const bench = new Bench({ voters: [] }).receiveSnapshot(M2, 2, snapshot(11, 2, joint));
    expect(bench.status.config).toEqual(joint);
    expect(bench.restart().status.config).toEqual(joint);
    bench.becomeLeader();
    expect(bench.status.role).toBe("pre-candidate");
    bench.receive(M2, 3, { type: "pre-vote-response", isGranted: true });
    for (const voter of [M2, M4]) bench.receive(voter, 3, { type: "vote-response", isGranted: true });
    expect(bench.status.role).toBe("leader");
    for (const voter of [M2, M4]) bench.acknowledge(voter, 12);
    expect(bench.status).toMatchObject({ lastIndex: 13, config: config([M1, M4, M5], [M2]) });
  });
});

describe("a leader whose follower lacks what was compacted away", () => {
  /** Leads with everything up to 5 compacted, and has been told by M2 that it has nothing. */
  function leader(): Bench {
    const bench = new Bench({ entries: logOf(1, 1, 1, 1, 1), commit: 5 }).settle();
    bench.store.compact(5 as LogIndex);
    const again = bench.restart().becomeLeader();
    again.take();
    return again.refuse(M2, 5, id(0, 0));
  }

  const stateOf = (bench: Bench): unknown => bench.status.followers.find((follower) => follower.id === M2);

  test("asks for a snapshot, and sends nothing else meanwhile", () => {
    const bench = leader();
    expect(bench.snapshotsWanted).toEqual([M2]);
    expect(stateOf(bench)).toMatchObject({ state: "snapshot" });
    bench.take();
    bench.propose("x");
    bench.answer(M2, 1).answer(M2, 2);
    expect(bench.takeOf("append").map(({ to }) => to)).not.toContain(M2);
    expect(bench.snapshotsWanted).toEqual([M2]);
  });

  test("still beats to it", () => {
    const bench = leader();
    bench.take();
    expect(
      bench
        .tick(TIMING.heartbeatTicks)
        .takeOf("heartbeat")
        .map(({ to }) => to),
    ).toContain(M2);
  });

  test("goes on from the snapshot's end when the follower has it", () => {
    const bench = leader();
    bench.take();
    bench.acknowledge(M2, 5);
    expect(stateOf(bench)).toMatchObject({ state: "replicate", matchIndex: 5 });
    expect(bench.takeOf("append").filter(({ to }) => to === M2)).toMatchObject([{ previous: id(5, 1) }]);
    // What the sender says afterwards changes nothing.
    bench.engine.reportSnapshot(M2);
    expect(stateOf(bench)).toMatchObject({ state: "replicate", matchIndex: 5 });
  });

  test("finds out by a question how the sending ended: it arrived", () => {
    const bench = leader();
    bench.take();
    bench.engine.reportSnapshot(M2);
    expect(bench.settle().takeOf("append")).toEqual([]);
    bench.answer(M2, 1);
    expect(bench.takeOf("append")).toMatchObject([{ to: M2, previous: id(5, 1) }]);
    bench.acknowledge(M2, 5);
    expect(stateOf(bench)).toMatchObject({ state: "replicate" });
    expect(bench.snapshotsWanted).toEqual([M2]);
  });

  test("finds out by a question how the sending ended: it failed, and begins again", () => {
    const bench = leader();
    bench.engine.reportSnapshot(M2);
    bench.settle().answer(M2, 1);
    bench.refuse(M2, 5, id(0, 0));
    expect(bench.snapshotsWanted).toEqual([M2, M2]);
    expect(stateOf(bench)).toMatchObject({ state: "snapshot" });
  });

  test("takes entries beyond the snapshot as proof that it arrived", () => {
    const bench = leader();
    bench.acknowledge(M2, 6);
    expect(stateOf(bench)).toMatchObject({ state: "replicate", matchIndex: 6 });
  });

  test("follows again also where the snapshot was all there is", () => {
    const group = RaftGroup.of(3).isolate(M3).elect(M1);
    group.member(M1).propose("a", "b");
    group.exchange();
    const first = group.member(M1);
    first.engine.compactedTo(first.store.compact(first.status.lastIndex));
    group.heal().beat(M1).beat(M1);
    expect(group.member(M3).status).toMatchObject({ floorIndex: 3, lastIndex: 3, appliedIndex: 3 });
    expect(first.status.followers).toMatchObject([{ id: M2 }, { id: M3, state: "replicate", matchIndex: 3 }]);
  });

  test("does not ask for one while the follower is silent, and does when it speaks again", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1, 1, 1) }).becomeLeader();
    bench.acknowledge(M2, 2).acknowledge(M3, 6);
    for (let tick = 0; tick < electionTicksMin; tick += 1) bench.tick().answer(M3, 1);
    bench.engine.compactedTo(bench.store.compact(6 as LogIndex));
    bench.engine.reportUnreachable(M2);
    bench.settle().take();
    bench.propose("x");
    expect(bench.takeOf("append").map(({ to }) => to)).toEqual([M3]);
    expect(bench.snapshotsWanted).toEqual([]);
    expect(stateOf(bench)).toMatchObject({ isActive: false, state: "probe", matchIndex: 2 });
    bench.answer(M2, 1);
    expect(bench.snapshotsWanted).toEqual([M2]);
    expect(stateOf(bench)).toMatchObject({ isActive: true, state: "snapshot" });
  });

  test("asks no more when it has stepped down, and what is reported then is dropped", () => {
    const bench = leader().heartbeat(M3, 3);
    const before = bench.status;
    bench.engine.reportSnapshot(M2);
    expect(bench.settle().status).toEqual(before);
  });

  test("a follower that needs what was compacted away is asked at the floor first", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1), commit: 3 }).settle();
    bench.store.compact(2 as LogIndex);
    const again = bench.restart().becomeLeader();
    again.take();
    again.refuse(M2, 3, id(1, 1));
    expect(again.takeOf("append")).toMatchObject([{ to: M2, previous: id(2, 1) }]);
    again.refuse(M2, 2, id(1, 1));
    expect(again.takeOf("append")).toEqual([]);
    expect(again.snapshotsWanted).toEqual([M2]);
    expect(again.status.followers).toMatchObject([
      { id: M2, state: "snapshot" },
      { id: M3, state: "probe" },
    ]);
  });

  test("is not misled by a late answer from before it: the one snapshot goes on", () => {
    const bench = leader();
    bench.acknowledge(M2, 0).acknowledge(M2, 2);
    expect(stateOf(bench)).toMatchObject({ state: "snapshot", matchIndex: 2 });
    expect(bench.snapshotsWanted).toEqual([M2]);
    bench.acknowledge(M2, 5);
    expect(stateOf(bench)).toMatchObject({ state: "replicate", matchIndex: 5 });
  });
});

describe("a slow member", () => {
  test("that comes back after the log was compacted catches up by snapshot and log", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    const first = group.member(M1);
    for (let at = 0; at < 20; at += 1) {
      first.propose(`${at}`);
      group.exchange();
    }
    first.engine.compactedTo(first.store.compact(15 as LogIndex));
    first.propose("last");
    group.exchange().heal().beat(M1).beat(M1);
    expect(group.member(M3).status).toMatchObject({ lastIndex: 22, commitIndex: 22, appliedIndex: 22 });
    expect(group.member(M3).store.commands).toEqual(first.store.commands);
  });

  test("does not keep the others from compacting, and is in no way of those that follow", () => {
    const group = RaftGroup.of(3).elect(M1).isolate(M3);
    const first = group.member(M1);
    for (let round = 1; round <= 5; round += 1) {
      first.propose("x");
      group.exchange();
      first.engine.compactedTo(first.store.compact(first.status.appliedIndex));
      expect(first.store.entries).toEqual([]);
    }
    expect(group.member(M2).status.appliedIndex).toBe(6 as LogIndex);
  });

  test("that joins a leader with nothing but a compacted log catches up although nobody writes", () => {
    const bench = new Bench({ voters: [M1] }).becomeLeader();
    bench.propose("a", "b");
    bench.changeConfig([M1], [M2]);
    bench.engine.compactedTo(bench.store.compact(bench.status.lastIndex));
    const joiner = new Bench({ id: M2, voters: [] });
    const group = new RaftGroup(bench, joiner).exchange().beat(M1).beat(M1);
    expect(joiner.status).toMatchObject({ appliedIndex: 4, lastIndex: 4, config: config([M1], [M2]) });
    expect(bench.status.followers).toMatchObject([{ id: M2, state: "replicate", isCaughtUp: true }]);
    bench.changeConfig([M1, M2]);
    group.exchange();
    expect(joiner.status.config).toEqual(config([M1, M2]));
  });

  test("whose snapshots are lost on the way is tried again, and gets one in the end", () => {
    const group = RaftGroup.of(3).isolate(M3).elect(M1);
    const first = group.member(M1);
    first.propose("a");
    group.exchange();
    first.engine.compactedTo(first.store.compact(first.status.lastIndex));
    // What it says is heard; what is said to it is not.
    group.heal().cut(M1, M3);
    for (let round = 0; round < 5; round += 1) group.beat(M1);
    expect(group.member(M3).status.lastIndex).toBe(0 as LogIndex);
    group.heal().beat(M1).beat(M1);
    expect(group.member(M3).status.appliedIndex).toBe(2 as LogIndex);
  });

  test("whose leader changes while a snapshot is on its way gets it from the next", () => {
    const group = RaftGroup.of(3).isolate(M3).elect(M1);
    for (const one of [M1, M2]) {
      group.elect(one).member(one).propose("x");
      group.exchange();
    }
    for (const one of [M1, M2]) {
      const bench = group.member(one);
      bench.engine.compactedTo(bench.store.compact(bench.status.appliedIndex));
    }
    group.heal().cut(M2, M3).beat(M2).beat(M2);
    expect(group.member(M3).status.lastIndex).toBe(0 as LogIndex);
    group.heal().elect(M1).beat(M1).beat(M1);
    expect(group.member(M3).status.appliedIndex).toBe(group.member(M1).status.appliedIndex);
  });

  test("that was cut off when it was added, of a leader with nothing but a compacted log, catches up, too", () => {
    const bench = new Bench({ voters: [M1] }).becomeLeader();
    const joiner = new Bench({ id: M2, voters: [] });
    const group = new RaftGroup(bench, joiner).isolate(M2);
    bench.propose("a", "b");
    bench.changeConfig([M1], [M2]);
    group.exchange().tick(2 * electionTicksMin);
    bench.engine.compactedTo(bench.store.compact(bench.status.lastIndex));
    expect(bench.snapshotsWanted).toEqual([]);
    group.heal().beat(M1).beat(M1);
    expect(joiner.status).toMatchObject({ appliedIndex: 4, config: config([M1], [M2]), leaderId: M1 });
    expect(bench.status.followers).toMatchObject([{ id: M2, state: "replicate", isCaughtUp: true }]);
  });
});
