/**
 * Every configuration of up to four voters in each of its two sets, with everything that its members can hold or answer:
 * the arithmetic of quorums against the definition, written down as plainly as it can be. Nothing is left to chance.
 */
import { describe, expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import { hasQuorum, quorumIndex, voteOutcome } from "../../../src/raft/engine/quorum.ts";

const IDS = ["a", "b", "c", "d"] as MemberId[];
const HIGHEST = 2;
const VOTES = [true, false, undefined] as const;

const SETS: readonly (readonly MemberId[])[] = Array.from({ length: 2 ** IDS.length }, (_, bits) =>
  IDS.filter((_id, place) => (bits & (1 << place)) !== 0),
);
const CONFIGS: readonly ClusterConfig[] = SETS.filter((voters) => voters.length > 0).flatMap((voters) =>
  SETS.map((outgoing) => ({ voters, outgoing, learners: [], learnersNext: [] })),
);

/** All ways to give each member one of `values`. */
function assignments<T>(values: readonly T[]): readonly ReadonlyMap<MemberId, T>[] {
  let all: readonly (readonly [MemberId, T])[][] = [[]];
  for (const id of IDS) all = all.flatMap((pairs) => values.map((value) => [...pairs, [id, value] as const]));
  return all.map((pairs) => new Map(pairs));
}

/** More than half of each set that there is. */
function isMajorityOfBoth({ voters, outgoing }: ClusterConfig, who: readonly MemberId[]): boolean {
  return [voters, outgoing].every(
    (ids) => ids.length === 0 || 2 * ids.filter((id) => who.includes(id)).length > ids.length,
  );
}

describe("every quorum", () => {
  test("was looked at", () => {
    expect(CONFIGS.length).toBe(15 * 16);
    expect(assignments(VOTES).length).toBe(3 ** IDS.length);
  });

  test("commits the highest index that a majority of both sets holds", () => {
    const indexes = Array.from({ length: HIGHEST + 1 }, (_, index) => index as LogIndex);
    for (const config of CONFIGS) {
      for (const matches of assignments(indexes)) {
        const isHeld = (index: LogIndex): boolean =>
          isMajorityOfBoth(
            config,
            IDS.filter((id) => (matches.get(id) ?? 0) >= index),
          );
        const expected = indexes.findLast(isHeld);
        const found = quorumIndex(config, (id) => matches.get(id) ?? (0 as LogIndex));
        if (found !== expected) expect({ config, matches, found, expected }).toBeNull();
      }
    }
  });

  test("elects with a majority of both sets, and loses once that is out of reach", () => {
    for (const config of CONFIGS) {
      for (const answers of assignments(VOTES)) {
        const votes = new Map(
          [...answers].flatMap(([id, vote]) => (vote === undefined ? [] : [[id, vote] as const])),
        );
        const yes = IDS.filter((id) => answers.get(id) === true);
        const notNo = IDS.filter((id) => answers.get(id) !== false);
        const isOpen = isMajorityOfBoth(config, notNo);
        const expected = isMajorityOfBoth(config, yes) ? "won" : isOpen ? "pending" : "lost";
        const found = voteOutcome(config, votes);
        if (found !== expected) expect({ config, votes, found, expected }).toBeNull();
      }
    }
  });

  test("meets every other one of its configuration", () => {
    for (const config of CONFIGS) {
      const quorums = SETS.filter((ids) => hasQuorum(config, (id) => ids.includes(id)));
      expect(quorums.length).toBeGreaterThan(0);
      for (const one of quorums) {
        for (const other of quorums) {
          if (!one.some((id) => other.includes(id))) expect({ config, one, other }).toBeNull();
        }
      }
    }
  });
});
