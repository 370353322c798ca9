import { expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { HashReport } from "../../../src/main/compare-hashes.ts";
import { CALM_MS } from "../../../src/main/hand-over.ts";
import { LeaderWatch, type LeaderWatchPorts } from "../../../src/main/leader-watch.ts";
import type { NodeStatus } from "../../../src/raft/node.ts";
import { M1, M2 } from "../store/sample.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const STATUS = {
  isTransferring: false,
  config: { voters: [M1, M2, M3], outgoing: [], learners: [], learnersNext: [] },
  followers: [M2, M3].map((id) => ({ id, isCaughtUp: true })),
} as unknown as NodeStatus;
const WELL = { commitWorstMs: 1, latenessMs: 1, isDiskFull: false, slowCommits: 0, lateSinceMs: null };

function world(ports: Partial<LeaderWatchPorts> = {}) {
  const at = { nowMs: 100_000, own: { ...WELL }, hashes: [] as HashReport[] };
  const told: string[] = [];
  const note = (event: string) => told.push(event);
  const watch = new LeaderWatch({
    selfId: M1,
    log: { error: note, warn: note, info: note, debug: note },
    nowMs: () => at.nowMs,
    heartbeatMs: () => 75,
    own: () => at.own,
    health: () => [M2, M3].map((memberId) => ({ ...WELL, memberId, atMs: at.nowMs })),
    hashes: () => at.hashes,
    hashAt: () => "good",
    handOver: (to) => {
      told.push(`to ${to}`);
      return null;
    },
    accuse: (id, index, hash) => told.push(`accuse ${id} ${index} ${hash}`),
    endSelf: (index) => told.push(`end ${index}`),
    ...ports,
  });
  return { at, told, look: () => watch.look(STATUS, 0), watch };
}

const differs = (memberId: MemberId): HashReport => ({ memberId, index: 5 as LogIndex, hash: "bad" });

test("a slow leader hands over once, waits, and tries again", () => {
  const { at, told, look } = world();
  look();
  expect(told).toEqual([]);
  at.own = { ...WELL, slowCommits: 9, commitWorstMs: 500 };
  at.nowMs += 500;
  look();
  expect(told).toEqual([]);
  at.nowMs += 500;
  look();
  expect(told).toEqual([`to ${M2}`, "raft.handing-over"]);
  for (const endMs = at.nowMs + CALM_MS - 1000; at.nowMs < endMs; ) {
    at.nowMs += 1000;
    look();
  }
  expect(told).toHaveLength(2);
  at.nowMs += 1000;
  look();
  expect(told).toHaveLength(4);
});

test("while leadership is being handed on, nothing is decided about it", () => {
  const { at, told, watch } = world();
  at.own = { ...WELL, slowCommits: 9, commitWorstMs: 500 };
  watch.look({ ...STATUS, isTransferring: true }, 0);
  expect(told).toEqual([]);
});

test("who differs from a majority is told what the majority has", () => {
  const { at, told, look } = world();
  at.hashes = [differs(M2), { ...differs(M3), hash: "good" }];
  look();
  expect(told).toEqual(["state.differs", `accuse ${M2} 5 good`]);
});

test("a leader that differs from a majority ends itself; without a majority it is said once, and nobody ends", () => {
  const alone = world();
  alone.at.hashes = [differs(M2), differs(M3)];
  alone.look();
  expect(alone.told).toEqual(["end 5"]);
  const { at, told, look } = world();
  at.hashes = [differs(M2)];
  look();
  at.nowMs += 1000;
  look();
  expect(told).toEqual(["state.undecided"]);
});
