import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type { EngineLimits } from "../../../src/raft/engine/limits.ts";
import type { Entry, Message } from "../../../src/raft/engine/message.ts";
import { bootstrapEntries, type NodeStatus, RaftNode } from "../../../src/raft/node.ts";
import type { Applied, LogStore } from "../../../src/raft/ports.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import { config, entry, id, logOf, M1, M2, M3, TIMING } from "../../support/raft-bench.ts";

const FROM_M2 = { from: M2, to: M1, term: 2 as Term };
const BOOT = new TextEncoder().encode("boot");

interface Setup {
  readonly node: RaftNode;
  /** What happened, in order. */
  readonly story: string[];
  readonly applied: Applied[];
  readonly statuses: NodeStatus[];
}

interface SetupOptions {
  readonly onSend?: (message: Message) => void;
  readonly limits?: Partial<EngineLimits>;
}

function setUp(disk: LogStore, { onSend, limits = {} }: SetupOptions = {}): Setup {
  const story: string[] = [];
  const applied: Applied[] = [];
  const statuses: NodeStatus[] = [];
  const node = new RaftNode({
    id: M1,
    limits,
    store: {
      load: () => disk.load(),
      read: (...range) => disk.read(...range),
      termAt: (index) => disk.termAt(index),
      commit: (batch) => {
        const snapshot = batch.snapshot === null ? "" : `snapshot ${batch.snapshot.meta.index} `;
        story.push(`commit ${snapshot}${batch.entries.length}+${batch.committed.length}`);
        return disk.commit(batch);
      },
      compact: (upTo) => {
        story.push(`compact ${upTo}`);
        return disk.compact(upTo);
      },
    },
    transport: {
      send: (message) => {
        story.push(`send ${message.type}`);
        onSend?.(message);
      },
    },
    random: { integer: (min) => min },
    timing: TIMING,
    onApplied: (items) => {
      story.push(`applied ${items.map(({ index }) => index)}`);
      applied.push(...items);
    },
    onReads: (items) => story.push(`reads ${items.map(({ id, index }) => `${id}@${index}`)}`),
    onSnapshotNeeded: (to) => story.push(`snapshot needed ${to}`),
    onStatus: (status) => statuses.push(status),
  });
  return { node, story, applied, statuses };
}

describe("a new group of one", () => {
  test("is ready after campaign() and one process(), with its first command applied", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node, applied, statuses } = setUp(store);
    node.campaign();
    node.process();
    expect(node.status()).toMatchObject({
      role: "leader",
      term: 2,
      isReady: true,
      commitIndex: 3,
      leaderId: M1,
    });
    expect(node.status().config.voters).toEqual([M1]);
    expect(applied).toEqual([{ index: 2 as LogIndex, term: 1 as Term, reply: 1 }]);
    expect(statuses.at(-1)).toMatchObject({ isReady: true });
  });

  test("is ready again after a restart, and applies nothing twice", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    for (let life = 1; life <= 3; life += 1) {
      const { node } = setUp(store);
      node.campaign();
      node.process();
      expect(node.status()).toMatchObject({ term: life + 1, isReady: true });
    }
    expect(store.commands).toHaveLength(1);
  });

  test("shares one transaction between the proposals of one turn, and answers each", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node, story, applied } = setUp(store);
    node.campaign();
    node.process();
    story.length = 0;
    const first = node.propose([BOOT]);
    const second = node.propose([BOOT, BOOT]);
    node.process();
    expect(story).toEqual(["commit 3+0", "commit 0+3", "applied 4,5,6"]);
    expect(
      [first, second].flatMap((answer) => (answer.ok ? answer.ids.map(({ index }) => index) : [])),
    ).toEqual(applied.slice(1).map(({ index }) => index));
  });
});

describe("the driver", () => {
  test("a leader speaks before its disk has answered, and beats without the disk", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node, story } = setUp(store);
    node.campaign();
    node.process();
    node.changeConfig({ voters: [M1], learners: [M2] });
    story.length = 0;
    node.process();
    expect(story).toEqual(["send append", "commit 1+0", "commit 0+1"]);
    story.length = 0;
    for (let tick = 0; tick < TIMING.heartbeatTicks; tick += 1) node.tick();
    node.process();
    expect(story).toEqual(["send heartbeat"]);
  });

  test("a vote is on the disk before it is sent", () => {
    const store = new MemoryLogStore();
    const { node, story } = setUp(store, { onSend: () => expect(store.hard.vote).toBe(M2) });
    const last = { index: 5 as LogIndex, term: 1 as Term };
    node.receive({ type: "vote", from: M2, to: M1, term: 2 as Term, last, isTransfer: true });
    node.process();
    expect(story).toEqual(["commit 0+0", "send vote-response"]);
  });

  test("what a callback proposes is carried out in the same process()", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node, story } = setUp(store);
    let isDone = false;
    const eager = new RaftNode({
      id: M1,
      store: new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) }),
      transport: { send: () => {} },
      random: { integer: (min) => min },
      timing: TIMING,
      onApplied: () => {
        if (isDone) return;
        isDone = eager.propose([BOOT]).ok;
        eager.process();
      },
      onReads: () => {},
      onSnapshotNeeded: () => {},
      onStatus: () => {},
    });
    eager.campaign();
    eager.process();
    expect(eager.status()).toMatchObject({ appliedIndex: 4, lastIndex: 4 });
    expect(story).toEqual([]);
    expect(node.status().role).toBe("follower");
  });

  test("reports a status only when something changed", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node, statuses } = setUp(store);
    node.campaign();
    node.process();
    const count = statuses.length;
    node.tick();
    node.process();
    node.process();
    expect(statuses.length).toBe(count);
  });

  test("after an error of the disk nothing goes on", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    store.commit = () => {
      throw new Error("disk I/O error");
    };
    const { node, story } = setUp(store);
    node.campaign();
    expect(() => node.process()).toThrow("disk I/O error");
    expect(() => node.process()).toThrow("a member whose disk failed does not go on");
    expect(story).toEqual(["commit 0+0"]);
  });

  test("a proposal that is lost with the leadership is told by its index: another term was applied there", () => {
    const store = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node, applied, statuses } = setUp(store);
    node.campaign();
    node.process();
    node.changeConfig({ voters: [M1], learners: [M2] });
    node.process();
    node.receive({ ...FROM_M2, type: "append-response", index: 4 as LogIndex, rejection: null });
    node.changeConfig({ voters: [M1, M2], learners: [] });
    const answer = node.propose([BOOT]);
    node.process();
    expect(answer).toMatchObject({ ok: true, ids: [{ index: 6, term: 2 }] });
    node.receive({
      type: "append",
      from: M2,
      to: M1,
      term: 3 as Term,
      previous: { index: 5 as LogIndex, term: 2 as Term },
      entries: [{ index: 6 as LogIndex, term: 3 as Term, kind: "command", data: BOOT }],
      commit: 6 as LogIndex,
    });
    node.process();
    expect(applied.at(-1)).toMatchObject({ index: 6, term: 3 });
    expect(statuses.at(-1)).toMatchObject({ role: "follower", appliedIndex: 6, leaderId: M2 });
  });
});

/** The only voter, leading, with its first command applied. */
function leaderOfOne(options: SetupOptions = {}): Setup & { readonly disk: MemoryLogStore } {
  const disk = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
  const setup = setUp(disk, options);
  setup.node.campaign();
  setup.node.process();
  setup.story.length = 0;
  return { ...setup, disk };
}

/** What a leader of term 2 says to this follower. */
function appendOf(index: number, term: number, ...entries: readonly Entry[]): Message {
  return { ...FROM_M2, type: "append", previous: id(index, term), entries, commit: 0 as LogIndex };
}

describe("what must survive a power failure", () => {
  const vote = { ...FROM_M2, type: "vote", last: id(9, 9), isTransfer: true } as const;
  const beat = { ...FROM_M2, type: "heartbeat", round: 1 } as const;

  test.each([
    { name: "a vote", messages: [vote], mustSync: [true] },
    { name: "a later term", messages: [{ ...beat, commit: 0 as LogIndex }], mustSync: [true] },
    { name: "an entry", term: 2, messages: [appendOf(2, 1, entry(3, 2))], mustSync: [true] },
    {
      name: "not how far was committed",
      term: 2,
      messages: [{ ...beat, commit: 2 as LogIndex }],
      mustSync: [false],
    },
    {
      name: "nothing, where nothing changed",
      term: 2,
      messages: [{ ...beat, commit: 0 as LogIndex }],
      mustSync: [],
    },
  ])("$name", ({ term = 1, messages, mustSync }) => {
    const hard = { term: term as Term, vote: null, commit: 0 as LogIndex };
    const disk = new MemoryLogStore({ entries: logOf(1, 1), hard });
    const { node } = setUp(disk);
    for (const message of messages) node.receive(message);
    node.process();
    expect(disk.batches.map((batch) => batch.mustSync)).toEqual([...mustSync]);
  });
});

describe("a follower's driver", () => {
  test("answers for an entry when the disk has it, and applies in the same transaction", () => {
    const disk = new MemoryLogStore();
    const { node, story } = setUp(disk, { onSend: () => expect(disk.last.index).toBe(2 as LogIndex) });
    node.receive(appendOf(0, 0, entry(1, 2), entry(2, 2)));
    node.receive({ ...FROM_M2, type: "heartbeat", commit: 1 as LogIndex, round: 1 });
    node.process();
    expect(story).toEqual(["commit 2+1", "send append-response", "send heartbeat-response", "applied 1"]);
  });

  test("makes one transaction of everything that came in one turn", () => {
    const { node, story } = setUp(new MemoryLogStore());
    node.receive(appendOf(0, 0, entry(1, 2)));
    node.receive(appendOf(1, 2, entry(2, 2)));
    node.receive(appendOf(2, 2, entry(3, 2)));
    node.process();
    expect(story).toEqual(["commit 3+0", ...Array.from({ length: 3 }, () => "send append-response")]);
  });

  test("answers for nothing that the disk refused", () => {
    const disk = new MemoryLogStore({ entries: logOf(1) });
    disk.commit = () => {
      throw new Error("database or disk is full");
    };
    for (const message of [
      appendOf(1, 1, entry(2, 2)),
      { ...FROM_M2, type: "vote", last: id(9, 9), isTransfer: true },
    ]) {
      const { node, story, statuses } = setUp(disk);
      node.receive(message as Message);
      expect(() => node.process()).toThrow("database or disk is full");
      expect(() => node.process()).toThrow("a member whose disk failed does not go on");
      expect(story.filter((line) => line.startsWith("send"))).toEqual([]);
      expect(statuses).toEqual([]);
    }
  });

  test("drops what is not for it, or from itself", () => {
    const disk = new MemoryLogStore({ entries: logOf(1) });
    const { node, story } = setUp(disk);
    node.receive({ ...appendOf(1, 1, entry(2, 2)), to: M3 });
    node.receive({ ...appendOf(1, 1, entry(2, 2)), from: M1 });
    node.process();
    expect(story).toEqual([]);
    expect(node.status()).toMatchObject({ term: 1, lastIndex: 1 });
  });

  test("puts a snapshot on the disk before it says so, with its contents untouched", () => {
    const disk = new MemoryLogStore({ entries: logOf(1) });
    const { node, story } = setUp(disk);
    const meta = { ...id(7, 2), config: { index: 4 as LogIndex, config: config([M1, M2]) } };
    const content = [entry(7, 2)];
    node.receiveSnapshot({ ...FROM_M2, type: "snapshot", meta }, content);
    node.process();
    expect(story).toEqual(["commit snapshot 7 0+0", "send append-response"]);
    expect(disk.batches[0]?.snapshot?.content).toBe(content);
    expect(node.status()).toMatchObject({ appliedIndex: 7, floorIndex: 7, config: config([M1, M2]) });
  });

  test("leaves a snapshot that brings no news to whoever staged it", () => {
    const disk = new MemoryLogStore({ entries: logOf(1, 1) });
    const { node, story } = setUp(disk);
    const meta = { ...id(2, 1), config: { index: 0 as LogIndex, config: config([M1, M2]) } };
    node.receiveSnapshot({ ...FROM_M2, type: "snapshot", meta }, []);
    node.process();
    expect(story).toEqual(["commit 0+2", "send append-response", "applied 1,2"]);
  });
});

describe("a leader's driver", () => {
  test("answers a read with what was committed when it began, before what came after it is applied", () => {
    const { node, story } = leaderOfOne();
    node.propose([BOOT]);
    expect(node.readIndex(7)).toEqual({ ok: true });
    node.process();
    expect(story).toEqual(["commit 1+0", "reads 7@3", "commit 0+1", "applied 4"]);
  });

  test("says which follower needs a snapshot, and goes on when it hears that it has one", () => {
    const { node, story, disk } = leaderOfOne();
    node.changeConfig({ voters: [M1], learners: [M2] });
    node.process();
    node.compact(0);
    story.length = 0;
    node.receive({ ...FROM_M2, type: "append-response", index: 4 as LogIndex, rejection: id(0, 0) });
    node.process();
    expect(story).toEqual(["snapshot needed m2"]);
    node.reportSnapshot(M2);
    node.receive({ ...FROM_M2, type: "append-response", index: disk.last.index, rejection: null });
    node.process();
    expect(node.status().followers).toMatchObject([{ id: M2, state: "replicate", isCaughtUp: true }]);
  });

  test("that learns of a broken connection asks the follower anew", () => {
    const { node, story } = leaderOfOne();
    node.changeConfig({ voters: [M1], learners: [M2] });
    node.process();
    node.receive({ ...FROM_M2, type: "append-response", index: 4 as LogIndex, rejection: null });
    node.process();
    story.length = 0;
    node.reportUnreachable(M2);
    node.process();
    expect(story).toEqual(["send append"]);
    expect(node.status().followers).toMatchObject([{ id: M2, state: "probe" }]);
  });

  test("hands over to the voter that is named, and says while it does", () => {
    const { node, statuses } = leaderOfOne();
    expect(node.transferLeadership(M2)).toMatchObject({ ok: false, reason: "not-a-voter" });
    expect(node.transferLeadership(null)).toMatchObject({ ok: false, reason: "no-target" });
    node.process();
    expect(statuses.at(-1)).toMatchObject({ isTransferring: false });
  });

  test("a leader that stood still for long has lost its office at the first tick", () => {
    const { node, disk } = leaderOfOne();
    node.changeConfig({ voters: [M1], learners: [M2] });
    node.process();
    node.receive({ ...FROM_M2, type: "append-response", index: 4 as LogIndex, rejection: null });
    node.changeConfig({ voters: [M1, M2], learners: [] });
    node.process();
    expect(disk.last.index).toBe(5 as LogIndex);
    node.tick(TIMING.electionTicksMin);
    node.process();
    expect(node.status()).toMatchObject({ role: "follower", term: 2, leaderId: null });
  });
});

describe("compaction", () => {
  test("happens by itself, now and then, and leaves the wanted entries", () => {
    const { node, story, disk } = leaderOfOne({ limits: { trailingEntries: 4, compactEveryEntries: 3 } });
    for (let at = 0; at < 20; at += 1) {
      node.propose([BOOT]);
      node.process();
      const { appliedIndex, floorIndex } = node.status();
      expect(appliedIndex - floorIndex).toBeLessThan(7);
      expect(floorIndex).toBe(disk.floor.index);
    }
    const compactions = story.filter((line) => line.startsWith("compact"));
    expect(compactions).toEqual([3, 6, 9, 12, 15, 18].map((index) => `compact ${index}`));
  });

  test("on demand keeps so many applied entries and never forgets one that is not applied", () => {
    const { node, story } = leaderOfOne();
    node.propose([BOOT, BOOT, BOOT, BOOT]);
    node.process();
    story.length = 0;
    node.propose([BOOT]);
    node.compact(100);
    expect(story).toEqual([]);
    node.compact(2);
    node.compact(3);
    expect(story).toEqual(["compact 5"]);
    expect(node.status()).toMatchObject({ floorIndex: 5, appliedIndex: 7, lastIndex: 8 });
    node.compact(0);
    expect(node.status().floorIndex).toBe(7 as LogIndex);
    node.process();
    expect(node.status()).toMatchObject({ appliedIndex: 8, lastIndex: 8 });
  });

  test("waits for no follower", () => {
    const { node, story } = leaderOfOne({ limits: { trailingEntries: 2, compactEveryEntries: 1 } });
    node.changeConfig({ voters: [M1], learners: [M2] });
    for (let at = 0; at < 10; at += 1) {
      node.propose([BOOT]);
      node.process();
    }
    expect(story).toContain("compact 12");
    expect(node.status().followers).toMatchObject([{ id: M2, matchIndex: 0 }]);
  });

  test("does not happen in the middle of a turn", () => {
    const disk = new MemoryLogStore({ entries: bootstrapEntries(M1, BOOT) });
    const { node } = setUp(disk);
    const commit = disk.commit.bind(disk);
    disk.commit = (batch) => {
      node.compact(0);
      return commit(batch);
    };
    node.campaign();
    expect(() => node.process()).toThrow("the log is compacted between two turns");
  });

  test("whose disk fails ends the member", () => {
    const { node, disk } = leaderOfOne({ limits: { trailingEntries: 0, compactEveryEntries: 1 } });
    disk.compact = () => {
      throw new Error("disk I/O error");
    };
    node.propose([BOOT]);
    expect(() => node.process()).toThrow("disk I/O error");
    expect(() => node.process()).toThrow("a member whose disk failed does not go on");
  });
});
