import { describe, expect, test } from "bun:test";
import type { LogIndex } from "../../../src/base/ids.ts";
import { Bench, config, configEntry, entry, M1, M2, M3, M4 } from "../../support/raft-bench.ts";

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
