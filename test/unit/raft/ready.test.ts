import { describe, expect, test } from "bun:test";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type { Engine, Ready } from "../../../src/raft/engine/engine.ts";
import { Bench, id, M1, M2, M3 } from "../../support/raft-bench.ts";

const LATE = "what was handed out is durable before anything else happens";

function leaderWithWork(): { readonly bench: Bench; readonly ready: Ready | null } {
  const bench = new Bench().becomeLeader().acknowledgeAll();
  bench.engine.propose([new Uint8Array(1)]);
  return { bench, ready: bench.engine.ready() };
}

describe("what the engine hands out", () => {
  test("is handed out once: afterwards there is nothing to do", () => {
    const { bench, ready } = leaderWithWork();
    expect(ready).toMatchObject({ entries: [{ index: 2 }], committed: [] });
    bench.persist(ready);
    expect(bench.engine.ready()).toBeNull();
    bench.acknowledge(M2, 2);
    expect(bench.store.commands.map(({ index }) => Number(index))).toEqual([2]);
    expect(bench.engine.ready()).toBeNull();
  });

  const calls: readonly { readonly name: string; readonly call: (engine: Engine) => unknown }[] = [
    { name: "tick", call: (engine) => engine.tick() },
    {
      name: "step",
      call: (engine) => engine.step({ type: "timeout-now", from: M2, to: M1, term: 1 as Term }),
    },
    { name: "propose", call: (engine) => engine.propose([]) },
    { name: "changeConfig", call: (engine) => engine.changeConfig({ voters: [M1], learners: [] }) },
    { name: "readIndex", call: (engine) => engine.readIndex(1) },
    { name: "transferLeadership", call: (engine) => engine.transferLeadership(null) },
    { name: "campaign", call: (engine) => engine.campaign() },
    { name: "reportSnapshot", call: (engine) => engine.reportSnapshot(M2) },
    { name: "reportUnreachable", call: (engine) => engine.reportUnreachable(M2) },
    { name: "compactedTo", call: (engine) => engine.compactedTo(id(1, 1)) },
    { name: "ready", call: (engine) => engine.ready() },
  ];

  test.each(calls)("is durable before anything else happens: $name", ({ call }) => {
    const { bench, ready } = leaderWithWork();
    expect(() => call(bench.engine)).toThrow(LATE);
    bench.persist(ready);
    expect(() => call(bench.engine)).not.toThrow();
  });

  test("comes back once, and nothing else does", () => {
    const { bench, ready } = leaderWithWork();
    bench.persist(ready);
    expect(() => bench.engine.persisted()).toThrow("only what was handed out comes back");
  });

  test("says of a leader's appends that they need not wait, and of everything else that it must", () => {
    const leader = leaderWithWork().ready;
    expect(leader?.urgent.map(({ type, to }) => `${type} ${to}`)).toEqual(["append m2", "append m3"]);
    expect(leader?.messages).toEqual([]);
    const follower = new Bench().step(M2, 1, { type: "vote", last: id(0, 0), isTransfer: true });
    follower.step(M2, 1, { type: "append", previous: id(0, 0), entries: [], commit: 0 as LogIndex });
    const answers = follower.engine.ready();
    expect(answers?.urgent).toEqual([]);
    expect(answers?.messages.map(({ type }) => type)).toEqual(["vote-response", "append-response"]);
    const candidate = new Bench().losePatience();
    candidate.take();
    candidate.step(M2, 1, { type: "pre-vote-response", isGranted: true });
    const votes = candidate.engine.ready();
    expect(votes?.urgent).toEqual([]);
    expect(votes?.messages.map(({ type, to }) => `${type} ${to}`)).toEqual(["vote m2", "vote m3"]);
  });

  test("is nothing where nothing happened", () => {
    const bench = new Bench();
    expect(bench.engine.ready()).toBeNull();
    bench.engine.tick();
    expect(bench.engine.ready()).toBeNull();
  });

  test("is what a leader knows of the others as plain data, which does not change afterwards", () => {
    const bench = new Bench({ learners: [M3], voters: [M1, M2] }).becomeLeader().acknowledgeAll();
    const before = bench.status;
    const copy = structuredClone(before);
    expect(before.followers).toEqual([
      { id: M2, matchIndex: 1 as LogIndex, isActive: true, state: "replicate", isCaughtUp: true },
      { id: M3, matchIndex: 1 as LogIndex, isActive: true, state: "replicate", isCaughtUp: true },
    ]);
    bench.propose("x");
    bench.acknowledgeAll();
    expect(before).toEqual(copy);
    expect(bench.status).toMatchObject({ lastIndex: 2, followers: [{ matchIndex: 2 }, { matchIndex: 2 }] });
  });
});
