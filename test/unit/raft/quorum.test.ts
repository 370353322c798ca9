import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import { hasQuorum, quorumIndex, voteOutcome } from "../../../src/raft/engine/quorum.ts";
import { config as configOf } from "../../support/raft-bench.ts";

const IDS = ["a", "b", "c", "d", "e", "f", "g"] as MemberId[];
const someIds = fc.subarray(IDS);
const configs = fc.record({
  voters: fc.subarray(IDS, { minLength: 1 }),
  outgoing: someIds,
  learners: someIds,
  learnersNext: fc.constant([]),
});
const matches = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: IDS.length, maxLength: IDS.length });

/** As a child would count: is there any index that more than half of each set holds? */
function slowQuorumIndex(config: ClusterConfig, matchOf: (id: MemberId) => number): number {
  for (let index = 9; index > 0; index -= 1) {
    const isHeldBy = (ids: readonly MemberId[]): boolean =>
      ids.length === 0 || ids.filter((id) => matchOf(id) >= index).length > ids.length / 2;
    if (isHeldBy(config.voters) && isHeldBy(config.outgoing)) return index;
  }
  return 0;
}

describe("quorums", () => {
  test("the committed index is what the simplest count says", () => {
    fc.assert(
      fc.property(configs, matches, (config, values) => {
        const matchOf = (id: MemberId): LogIndex => (values[IDS.indexOf(id)] ?? 0) as LogIndex;
        expect(quorumIndex(config, matchOf)).toBe(slowQuorumIndex(config, matchOf) as LogIndex);
      }),
      { numRuns: 2_000 },
    );
  });

  test("any two quorums of one configuration meet", () => {
    fc.assert(
      fc.property(configs, someIds, someIds, (config, left, right) => {
        const isBoth =
          hasQuorum(config, (id) => left.includes(id)) && hasQuorum(config, (id) => right.includes(id));
        if (isBoth) expect(left.some((id) => right.includes(id))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a quorum of one configuration meets each quorum of the next, if one voter was added", () => {
    fc.assert(
      fc.property(fc.subarray(IDS.slice(1), { minLength: 1 }), someIds, someIds, (voters, left, right) => {
        const before = configOf(voters);
        const after = configOf([...voters, IDS[0] as MemberId]);
        const isBoth =
          hasQuorum(before, (id) => left.includes(id)) && hasQuorum(after, (id) => right.includes(id));
        if (isBoth) expect(left.some((id) => right.includes(id))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a vote is pending exactly while the silent could decide either way", () => {
    const votes = fc.array(fc.constantFrom(true, false, null), {
      minLength: IDS.length,
      maxLength: IDS.length,
    });
    fc.assert(
      fc.property(configs, votes, (config, values) => {
        const cast = new Map<MemberId, boolean>();
        const ifAll = (silent: boolean): boolean =>
          hasQuorum(config, (id) => values[IDS.indexOf(id)] ?? silent);
        for (const [at, id] of IDS.entries()) {
          const value = values[at];
          if (value !== null && value !== undefined) cast.set(id, value);
        }
        const expected = ifAll(false) ? "won" : ifAll(true) ? "pending" : "lost";
        expect(voteOutcome(config, cast)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  test("while joint, one set alone decides nothing", () => {
    const [a, b, c] = IDS as [MemberId, MemberId, MemberId];
    const joint = { ...configOf([a]), outgoing: [a, b, c] };
    expect(hasQuorum(joint, (id) => id === a)).toBe(false);
    expect(quorumIndex(joint, (id) => (id === a ? 7 : 0) as LogIndex)).toBe(0 as LogIndex);
  });

  test("nobody votes, nothing is decided", () => {
    const nobody = configOf([], IDS);
    expect(hasQuorum(nobody, () => true)).toBe(false);
    expect(quorumIndex(nobody, () => 9 as LogIndex)).toBe(0 as LogIndex);
  });
});
