import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { Bench, entry, id, logOf, M1, M2, M3, TIMING, termsOf } from "../../support/raft-bench.ts";

function appendsTo(bench: Bench, to: typeof M1) {
  return bench.takeOf("append").filter((message) => message.to === to);
}

describe("flow control", () => {
  test("until the logs are known to agree, one append is under way; an answered heartbeat allows one more", () => {
    const bench = new Bench().becomeLeader();
    expect(appendsTo(bench, M2)).toHaveLength(1);
    bench.propose("a");
    bench.propose("b");
    expect(appendsTo(bench, M2)).toEqual([]);
    bench.receive(M2, 1, { type: "heartbeat-response", round: 1 });
    expect(appendsTo(bench, M2).map(({ entries }) => termsOf(entries))).toEqual([[1, 1, 1]]);
  });

  test("after that, appends go out ahead of their answers until the window is full, and on as it empties", () => {
    const bench = new Bench({ limits: { inflightMessagesMax: 2 } }).becomeLeader().acknowledgeAll();
    bench.take();
    for (const text of ["a", "b", "c", "d"]) bench.propose(text);
    expect(appendsTo(bench, M2).map(({ entries }) => entries.map(({ index }) => index))).toEqual([
      [2],
      [3],
    ] as LogIndex[][]);
    bench.acknowledge(M2, 2);
    expect(appendsTo(bench, M2).filter(({ entries }) => entries.length > 0)).toMatchObject([
      { previous: id(3, 1) },
    ]);
  });

  test("the window counts bytes too, and gives them back", () => {
    const bench = new Bench({ limits: { inflightBytesMax: 6 } }).becomeLeader().acknowledgeAll();
    bench.take();
    for (let round = 0; round < 20; round += 1) {
      bench.propose("12345678");
      expect(appendsTo(bench, M2).filter(({ entries }) => entries.length > 0)).toHaveLength(1);
      bench.acknowledgeAll().take();
    }
  });

  test("a window whose messages were all lost recovers: the empty append is refused and the leader goes back", () => {
    const bench = new Bench({ limits: { inflightMessagesMax: 2 } }).becomeLeader().acknowledgeAll();
    for (const text of ["a", "b", "c"]) bench.propose(text);
    bench.take();
    bench.receive(M2, 1, { type: "heartbeat-response", round: 1 });
    const [question] = appendsTo(bench, M2);
    expect(question).toMatchObject({ entries: [], previous: id(3, 1) });
    bench.receive(M2, 1, { type: "append-response", index: 3 as LogIndex, rejection: id(1, 1) });
    expect(appendsTo(bench, M2)).toMatchObject([
      { previous: id(1, 1), entries: [{ index: 2 }, { index: 3 }, { index: 4 }] },
    ]);
  });

  test("one message carries at most the byte limit, and at least one entry", () => {
    const bench = new Bench({ limits: { appendBytesMax: 10 } }).becomeLeader().acknowledgeAll();
    bench.take();
    bench.propose("12345", "12345", "12345", "a very long entry", "1");
    expect(appendsTo(bench, M2).map(({ entries }) => entries.length)).toEqual([2, 1, 1, 1]);
  });

  test("old answers change nothing", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.propose("a");
    bench.acknowledgeAll();
    bench.take();
    bench.receive(M2, 1, { type: "append-response", index: 1 as LogIndex, rejection: id(0, 0) });
    bench.acknowledge(M2, 1);
    expect(bench.take()).toEqual([]);
    expect(bench.status.followers).toMatchObject([{ matchIndex: 2 }, { matchIndex: 2 }]);
  });

  test("a follower that needs what was compacted away is given a snapshot, and nothing else meanwhile", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1) }).becomeLeader().acknowledgeAll();
    bench.store.compact(3 as LogIndex);
    const restarted = new Bench({ store: bench.store }).becomeLeader();
    restarted.take();
    const refuse = (index: number): unknown =>
      restarted.receive(M2, 3, {
        type: "append-response",
        index: index as LogIndex,
        rejection: id(1, 1),
      });
    refuse(4);
    // The floor's own entry is known, so that is asked for first.
    expect(appendsTo(restarted, M2)).toMatchObject([{ previous: id(3, 1) }]);
    refuse(3);
    expect(appendsTo(restarted, M2)).toEqual([]);
    expect(restarted.status.followers).toMatchObject([
      { id: M2, state: "snapshot" },
      { id: M3, state: "probe" },
    ]);
    expect(restarted.snapshotsWanted).toEqual([M2]);
  });
});

describe("proposals", () => {
  test("several in one turn travel in one message and one transaction", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.take();
    const before = bench.store.batches.length;
    bench.engine.propose([new Uint8Array(1)]);
    bench.engine.propose([new Uint8Array(1), new Uint8Array(1)]);
    bench.settle();
    expect(bench.store.batches.length - before).toBe(1);
    expect(appendsTo(bench, M2).map(({ entries }) => entries.length)).toEqual([3]);
  });

  test("too much that is not committed is refused, all or nothing; what is committed makes room", () => {
    const bench = new Bench({ limits: { uncommittedBytesMax: 8 } }).becomeLeader().acknowledgeAll();
    expect(bench.propose("12345")).toMatchObject({ ok: true });
    expect(bench.propose("12", "34")).toMatchObject({ ok: false, reason: "overloaded" });
    expect(bench.propose("123")).toMatchObject({ ok: true });
    bench.acknowledgeAll();
    expect(bench.propose("larger than the limit, but alone")).toMatchObject({ ok: true });
    expect(bench.status.lastIndex).toBe(4 as LogIndex);
  });

  test("only a leader takes them; others say who leads", () => {
    const bench = new Bench();
    expect(bench.propose("a")).toEqual({ ok: false, reason: "not-leader", leaderId: null });
    bench.receive(M3, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    expect(bench.propose("a")).toEqual({ ok: false, reason: "not-leader", leaderId: M3 });
  });

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

describe("the follower", () => {
  test("an old, shorter append does not cut off what was acknowledged since", () => {
    const bench = new Bench();
    bench.append(M2, 1, [0, 0], [entry(1, 1), entry(2, 1), entry(3, 1)]);
    bench.append(M2, 1, [0, 0], [entry(1, 1)]);
    expect(bench.status.lastIndex).toBe(3 as LogIndex);
  });

  test("it commits no further than the message proves, even if its log goes on", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1), term: 2 });
    bench.append(M2, 2, [1, 1], [entry(2, 1)], 9);
    expect(bench.status.commitIndex).toBe(2 as LogIndex);
  });

  test("an append from before what is committed is answered with what is committed", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1), commit: 3 });
    bench.append(M2, 1, [1, 1], [entry(2, 1)]);
    expect(bench.take()).toMatchObject([{ type: "append-response", index: 3, rejection: null }]);
  });

  test("a heartbeat to a follower that lags never names an index that it may not hold", () => {
    const bench = new Bench().becomeLeader();
    bench.acknowledge(M2, 1);
    bench.take();
    bench.tick(TIMING.heartbeatTicks);
    expect(bench.takeOf("heartbeat").map(({ to, commit }) => `${to} ${commit}`)).toEqual(["m2 1", "m3 0"]);
  });

  test("a committed entry is never overwritten: the process ends instead", () => {
    const bench = new Bench({ entries: logOf(1, 1), commit: 2 });
    bench.append(M2, 2, [0, 0], [entry(1, 2)]);
    expect(termsOf(bench.store.entries)).toEqual([1, 1]);
    expect(() => bench.receive(M2, 2, { type: "heartbeat", commit: 7 as LogIndex, round: 1 })).toThrow(
      "was data lost from the disk?",
    );
  });
});
