import { expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import { areEnoughPledged, pledgesNeeded } from "../../../src/decision/quorum.ts";
import { id, reign } from "../../support/situation.ts";

const MEMBERS_MAX = 6;

function subsets(ids: readonly MemberId[]): readonly (readonly MemberId[])[] {
  return Array.from({ length: 2 ** ids.length }, (_, mask) => ids.filter((_id, bit) => (mask >> bit) & 1));
}

/** What the rule is for, said without arithmetic. */
function isSafe(standbyIds: readonly MemberId[], k: number, pledged: ReadonlySet<MemberId>): boolean {
  const acknowledgers = subsets(standbyIds).filter((set) => set.length >= k);
  // Revoked: no set that could acknowledge is free of pledges. Discovered: the same sentence.
  return acknowledgers.every((set) => set.some((member) => pledged.has(member)));
}

test("areEnoughPledged() is true exactly when every set that can acknowledge meets the pledged one, up to 7 members", () => {
  let checked = 0;
  for (let size = 1; size <= MEMBERS_MAX; size += 1) {
    const standbyIds = Array.from({ length: size }, (_, index) => id(`m${index + 2}`));
    for (let k = 1; k <= size; k += 1) {
      for (const subset of subsets(standbyIds)) {
        const pledged = new Set(subset);
        const answer = areEnoughPledged(reign({ cohort: { standbyIds, k } }), pledged);
        expect(answer).toBe(isSafe(standbyIds, k, pledged));
        checked += 1;
      }
    }
  }
  expect(checked).toBe(642);
});

test("areEnoughPledged() satisfies both rules while the cohort changes by one step", () => {
  for (let size = 1; size < MEMBERS_MAX; size += 1) {
    const smaller = Array.from({ length: size }, (_, index) => id(`m${index + 2}`));
    const larger = [...smaller, id(`m${size + 2}`)];
    for (let k = 1; k <= size; k += 1) {
      for (const subset of subsets(larger)) {
        const pledged = new Set(subset);
        const changing = reign({
          cohort: { standbyIds: smaller, k },
          pendingCohort: { standbyIds: larger, k },
        });
        expect(areEnoughPledged(changing, pledged)).toBe(
          isSafe(smaller, k, pledged) && isSafe(larger, k, pledged),
        );
      }
    }
  }
});

test("pledgesNeeded() says that nothing is enough where the primary acknowledges alone", () => {
  expect(pledgesNeeded({ standbyIds: [], k: 0 })).toBeNull();
  expect(areEnoughPledged(reign({ cohort: { standbyIds: [id("m2")], k: 0 } }), new Set([id("m2")]))).toBe(
    false,
  );
});
