import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { DEFAULT_LIMITS } from "../../../src/raft/engine/limits.ts";
import { Progress } from "../../../src/raft/engine/progress.ts";
import { Bench, entry, id, logOf, M2, M3 } from "../../support/raft-bench.ts";

const LIMITS = { ...DEFAULT_LIMITS, inflightMessagesMax: 4, inflightBytesMax: 100 };

function at(index: number): LogIndex {
  return index as LogIndex;
}

/** Follows the stream: holds everything up to `match`, and was sent one entry per message up to before `next`. */
function replicating(match: number, next: number): Progress {
  const progress = new Progress(at(next));
  progress.accepted(at(match), at(0));
  for (let index = progress.nextIndex as number; index < next; index += 1)
    progress.sent([entry(index, 1, "x")]);
  return progress;
}

function probing(match: number, next: number): Progress {
  const progress = new Progress(at(next));
  progress.matchIndex = at(match);
  return progress;
}

function waitingForSnapshot(match: number): Progress {
  const progress = probing(match, match + 1);
  progress.needSnapshot();
  return progress;
}

describe("whether a follower gets the next append", () => {
  test.each([
    { name: "asked nothing yet", progress: () => probing(0, 3), isPaused: false },
    {
      name: "asked, and silent",
      progress: () => {
        const progress = probing(0, 3);
        progress.sent([]);
        return progress;
      },
      isPaused: true,
    },
    { name: "following, with room in the window", progress: () => replicating(2, 6), isPaused: false },
    { name: "following, with the window full", progress: () => replicating(2, 7), isPaused: true },
    { name: "waiting for a snapshot", progress: () => waitingForSnapshot(0), isPaused: true },
  ])("$name", ({ progress, isPaused }) => expect(progress().isPaused(LIMITS)).toBe(isPaused));

  test("a sign of life lets one more question out, but none beside a snapshot", () => {
    const probe = probing(0, 3);
    probe.sent([]);
    probe.resume();
    expect(probe.isPaused(LIMITS)).toBe(false);
    const waiting = waitingForSnapshot(0);
    waiting.resume();
    expect(waiting.isPaused(LIMITS)).toBe(true);
  });
});

describe("what an answer says of a follower", () => {
  test.each([
    { index: 2, isNews: false, match: 3, next: 5 },
    { index: 3, isNews: false, match: 3, next: 5 },
    { index: 4, isNews: true, match: 4, next: 5 },
    { index: 6, isNews: true, match: 6, next: 7 },
  ])("it holds everything up to $index: match and next only grow", ({ index, isNews, match, next }) => {
    const progress = replicating(3, 5);
    expect(progress.accepted(at(index), at(0))).toBe(isNews);
    expect(progress).toMatchObject({ matchIndex: match, nextIndex: next, state: "replicate" });
  });

  test.each([
    { name: "probing", progress: () => probing(1, 9) },
    { name: "waiting for a snapshot", progress: () => waitingForSnapshot(1) },
  ])("from $name it follows the stream, right after what it holds", ({ progress }) => {
    const follower = progress();
    follower.accepted(at(5), at(0));
    expect(follower).toMatchObject({ state: "replicate", matchIndex: 5, nextIndex: 6 });
  });

  test.each([
    // Following: what it has acknowledged it cannot refuse; anything else sends it back to the last certain point.
    { state: "replicate", match: 5, next: 10, rejected: 5, hint: 5, isNews: false, wanted: 10 },
    { state: "replicate", match: 5, next: 10, rejected: 4, hint: 4, isNews: false, wanted: 10 },
    { state: "replicate", match: 5, next: 10, rejected: 9, hint: 9, isNews: true, wanted: 6 },
    // Probing: only the answer to the last question counts.
    { state: "probe", match: 0, next: 10, rejected: 5, hint: 5, isNews: false, wanted: 10 },
    { state: "probe", match: 0, next: 10, rejected: 9, hint: 9, isNews: true, wanted: 9 },
    { state: "probe", match: 0, next: 2, rejected: 1, hint: 1, isNews: true, wanted: 1 },
    { state: "probe", match: 0, next: 1, rejected: 0, hint: 0, isNews: true, wanted: 1 },
    { state: "probe", match: 0, next: 10, rejected: 9, hint: 2, isNews: true, wanted: 3 },
    { state: "probe", match: 0, next: 10, rejected: 9, hint: 0, isNews: true, wanted: 1 },
    { state: "probe", match: 4, next: 10, rejected: 9, hint: 1, isNews: true, wanted: 5 },
  ] as const)(
    "a $state with match $match and next $next that lacks $rejected and points at $hint goes on from $wanted",
    ({ state, match, next, rejected, hint, isNews, wanted }) => {
      const progress = state === "replicate" ? replicating(match, next) : probing(match, next);
      expect(progress.rejected(at(rejected), at(hint))).toBe(isNews);
      expect(progress.nextIndex).toBe(at(wanted));
      expect(progress.state).toBe(isNews ? "probe" : state);
    },
  );

  test("while a snapshot is on its way, a refusal is of something older", () => {
    const progress = waitingForSnapshot(0);
    expect(progress.rejected(at(0), at(0))).toBe(false);
    expect(progress.state).toBe("snapshot");
  });
});

describe("how a follower is found anew", () => {
  test("whose connection broke: from the last entry that is certain, one question at a time", () => {
    const progress = replicating(2, 6);
    progress.unreachable();
    expect(progress).toMatchObject({ state: "probe", nextIndex: 3 });
    expect(progress.isPaused(LIMITS)).toBe(false);
    progress.sent([entry(3, 1)]);
    expect(progress.isPaused(LIMITS)).toBe(true);
  });

  test("a broken connection changes nothing for one that is probed or waits for a snapshot", () => {
    for (const [progress, state] of [
      [probing(0, 4), "probe"],
      [waitingForSnapshot(0), "snapshot"],
    ] as const) {
      const before = progress.nextIndex;
      progress.unreachable();
      expect(progress).toMatchObject({ state, nextIndex: before });
    }
  });

  test.each([
    { match: 0, floorNext: 11, next: 11 },
    { match: 20, floorNext: 11, next: 21 },
  ])(
    "whose snapshot was sent or failed: after a sign of life, from what the log still has or beyond",
    ({ match, floorNext, next }) => {
      const progress = waitingForSnapshot(match);
      progress.endSnapshot(at(floorNext));
      expect(progress).toMatchObject({ state: "probe", nextIndex: next });
      expect(progress.isPaused(LIMITS)).toBe(true);
      progress.resume();
      expect(progress.isPaused(LIMITS)).toBe(false);
    },
  );

  test("the end of a snapshot that nobody waits for any more says nothing", () => {
    const progress = replicating(7, 9);
    progress.endSnapshot(at(3));
    expect(progress).toMatchObject({ state: "replicate", matchIndex: 7, nextIndex: 9 });
  });
});

describe("the window of what is under way", () => {
  test("counts messages and bytes; a message without entries is none of them", () => {
    const progress = replicating(0, 1);
    for (let index = 1; index <= 3; index += 1) {
      progress.sent([]);
      progress.sent([entry(index, 1, "x")]);
      expect(progress.isPaused(LIMITS)).toBe(false);
    }
    progress.sent([entry(4, 1, "x")]);
    expect(progress.isPaused(LIMITS)).toBe(true);
    const heavy = replicating(0, 1);
    heavy.sent([entry(1, 1, "x".repeat(99))]);
    expect(heavy.isPaused(LIMITS)).toBe(false);
    heavy.sent([entry(2, 1, "x")]);
    expect(heavy.isPaused(LIMITS)).toBe(true);
  });

  test.each([
    { acknowledged: 0, room: 0 },
    { acknowledged: 1, room: 1 },
    { acknowledged: 3, room: 3 },
    { acknowledged: 4, room: 4 },
  ])("an answer up to $acknowledged of 4 gives $room back", ({ acknowledged, room }) => {
    const progress = replicating(0, 5);
    progress.accepted(at(acknowledged), at(0));
    let count = 0;
    for (; !progress.isPaused(LIMITS); count += 1) progress.sent([entry(5 + count, 1, "x")]);
    expect(count).toBe(room);
  });

  test("an answer for part of a message gives nothing back", () => {
    const progress = replicating(0, 4);
    progress.sent([entry(4, 1), entry(5, 1)]);
    progress.accepted(at(4), at(0));
    for (let index = 6; index < 9; index += 1) progress.sent([entry(index, 1)]);
    expect(progress.isPaused(LIMITS)).toBe(true);
    progress.accepted(at(5), at(0));
    expect(progress.isPaused(LIMITS)).toBe(false);
  });

  test.each([
    { name: "a broken connection", leave: (progress: Progress) => progress.unreachable() },
    { name: "a refusal", leave: (progress: Progress) => progress.rejected(at(4), at(0)) },
    { name: "a snapshot", leave: (progress: Progress) => progress.needSnapshot() },
  ])("is empty again after $name, in messages and in bytes", ({ leave }) => {
    const progress = replicating(0, 1);
    for (let index = 1; index <= 4; index += 1) progress.sent([entry(index, 1, "x".repeat(50))]);
    leave(progress);
    progress.accepted(at(4), at(0));
    for (let index = 5; index <= 7; index += 1) progress.sent([entry(index, 1, "x")]);
    expect(progress.isPaused(LIMITS)).toBe(false);
  });
});

describe("a leader and what it knows", () => {
  // The log of the last term is 1/1 2/1, the leader of term 2 added 3/2: its first question is about 2.
  function leader(): Bench {
    const bench = new Bench({ entries: logOf(1, 1) }).becomeLeader();
    bench.take();
    return bench;
  }

  test.each([
    { name: "holds an old entry", accept: 2, match: 2, commit: 0, sent: [id(2, 1)] },
    { name: "holds the newest", accept: 3, match: 3, commit: 3, sent: [id(3, 2)] },
    { name: "lacks the one before", refuse: 2, hint: 1, match: 0, commit: 0, sent: [id(1, 1)] },
    { name: "lacks everything", refuse: 2, hint: 0, match: 0, commit: 0, sent: [id(0, 0)] },
    { name: "answers another question", refuse: 3, hint: 2, match: 0, commit: 0, sent: [] },
  ])("a follower that $name is sent what follows, and counts with what it holds", (row) => {
    const bench = leader();
    if (row.accept !== undefined) bench.acknowledge(M2, row.accept);
    else bench.refuse(M2, row.refuse, id(row.hint, row.hint === 0 ? 0 : 1));
    expect(bench.status).toMatchObject({
      commitIndex: row.commit,
      followers: [{ matchIndex: row.match }, {}],
    });
    const appends = bench.takeOf("append").filter(({ to }) => to === M2);
    expect(appends.map(({ previous }) => previous)).toEqual([...row.sent]);
  });

  test("a proposal waits for a follower that is still asked, and goes out with its answer", () => {
    const bench = leader();
    bench.acknowledge(M2, 3).take();
    bench.propose("x");
    expect(bench.takeOf("append").map(({ to }) => to)).toEqual([M2]);
    bench.acknowledge(M3, 3);
    expect(bench.takeOf("append").filter(({ to }) => to === M3)).toMatchObject([
      { previous: id(3, 2), entries: [{ index: 4 }] },
    ]);
  });

  test("one that follows is sent each entry once; one that is asked, all of it again with each question", () => {
    const bench = leader();
    bench.acknowledge(M2, 3).take();
    for (const text of ["a", "b"]) {
      bench.propose(text);
      bench.answer(M3, 1);
    }
    const sent = bench
      .takeOf("append")
      .map(({ to, entries }) => `${to} ${entries.map(({ index }) => index)}`);
    expect(sent).toEqual(["m2 4", "m3 3,4", "m2 5", "m3 3,4,5"]);
  });

  test("a broken connection: what was under way is sent again, from the last answer on", () => {
    const bench = leader();
    bench.acknowledge(M2, 3);
    bench.propose("a");
    bench.propose("b");
    bench.take();
    bench.engine.reportUnreachable(M2);
    expect(bench.settle().takeOf("append")).toMatchObject([
      { to: M2, previous: id(3, 2), entries: [{ index: 4 }, { index: 5 }] },
    ]);
    expect(bench.status.followers).toMatchObject([{ id: M2, state: "probe" }, { id: M3 }]);
  });

  test("a follower that has everything is asked once after its connection broke, and follows again", () => {
    const bench = leader();
    bench.acknowledge(M2, 3).take();
    bench.engine.reportUnreachable(M2);
    expect(bench.settle().takeOf("append")).toMatchObject([{ to: M2, previous: id(3, 2), entries: [] }]);
    // Lost. The next sign of life asks again, although there is nothing new.
    bench.answer(M2, 1);
    expect(bench.takeOf("append")).toMatchObject([{ to: M2, previous: id(3, 2), entries: [] }]);
    bench.acknowledge(M2, 3);
    expect(bench.status.followers).toMatchObject([{ id: M2, state: "replicate" }, { id: M3 }]);
    expect(bench.answer(M2, 2).takeOf("append")).toEqual([]);
  });

  test("nothing is known of whoever is no follower", () => {
    const bench = leader();
    const before = bench.status;
    bench.acknowledge("m9" as typeof M2, 3).answer("m9" as typeof M2, 1);
    bench.engine.reportUnreachable("m9" as typeof M2);
    bench.engine.reportSnapshot("m9" as typeof M2);
    expect(bench.settle().status).toEqual(before);
    expect(bench.take()).toEqual([]);
  });

  test("what happens on connections means nothing to whoever does not lead", () => {
    const bench = new Bench();
    bench.engine.reportUnreachable(M2);
    bench.engine.reportSnapshot(M2);
    expect(bench.settle().take()).toEqual([]);
  });
});
