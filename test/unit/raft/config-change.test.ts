import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { Bench, config, M1, M2, M3, M4, M5 } from "../../support/raft-bench.ts";
import { RaftGroup } from "../../support/raft-group.ts";

/** Leads, and its followers hold all it has. */
function leaderOf(voters: readonly MemberId[], learners: readonly MemberId[] = []): Bench {
  return new Bench({ voters, learners }).becomeLeader().acknowledgeAll();
}

describe("one voter more or less", () => {
  test("counts from the moment it is appended: its own commit needs the new member", () => {
    const bench = leaderOf([M1], [M2]);
    expect(bench.changeConfig([M1, M2])).toMatchObject({ ok: true, id: { index: 2, term: 1 } });
    expect(bench.status).toMatchObject({ config: config([M1, M2]), isConfigPending: true, commitIndex: 1 });
    bench.acknowledge(M2, 2);
    expect(bench.status).toMatchObject({ isConfigPending: false, commitIndex: 2 });
  });

  test("a new member gets the whole log, from the first entry on", () => {
    const bench = leaderOf([M1]);
    bench.changeConfig([M1], [M2]);
    const joiner = new Bench({ id: M2, voters: [] });
    new RaftGroup(bench, joiner).exchange();
    expect(joiner.store.entries).toEqual(bench.store.entries);
    expect(joiner.status).toMatchObject({ config: config([M1], [M2]), commitIndex: 2 });
  });

  test("one change at a time", () => {
    const bench = leaderOf([M1, M2, M3], [M4, M5]);
    expect(bench.changeConfig([M1, M2, M3, M4], [M5])).toMatchObject({ ok: true });
    const next = (): unknown => bench.changeConfig([M1, M2, M3, M4, M5]);
    expect(next()).toEqual({ ok: false, reason: "config-pending", leaderId: M1 });
    bench.acknowledgeAll();
    expect(next()).toMatchObject({ ok: true });
  });

  test("not before this leader has committed an entry of its own term (raft-dev, 2015)", () => {
    const bench = new Bench({ voters: [M1, M2, M3, M4], learners: [M5] }).becomeLeader();
    expect(bench.changeConfig([M1, M2, M3, M4, M5])).toMatchObject({ ok: false, reason: "not-ready" });
    bench.acknowledgeAll();
    expect(bench.changeConfig([M1, M2, M3, M4, M5])).toMatchObject({ ok: true });
  });

  test("what is so already is not asked for again", () => {
    const bench = leaderOf([M1, M2, M3], [M4]);
    expect(bench.changeConfig([M3, M2, M1, M1], [M4])).toEqual({ ok: true, id: null });
    expect(bench.status.lastIndex).toBe(1 as LogIndex);
  });

  test("only a leader changes the group; others say who leads", () => {
    const bench = new Bench();
    expect(bench.changeConfig([M1, M2])).toEqual({ ok: false, reason: "not-leader", leaderId: null });
  });

  test("what is known of the others is kept, and a learner that becomes a voter begins nothing anew", () => {
    const bench = leaderOf([M1, M2, M3], [M4]);
    bench.changeConfig([M1, M2, M3, M4], [M5]);
    expect(bench.status.followers).toMatchObject([
      { id: M2, matchIndex: 1, state: "replicate" },
      { id: M3, matchIndex: 1, state: "replicate" },
      { id: M4, matchIndex: 1, state: "replicate" },
      { id: M5, matchIndex: 0, state: "probe", isActive: true },
    ]);
  });
});
