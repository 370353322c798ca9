import { expect, test } from "bun:test";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { compareHashes, type HashReport, type HashVerdict } from "../../../src/main/compare-hashes.ts";

const id = (number: number) => `00000000-0000-4000-8000-00000000000${number}` as MemberId;
const at = (number: number, index: number, hash: string): HashReport => ({
  memberId: id(number),
  index: index as LogIndex,
  hash,
});

/** We are member 1, know indexes 5 to 9, and have "good" everywhere. */
function compare(voters: number, reports: readonly HashReport[]): HashVerdict {
  return compareHashes({
    selfId: id(1),
    voterIds: Array.from({ length: voters }, (_, place) => id(place + 1)),
    reports,
    hashAt: (index) => (index >= 5 && index <= 9 ? "good" : null),
  });
}

test("equal, whoever is how far; what cannot be compared says nothing", () => {
  expect(compare(3, []).kind).toBe("equal");
  expect(compare(3, [at(2, 9, "good"), at(3, 6, "good")]).kind).toBe("equal");
  expect(compare(3, [at(2, 4, "bad"), at(3, 10, "bad")]).kind).toBe("equal");
  expect(compare(3, [at(1, 9, "bad")]).kind).toBe("equal");
});

test("a member that differs from a majority is named, a learner too", () => {
  expect(compare(3, [at(2, 9, "bad"), at(3, 7, "good")])).toEqual({
    kind: "others-differ",
    minority: [at(2, 9, "bad")],
  });
  expect(compare(3, [at(2, 9, "good"), at(3, 9, "good"), at(7, 9, "bad")])).toEqual({
    kind: "others-differ",
    minority: [at(7, 9, "bad")],
  });
  expect(compare(5, [at(2, 9, "bad"), at(3, 9, "worse"), at(4, 9, "good"), at(5, 8, "good")])).toMatchObject({
    minority: [at(2, 9, "bad"), at(3, 9, "worse")],
  });
});

test("a majority that agrees on something else means that we are wrong", () => {
  expect(compare(3, [at(2, 9, "other"), at(3, 9, "other")])).toEqual({
    kind: "we-differ",
    index: 9 as LogIndex,
    hash: "other",
  });
});

test("without a majority for either side nobody is accused", () => {
  expect(compare(3, [at(2, 9, "bad")]).kind).toBe("undecided");
  expect(compare(2, [at(2, 9, "bad")]).kind).toBe("undecided");
  expect(compare(3, [at(2, 9, "bad"), at(3, 9, "worse")]).kind).toBe("undecided");
  // The same, but at different indexes: not known to be the same yet.
  expect(compare(3, [at(2, 9, "other"), at(3, 8, "other")]).kind).toBe("undecided");
  expect(compare(4, [at(2, 9, "good"), at(3, 9, "bad"), at(4, 9, "bad")]).kind).toBe("undecided");
  // Learners are no majority.
  expect(compare(3, [at(2, 9, "bad"), at(7, 9, "good"), at(8, 9, "good")]).kind).toBe("undecided");
});
