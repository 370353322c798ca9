import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { Bench, type BenchOptions, logOf, M1, M2, M3, M4, M5, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

function leader(options: BenchOptions = {}): Bench {
  const bench = new Bench(options).becomeLeader().acknowledgeAll();
  bench.take();
  return bench;
}

/** Asks, and has the round begun. */
function read(bench: Bench, id: number): ReturnType<Bench["engine"]["readIndex"]> {
  const answer = bench.engine.readIndex(id);
  bench.settle();
  return answer;
}

function roundsOf(bench: Bench): readonly number[] {
  return [...new Set(bench.takeOf("heartbeat").map(({ round }) => round))];
}

describe("a read", () => {
  test("is answered with what was committed when its round began, once a majority answered that round", () => {
    const bench = leader();
    expect(read(bench, 7)).toEqual({ ok: true });
    expect(roundsOf(bench)).toEqual([1]);
    expect(bench.reads).toEqual([]);
    bench.answer(M2, 1);
    expect(bench.reads).toEqual([{ id: 7, index: 1 as LogIndex }]);
  });

  test("is not confirmed by an answer to a round that began before it", () => {
    const bench = leader();
    bench.tick(TIMING.heartbeatTicks);
    expect(roundsOf(bench)).toEqual([1]);
    read(bench, 7);
    expect(roundsOf(bench)).toEqual([2]);
    bench.answer(M2, 1).answer(M3, 1);
    expect(bench.reads).toEqual([]);
    bench.answer(M3, 2);
    expect(bench.reads).toEqual([{ id: 7, index: 1 as LogIndex }]);
  });

  test("that is tried again is another read: an answer to the first attempt does not confirm the second", () => {
    const bench = leader();
    read(bench, 1);
    bench.answer(M2, 1);
    bench.propose("x");
    bench.acknowledge(M2, 2);
    read(bench, 2);
    bench.answer(M2, 1).answer(M3, 1);
    expect(bench.reads.map(({ id }) => id)).toEqual([1]);
    bench.answer(M3, 2);
    expect(bench.reads.at(-1)).toEqual({ id: 2, index: 2 as LogIndex });
  });

  test("is confirmed by a later round as well, where its own was lost", () => {
    const bench = leader();
    read(bench, 7);
    bench.tick(TIMING.heartbeatTicks).answer(M3, 2);
    expect(bench.reads).toHaveLength(1);
  });

  test("shares its round with those that came in the same turn; later ones share the next", () => {
    const bench = leader();
    for (const id of [1, 2, 3]) bench.engine.readIndex(id);
    bench.settle();
    expect(roundsOf(bench)).toEqual([1]);
    read(bench, 4);
    read(bench, 5);
    expect(roundsOf(bench)).toEqual([]);
    bench.answer(M2, 1);
    expect(bench.reads.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(roundsOf(bench)).toEqual([2]);
    bench.answer(M2, 2);
    expect(bench.reads.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5]);
  });

  test("of a new leader waits until that has committed an entry of its own term", () => {
    const bench = new Bench({ entries: logOf(1, 1), commit: 1 }).becomeLeader();
    bench.take();
    read(bench, 7);
    expect(roundsOf(bench)).toEqual([]);
    bench.acknowledge(M2, 2);
    expect(bench.reads).toEqual([]);
    bench.acknowledge(M2, 3);
    expect(roundsOf(bench)).toEqual([1]);
    bench.answer(M2, 1);
    expect(bench.reads).toEqual([{ id: 7, index: 3 as LogIndex }]);
  });

  test("in a group of one needs nobody else", () => {
    const bench = leader({ voters: [M1] });
    read(bench, 7);
    expect(bench.reads).toEqual([{ id: 7, index: 1 as LogIndex }]);
    expect(bench.take()).toEqual([]);
  });

  test("is not confirmed by learners", () => {
    const bench = leader({ learners: [M4, M5] });
    read(bench, 7);
    bench.answer(M4, 1).answer(M5, 1);
    expect(bench.reads).toEqual([]);
    bench.answer(M2, 1);
    expect(bench.reads).toHaveLength(1);
  });

  test("needs both halves while the configuration is joint", () => {
    const bench = leader({ learners: [M4, M5] });
    bench.changeConfig([M1, M4, M5]);
    read(bench, 7);
    bench.answer(M4, 1).answer(M5, 1);
    expect(bench.reads).toEqual([]);
    bench.answer(M3, 1);
    expect(bench.reads).toHaveLength(1);
  });

  test("is answered with nothing once the leadership is lost: whoever asked asks again", () => {
    const bench = leader();
    read(bench, 7);
    read(bench, 8);
    bench.heartbeat(M2, 2);
    expect(bench.reads).toEqual([
      { id: 7, index: null },
      { id: 8, index: null },
    ]);
  });

  test("of a leader that hears no majority is answered with nothing, within the minimum election timeout", () => {
    const group = RaftGroup.of(5).elect(M1).isolate(M1, M2);
    group.member(M1).engine.readIndex(7);
    group.exchange().elect(M3);
    expect(group.member(M3).status.role).toBe("leader");
    group.member(M1).tick(TIMING.electionTicksMin);
    expect(group.member(M1).reads).toEqual([{ id: 7, index: null }]);
  });

  test("is refused by whoever does not lead, with who does", () => {
    const bench = new Bench();
    expect(read(bench, 7)).toEqual({ ok: false, reason: "not-leader", leaderId: null });
    bench.heartbeat(M3, 1);
    expect(read(bench, 7)).toEqual({ ok: false, reason: "not-leader", leaderId: M3 });
  });

  test("takes a place only while it waits; where all are taken, it is refused", () => {
    const bench = leader({ limits: { readsMax: 2 } });
    for (let round = 1; round <= 20; round += 1) {
      read(bench, 2 * round);
      read(bench, 2 * round + 1);
      expect(read(bench, 1_000)).toEqual({ ok: false, reason: "overloaded", leaderId: M1 });
      while (bench.reads.length < 2 * round) bench.answer(M2, bench.takeOf("heartbeat").at(-1)?.round ?? 0);
    }
    expect(bench.reads.map(({ index }) => index)).toEqual(Array.from({ length: 40 }, () => 1 as LogIndex));
  });

  test("is at least as fresh as anything that was committed before it began, under whichever leader", () => {
    const group = RaftGroup.of(3);
    for (const [at, one] of [M1, M2, M3, M1].entries()) {
      group.elect(one).member(one).propose("x");
      group.exchange();
      const committed = Math.max(...group.all.map(({ status }) => status.commitIndex));
      group.member(one).engine.readIndex(at);
      group.exchange();
      expect(group.member(one).reads.at(-1)?.index).toBeGreaterThanOrEqual(committed);
    }
  });

  test("that waits for a member which is removed meanwhile is answered", () => {
    const bench = leader({ voters: [M1, M2] });
    read(bench, 7);
    bench.changeConfig([M1]);
    bench.tick(TIMING.heartbeatTicks);
    expect(bench.status).toMatchObject({ role: "leader", config: { voters: [M1] } });
    expect(bench.reads).toMatchObject([{ id: 7 }]);
    read(bench, 8);
    expect(bench.reads).toMatchObject([{ id: 7 }, { id: 8 }]);
  });
});
