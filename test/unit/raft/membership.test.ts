import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { decodeConfig, encodeConfig } from "../../../src/raft/engine/membership.ts";
import { Bench, config, configEntry, entry, id, M1, M2, M3, M4 } from "../../support/raft-bench.ts";

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

  test("all uncommitted ones gone, the one that was there at first counts again", () => {
    const bench = new Bench({ entries: [entry(1, 1), configEntry(2, 1, [M1]), configEntry(3, 1, [M1, M2])] });
    bench.append(M2, 2, [1, 1], [entry(2, 2)], 2);
    expect(bench.status).toMatchObject({ config: config([M1, M2, M3]), isConfigPending: false });
    expect(bench.restart().status.config).toEqual(config([M1, M2, M3]));
  });

  test("after a snapshot, a truncated one falls back on the snapshot's", () => {
    const placed = { index: 4 as LogIndex, config: config([M2, M3], [M1]) };
    const bench = new Bench().receiveSnapshot(M2, 1, { meta: { ...id(5, 1), config: placed }, content: [] });
    bench.append(M2, 1, [5, 1], [configEntry(6, 1, [M1, M2, M3])]);
    expect(bench.status).toMatchObject({ config: config([M1, M2, M3]), isConfigPending: true });
    bench.append(M3, 2, [5, 1], [entry(6, 2)]);
    expect(bench.status).toMatchObject({ config: config([M2, M3], [M1]), isConfigPending: false });
  });

  test("after a compaction, a truncated one falls back on the one that was compacted away", () => {
    const entries = [configEntry(1, 1, [M1, M2]), entry(2, 1), configEntry(3, 1, [M1, M2, M3])];
    const bench = new Bench({ entries, commit: 2 }).settle();
    bench.engine.compactedTo(bench.store.compact(2 as LogIndex));
    for (const member of [bench, bench.restart()]) {
      member.append(M2, 2, [2, 1], [entry(3, 2)]);
      expect(member.status).toMatchObject({ config: config([M1, M2]), isConfigPending: false, lastIndex: 3 });
    }
  });

  test("a leader that lost office takes its own change back, and counts with the members of before", () => {
    const bench = new Bench({ learners: [M4] }).becomeLeader().acknowledgeAll();
    bench.changeConfig([M1, M2, M3, M4]);
    bench.append(M2, 2, [1, 1], [entry(2, 2)], 2);
    expect(bench.status.config).toEqual(config([M1, M2, M3], [M4]));
    bench.take();
    expect(
      bench
        .losePatience()
        .takeOf("pre-vote")
        .map(({ to }) => to),
    ).toEqual([M2, M3]);
  });
});

describe("a configuration as an entry holds it", () => {
  test("is read back as it was written", () => {
    const all = { voters: [M1, M2], outgoing: [M1, M3], learners: [M4], learnersNext: [M3] };
    expect(decodeConfig(encodeConfig(all))).toEqual(all);
  });

  test("of release 0.1.0 has nobody who is to become a learner", () => {
    const old = new TextEncoder().encode('{"voters":["m1"],"outgoing":[],"learners":[]}');
    expect(decodeConfig(old)).toEqual(config([M1]));
  });

  test.each([
    "null",
    "[]",
    "{}",
    '{"voters":"m1","outgoing":[],"learners":[]}',
    '{"voters":[1],"outgoing":[],"learners":[]}',
  ])("is nothing else: %s", (text) => {
    expect(() => decodeConfig(new TextEncoder().encode(text))).toThrow("configuration");
  });
});
