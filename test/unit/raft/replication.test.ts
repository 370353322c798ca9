import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import {
  Bench,
  entry,
  id,
  logOf,
  M1,
  M2,
  M3,
  type MessageOf,
  TIMING,
  termsOf,
} from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

function appendsTo(bench: Bench, to: MemberId): readonly MessageOf<"append">[] {
  return bench.takeOf("append").filter((message) => message.to === to);
}

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

  test("only a leader takes them; others say who leads", () => {
    const bench = new Bench();
    expect(bench.propose("a")).toEqual({ ok: false, reason: "not-leader", leaderId: null });
    bench.receive(M3, 1, { type: "heartbeat", commit: 0 as LogIndex, round: 1 });
    expect(bench.propose("a")).toEqual({ ok: false, reason: "not-leader", leaderId: M3 });
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

describe("the leader", () => {
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

  test("alone beats: a follower, a pre-candidate and a candidate do not", () => {
    for (const bench of [new Bench(), new Bench().losePatience(), new Bench().becomeCandidate()]) {
      bench.take();
      expect(bench.tick(TIMING.heartbeatTicks).takeOf("heartbeat")).toEqual([]);
    }
  });

  test("asks nothing of a follower that answers and has everything", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.take();
    expect(bench.answer(M2, 1).take()).toEqual([]);
  });

  test("beats once per interval, and a round for a read is a beat as well", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    const rounds = (): number[] => [...new Set(bench.takeOf("heartbeat").map(({ round }) => round))];
    bench.take();
    expect([1, 2, 3, 4].map(() => bench.tick() && rounds())).toEqual([[], [1], [], [2]]);
    bench.tick().engine.readIndex(1);
    expect(bench.settle() && rounds()).toEqual([3]);
    expect([1, 2].map(() => bench.tick() && rounds())).toEqual([[], [4]]);
  });
});

describe("how far a follower commits", () => {
  test.each([
    { previous: [2, 1], entries: [], commit: 1, wanted: 1 },
    { previous: [2, 1], entries: [], commit: 2, wanted: 2 },
    { previous: [2, 1], entries: [], commit: 3, wanted: 2 },
    { previous: [1, 1], entries: [2], commit: 4, wanted: 2 },
    { previous: [2, 1], entries: [3], commit: 3, wanted: 3 },
    { previous: [2, 1], entries: [3, 4], commit: 3, wanted: 3 },
    { previous: [2, 1], entries: [3, 4], commit: 9, wanted: 4 },
    { previous: [3, 2], entries: [4], commit: 4, wanted: 0 },
  ] as const)(
    "holds 1/1 2/1, hears $entries after $previous and $commit: $wanted",
    ({ previous, entries, commit, wanted }) => {
      const bench = new Bench({ entries: logOf(1, 1), term: 2 });
      const sent = entries.map((index) => entry(index, index <= 2 ? 1 : 2));
      bench.append(M2, 2, previous, sent, commit);
      expect(bench.status.commitIndex).toBe(wanted as LogIndex);
    },
  );

  test("a heartbeat commits what it says, and an old one takes nothing back", () => {
    const bench = new Bench({ entries: logOf(1, 1, 1) });
    expect(bench.heartbeat(M2, 1, 2).status.commitIndex).toBe(2 as LogIndex);
    expect(bench.heartbeat(M2, 1, 1).status.commitIndex).toBe(2 as LogIndex);
    expect(bench.append(M2, 1, [3, 1], [], 1).status.commitIndex).toBe(2 as LogIndex);
  });

  test("a heartbeat brings a commit that was lost on its way", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M1).propose("x");
    group.exchange().isolate(M3);
    group.member(M1).propose("y");
    group.exchange().heal();
    group.member(M1).engine.reportUnreachable(M3);
    group.beat(M1).beat(M1);
    expect(group.member(M3).status.commitIndex).toBe(3 as LogIndex);
  });
});

describe("logs that went apart", () => {
  const times = (count: number, term: number): number[] => Array.from({ length: count }, () => term);

  test.each([
    { name: "the follower is only behind", leader: [1, 1, 2, 2, 3, 3], follower: [1, 1, 2], refusals: 1 },
    {
      name: "the follower has one term too much",
      leader: [1, 2, 2, 5],
      follower: [1, 2, 2, 3, 3, 3],
      refusals: 1,
    },
    {
      name: "both have terms that the other lacks",
      leader: [1, 3, 3, 3, 5],
      follower: [1, 2, 2, 4, 4, 4],
      refusals: 2,
    },
    {
      name: "the leader has more of a term",
      leader: [1, 2, 2, 2, 2, 4],
      follower: [1, 2, 3, 3, 3, 3],
      refusals: 2,
    },
    { name: "nothing in common", leader: [2, 2, 2], follower: [1, 1, 1, 1], refusals: 1 },
    {
      name: "hundreds of entries of one term",
      leader: [...times(9, 1), ...times(300, 4)],
      follower: [...times(9, 1), ...times(400, 3)],
      refusals: 1,
    },
    {
      name: "hundreds of entries of many terms",
      leader: [1, ...times(300, 9)],
      follower: [1, ...times(50, 2), ...times(50, 3), ...times(50, 4)],
      refusals: 1,
    },
  ])("meet again after at most $refusals refusals: $name", ({ leader, follower, refusals }) => {
    const term = Math.max(...leader, ...follower);
    const voters = [M1, M2];
    const first = new Bench({ voters, learners: [M3], entries: logOf(...leader), term }).becomeLeader();
    const second = new Bench({ id: M2, voters, learners: [M3], entries: logOf(...follower), term });
    let count = 0;
    for (let messages = [...first.take()]; messages.length > 0; messages = [...first.take()]) {
      for (const message of messages)
        if (message.to === M2 && message.type === "append") second.engine.step(message);
      for (const answer of second.settle().takeOf("append-response")) {
        if (answer.rejection !== null) count += 1;
        first.engine.step(answer);
      }
      first.settle();
    }
    expect(termsOf(second.store.entries)).toEqual([...leader, term + 1]);
    expect(count).toBeLessThanOrEqual(refusals);
  });

  test("a follower that has compacted what the leader asks about answers with what is committed", () => {
    const follower = new Bench({ id: M2, entries: logOf(1, 1, 2, 2), commit: 4 }).settle();
    follower.store.compact(3 as LogIndex);
    const again = follower.restart();
    again.append(M1, 3, [1, 1], [entry(2, 1)]);
    expect(again.take()).toMatchObject([{ type: "append-response", index: 4, rejection: null }]);
    again.append(M1, 3, [5, 3], []);
    expect(again.take()).toMatchObject([{ type: "append-response", index: 5, rejection: id(4, 2) }]);
  });
});

describe("messages out of order", () => {
  test("an append that overtook another is refused, comes again, and both are there", () => {
    const leader = new Bench({ voters: [M1, M2] }).becomeLeader().acknowledgeAll();
    const follower = new Bench({ id: M2, voters: [M1, M2] }).append(M1, 1, [0, 0], leader.store.entries);
    follower.take();
    leader.take();
    leader.propose("a");
    leader.propose("b");
    const [first, second] = appendsTo(leader, M2);
    const [refusal] = follower.receive(M1, 1, second as MessageOf<"append">).take();
    const [acceptance] = follower.receive(M1, 1, first as MessageOf<"append">).take();
    // The answers are turned round as well.
    for (const answer of [acceptance, refusal]) {
      expect(answer?.type).toBe("append-response");
      leader.receive(M2, 1, answer as MessageOf<"append-response">);
    }
    new RaftGroup(leader, follower).exchange().beat(M1).beat(M1);
    expect(follower.status).toMatchObject({ lastIndex: 3, commitIndex: 3 });
    expect(follower.store.entries).toEqual(leader.store.entries);
  });

  test("an append that is heard twice, or in parts, changes nothing the second time", () => {
    const bench = new Bench();
    const all = [entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")];
    bench.append(M2, 1, [0, 0], all, 1);
    const writes = bench.store.batches.length;
    for (const from of [0, 1, 2]) {
      for (const to of [1, 2, 3]) bench.append(M2, 1, [from, from === 0 ? 0 : 1], all.slice(from, to), 1);
    }
    expect(bench.store.batches.length).toBe(writes);
    expect(bench.store.entries).toEqual(all);
  });

  test("a delayed append of a deposed leader changes nothing, and tells it the term", () => {
    const group = RaftGroup.of(3).elect(M1);
    group.member(M1).propose("never agreed");
    const delayed = group
      .member(M1)
      .takeOf("append")
      .filter(({ to }) => to === M3);
    group.elect(M2).elect(M1);
    const bench = group.member(M3);
    const before = bench.store.entries.slice();
    for (const message of delayed) bench.engine.step(message);
    expect(bench.settle().store.entries).toEqual(before);
    expect(bench.take()).toMatchObject([{ type: "heartbeat-response", term: 3, round: 0 }]);
  });
});

describe("what was agreed under one leader", () => {
  test("is there under the next, and each member applies the same in the same order", () => {
    const group = RaftGroup.of(3);
    for (const [at, leader] of [M1, M2, M3, M2].entries()) {
      group.elect(leader).member(leader).propose(`a${at}`, `b${at}`);
      group.exchange().beat(leader);
    }
    const [first, ...others] = group.all.map(({ store }) => store.commands);
    expect(first?.map(({ data }) => new TextDecoder().decode(data))).toEqual(
      [0, 1, 2, 3].flatMap((at) => [`a${at}`, `b${at}`]),
    );
    for (const other of others) expect(other).toEqual(first ?? []);
  });

  test("is there after any one member was away", () => {
    for (const away of [M1, M2, M3]) {
      const group = RaftGroup.of(3).isolate(away);
      const leader = away === M1 ? M2 : M1;
      group.elect(leader).member(leader).propose("x");
      group.exchange().heal().beat(leader).beat(leader);
      for (const { status } of group.all) expect(status).toMatchObject({ commitIndex: 2, appliedIndex: 2 });
    }
  });

  test("is told at once, also to those that did not answer for it", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    bench.propose("x");
    bench.take();
    bench.acknowledge(M2, 2);
    expect(bench.takeOf("append").map(({ to, commit }) => `${to} ${commit}`)).toEqual(["m2 2", "m3 2"]);
  });
});
