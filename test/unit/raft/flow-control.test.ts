import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { Bench, entry, id, M1, M2, M3, M4, M5, type MessageOf, termsOf } from "../../support/raft-bench.ts";

function appendsTo(bench: Bench, to: MemberId): readonly MessageOf<"append">[] {
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
});

describe("what is not committed yet", () => {
  test("too much that is not committed is refused, all or nothing; what is committed makes room", () => {
    const bench = new Bench({ limits: { uncommittedBytesMax: 8 } }).becomeLeader().acknowledgeAll();
    expect(bench.propose("12345")).toMatchObject({ ok: true });
    expect(bench.propose("12", "34")).toMatchObject({ ok: false, reason: "overloaded" });
    expect(bench.propose("123")).toMatchObject({ ok: true });
    bench.acknowledgeAll();
    expect(bench.propose("larger than the limit, but alone")).toMatchObject({ ok: true });
    expect(bench.status.lastIndex).toBe(4 as LogIndex);
  });
});

describe("a full window", () => {
  const WINDOW = 4;

  /** Its followers hold entry 1; so much is under way to M2 that nothing more may be sent. */
  function fullWindow(): Bench {
    const bench = new Bench({ limits: { inflightMessagesMax: WINDOW, appendEntriesMax: 1 } })
      .becomeLeader()
      .acknowledgeAll();
    for (let at = 0; at < WINDOW; at += 1) bench.propose("x");
    bench.take();
    return bench;
  }

  test("lets nothing more out, however much is proposed", () => {
    const bench = fullWindow();
    for (let at = 0; at < 10; at += 1) bench.propose("x");
    expect(appendsTo(bench, M2)).toEqual([]);
  });

  test("moves on by one message with each answer, and not with an old one", () => {
    const bench = fullWindow();
    for (let at = 0; at < 10; at += 1) bench.propose("x");
    bench.take();
    for (let index = 2; index <= 6; index += 1) {
      bench.acknowledge(M2, index);
      expect(appendsTo(bench, M2).filter(({ entries }) => entries.length > 0)).toHaveLength(1);
      for (let old = 0; old <= index; old += 1) bench.acknowledge(M2, old);
      expect(appendsTo(bench, M2).filter(({ entries }) => entries.length > 0)).toEqual([]);
    }
  });

  test("lets one empty question out per answered heartbeat, and none of the entries", () => {
    const bench = fullWindow();
    bench.propose("x");
    bench.take();
    for (let round = 1; round <= 5; round += 1) {
      bench.answer(M2, round);
      expect(appendsTo(bench, M2)).toMatchObject([{ entries: [], previous: { index: WINDOW + 1 } }]);
      bench.settle();
      expect(appendsTo(bench, M2)).toEqual([]);
    }
  });

  test("to one follower does not hold up another", () => {
    const bench = fullWindow();
    for (let index = 2; index <= WINDOW + 1; index += 1) bench.acknowledge(M3, index).take();
    bench.propose("x");
    expect(bench.takeOf("append").map(({ to }) => to)).toEqual([M3]);
  });

  test("has the messages that the limits of bytes and of entries make, and is full by bytes", () => {
    const limits = { inflightMessagesMax: 8, inflightBytesMax: 2_500, appendBytesMax: 2_048 };
    const bench = new Bench({ limits }).becomeLeader();
    bench.take();
    const kilobyte = "x".repeat(1_000);
    bench.propose(...Array.from({ length: 10 }, () => kilobyte));
    bench.answer(M2, 1);
    const sent = (): number[] => appendsTo(bench, M2).flatMap(({ entries }) => entries.length || []);
    // Asked once, with the new leader's empty entry and two more.
    expect(sent()).toEqual([3]);
    bench.acknowledge(M2, 3);
    expect(sent()).toEqual([2, 2]);
    bench.acknowledge(M2, 5);
    expect(sent()).toEqual([2]);
    bench.acknowledge(M2, 9);
    expect(sent()).toEqual([2]);
    bench.acknowledge(M2, 11);
    expect(sent()).toEqual([]);
  });

  test("counts entries as well: many small ones travel in several messages", () => {
    const bench = new Bench({ limits: { appendEntriesMax: 3 } }).becomeLeader().acknowledgeAll();
    bench.take();
    bench.propose(..."abcdefgh");
    expect(appendsTo(bench, M2).map(({ entries }) => entries.length)).toEqual([3, 3, 2]);
  });
});

describe("what a leader takes on", () => {
  const LIMITS = { uncommittedBytesMax: 8 };

  test("is bounded while it is cut off", () => {
    const bench = new Bench({ limits: LIMITS }).becomeLeader().acknowledgeAll();
    const answers = Array.from({ length: 100 }, () => bench.propose("1234").ok);
    expect(answers.filter((ok) => ok)).toHaveLength(2);
    expect(bench.status.lastIndex).toBe(3 as LogIndex);
    bench.acknowledgeAll();
    expect(bench.propose("1234")).toMatchObject({ ok: true });
  });

  test("never holds up what has no payload: its own entries, and empty commands", () => {
    const bench = new Bench({ limits: LIMITS, learners: [M4, M5] }).becomeLeader().acknowledgeAll();
    bench.propose("12345678");
    expect(bench.propose("")).toMatchObject({ ok: true });
    expect(bench.changeConfig([M1, M4, M5])).toMatchObject({ ok: true });
    expect(bench.propose("1")).toMatchObject({ ok: false, reason: "overloaded" });
    for (const from of [M2, M3, M4, M5]) bench.acknowledge(from, 4);
    // The joint configuration was left, and what was committed makes room again.
    expect(bench.status.config.voters).toEqual([M1, M4, M5]);
    expect(bench.status.config.outgoing).toEqual([]);
    expect(bench.propose("12345678")).toMatchObject({ ok: true });
  });

  test("begins at nothing with each term: what earlier leaders left is not counted, and not given back", () => {
    const entries = [entry(1, 1, "0123456789"), entry(2, 1, "0123456789")];
    const bench = new Bench({ limits: LIMITS, entries }).becomeLeader();
    expect(bench.propose("12345678")).toMatchObject({ ok: true });
    expect(bench.propose("1")).toMatchObject({ ok: false, reason: "overloaded" });
    // Only the old ones and the empty one are committed.
    bench.acknowledge(M2, 3);
    expect(bench.propose("1")).toMatchObject({ ok: false, reason: "overloaded" });
    bench.acknowledge(M2, 4);
    expect(bench.propose("1")).toMatchObject({ ok: true });
  });
});
