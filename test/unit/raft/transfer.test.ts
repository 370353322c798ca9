import { describe, expect, test } from "bun:test";
import { Bench, M1, M2, M3, M4, TIMING } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

function leader(): Bench {
  const bench = new Bench({ learners: [M4] }).becomeLeader().acknowledgeAll();
  bench.take();
  return bench;
}

function transfer(bench: Bench, to: typeof M1): ReturnType<Bench["engine"]["transferLeadership"]> {
  const answer = bench.engine.transferLeadership(to);
  bench.settle();
  return answer;
}

describe("handing leadership on", () => {
  test("a target that has everything is told at once", () => {
    const bench = leader();
    expect(transfer(bench, M2)).toEqual({ ok: true, to: M2 });
    expect(bench.take()).toMatchObject([{ type: "timeout-now", to: M2 }]);
  });

  test("a target that lags is told when it has caught up, and until then nothing new is taken", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    expect(bench.takeOf("timeout-now")).toEqual([]);
    expect(bench.propose("b")).toMatchObject({ ok: false, reason: "transferring" });
    expect(bench.changeConfig([M1, M2])).toMatchObject({ ok: false, reason: "transferring" });
    bench.acknowledge(M3, 2);
    expect(bench.takeOf("timeout-now")).toEqual([]);
    bench.acknowledge(M2, 2);
    expect(bench.takeOf("timeout-now")).toMatchObject([{ to: M2 }]);
  });

  test("the target wins at once, whoever heard the old leader a moment ago", () => {
    const old = new Bench();
    const target = new Bench({ id: M2 });
    const third = new Bench({ id: M3 });
    const group = new RaftGroup(old, target, third);
    target.tick(TIMING.electionTicksMin);
    third.tick(TIMING.electionTicksMin);
    old.losePatience();
    group.exchange();
    expect(old.status.role).toBe("leader");
    old.propose("a");
    old.tick(TIMING.heartbeatTicks);
    group.exchange();
    transfer(old, M2);
    group.exchange();
    expect(target.status).toMatchObject({ role: "leader", term: 2, isReady: true });
    expect(old.status).toMatchObject({ role: "follower", leaderId: M2 });
    expect(third.status.leaderId).toBe(M2);
  });

  test("it is given up after one election timeout; asking again does not buy time", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    for (let tick = 1; tick < TIMING.electionTicksMin; tick += 1) {
      bench.tick().receive(M3, 1, { type: "heartbeat-response", round: tick });
      transfer(bench, M2);
    }
    expect(bench.status.isTransferring).toBe(true);
    bench.tick();
    expect(bench.status).toMatchObject({ role: "leader", isTransferring: false });
    expect(bench.propose("b")).toMatchObject({ ok: true });
  });

  test("never to a learner, a stranger, or itself", () => {
    expect(transfer(leader(), M4)).toMatchObject({ ok: false, reason: "not-a-voter" });
    expect(transfer(leader(), "m9" as typeof M1)).toMatchObject({ ok: false, reason: "not-a-voter" });
    expect(transfer(leader(), M1)).toMatchObject({ ok: false, reason: "already-leader" });
    expect(transfer(new Bench(), M2)).toMatchObject({ ok: false, reason: "not-leader" });
  });

  test("a second transfer replaces the first", () => {
    const bench = leader();
    bench.propose("a");
    transfer(bench, M2);
    transfer(bench, M3);
    bench.take();
    bench.acknowledge(M2, 2);
    expect(bench.takeOf("timeout-now")).toEqual([]);
    bench.acknowledge(M3, 2);
    expect(bench.takeOf("timeout-now")).toMatchObject([{ to: M3 }]);
  });
});
