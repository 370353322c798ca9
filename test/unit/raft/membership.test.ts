import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { Bench, config, configEntry, entry, M1, M2, M3, M4, M5 } from "../../support/raft-bench.ts";

function leaderOfOne(): Bench {
  const bench = new Bench({ entries: [configEntry(1, 1, [M1])] });
  bench.engine.campaign();
  return bench.settle();
}

function addVoter(bench: Bench, id: typeof M1): ReturnType<Bench["engine"]["addVoter"]> {
  const answer = bench.engine.addVoter(id);
  bench.settle();
  return answer;
}

describe("adding a voter", () => {
  test("counts from the moment it is appended: its own commit needs the new member", () => {
    const bench = leaderOfOne();
    expect(bench.status).toMatchObject({ role: "leader", commitIndex: 2 });
    expect(addVoter(bench, M2)).toMatchObject({ ok: true, id: { index: 3, term: 2 } });
    expect(bench.status).toMatchObject({ config: config([M1, M2]), isConfigPending: true, commitIndex: 2 });
    bench.acknowledge(M2, 3);
    expect(bench.status).toMatchObject({ isConfigPending: false, commitIndex: 3 });
  });

  test("the new member gets the whole log, from the first entry on", () => {
    const bench = leaderOfOne();
    addVoter(bench, M2);
    const joiner = new Bench({ id: M2, voters: [] });
    for (let round = 0; round < 5; round += 1) {
      for (const message of bench.take()) joiner.engine.step(message);
      for (const message of joiner.settle().take()) bench.engine.step(message);
      bench.settle();
    }
    expect(joiner.store.entries).toEqual(bench.store.entries);
    expect(joiner.status).toMatchObject({ config: config([M1, M2]), commitIndex: 3 });
  });

  test("one at a time", () => {
    const bench = leaderOfOne();
    addVoter(bench, M2);
    expect(addVoter(bench, M3)).toMatchObject({ ok: false, reason: "config-pending" });
    bench.acknowledge(M2, 3);
    expect(addVoter(bench, M3)).toMatchObject({ ok: true });
  });

  test("not before this leader has committed an entry of its own term (raft-dev, 2015)", () => {
    const bench = new Bench({ voters: [M1, M2, M3, M4] }).becomeLeader();
    expect(addVoter(bench, M5)).toMatchObject({ ok: false, reason: "not-ready" });
    bench.acknowledgeAll();
    expect(addVoter(bench, M5)).toMatchObject({ ok: true });
  });

  test("who votes already is not added again", () => {
    expect(addVoter(leaderOfOne(), M1)).toEqual({ ok: true, id: null });
  });

  test("only a leader adds", () => {
    expect(addVoter(new Bench(), M4)).toMatchObject({ ok: false, reason: "not-leader" });
  });

  test("what is known of the others is kept", () => {
    const bench = new Bench().becomeLeader().acknowledgeAll();
    addVoter(bench, M4);
    expect(bench.status.followers).toMatchObject([
      { id: M2, matchIndex: 1 },
      { id: M3, matchIndex: 1 },
      { id: M4, matchIndex: 0, isActive: true },
    ]);
  });
});

describe("configurations of the log", () => {
  test("a truncated configuration is taken back", () => {
    const bench = new Bench({
      entries: [configEntry(1, 1, [M1, M2, M3]), configEntry(2, 1, [M1, M2, M3, M4])],
    });
    expect(bench.status.config).toEqual(config([M1, M2, M3, M4]));
    bench.append(M2, 2, [1, 1], [entry(2, 2)]);
    expect(bench.status.config).toEqual(config([M1, M2, M3]));
  });

  test("of several uncommitted ones, only those that were truncated", () => {
    const bench = new Bench({
      entries: [configEntry(1, 1, [M1]), configEntry(2, 1, [M1, M2]), configEntry(3, 1, [M1, M2, M3])],
    });
    bench.append(M2, 2, [2, 1], [entry(3, 2)]);
    expect(bench.status).toMatchObject({ config: config([M1, M2]), isConfigPending: true });
    bench.append(M2, 2, [3, 2], [], 3);
    expect(bench.status).toMatchObject({ config: config([M1, M2]), isConfigPending: false });
  });

  test("a restart finds the latest in the log, committed or not", () => {
    const entries = [configEntry(1, 1, [M1, M2]), entry(2, 1), configEntry(3, 1, [M1, M2, M3])];
    expect(new Bench({ entries, commit: 2 }).status).toMatchObject({
      config: config([M1, M2, M3]),
      isConfigPending: true,
    });
  });

  test("a follower that misses a configuration falls back on the one at the floor", () => {
    const bench = new Bench({ voters: [M1, M2, M3], entries: [entry(1, 1)] });
    expect(bench.status).toMatchObject({ config: config([M1, M2, M3]), lastIndex: 1 as LogIndex });
  });
});
