import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { Message } from "../../../src/raft/engine/message.ts";
import { bootstrapEntries, type NodeStatus, RaftNode } from "../../../src/raft/node.ts";
import type { Applied, LogStore } from "../../../src/raft/ports.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import { M1, M2, TIMING } from "../../support/raft-bench.ts";

const FROM_M2 = { from: M2, to: M1, term: 2 as Term };
const BOOT = new TextEncoder().encode("boot");

interface Setup {
  readonly node: RaftNode;
  /** What happened, in order. */
  readonly story: string[];
  readonly applied: Applied[];
  readonly statuses: NodeStatus[];
}

function setUp(disk: LogStore, id: MemberId = M1, onSend: (message: Message) => void = () => {}): Setup {
  const story: string[] = [];
  const applied: Applied[] = [];
  const statuses: NodeStatus[] = [];
  const node = new RaftNode({
    id,
    store: {
      load: () => disk.load(),
      read: (...range) => disk.read(...range),
      termAt: (index) => disk.termAt(index),
      commit: (batch) => {
        story.push(`commit ${batch.entries.length}+${batch.committed.length}`);
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
        onSend(message);
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
    const { node, story } = setUp(store, M1, () => expect(store.hard.vote).toBe(M2));
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
