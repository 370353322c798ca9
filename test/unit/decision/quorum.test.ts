/**
 * What the predicates are for, said without arithmetic, and compared with them for every rule and every set of pledges: each
 * set that can have acknowledged a commit under any rule in force meets each set of pledges that is called enough.
 *
 * Sets are bit masks. Bit 0 is the member that reigns first; all others may acknowledge.
 */
import { describe, expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change } from "../../../src/cluster/command.ts";
import { FEATURE_LEVEL } from "../../../src/cluster/feature-level.ts";
import type { ClusterState, Cohort, Reign } from "../../../src/cluster/state.ts";
import {
  areEnoughPledged,
  isLeasedReign,
  mayLackCommits,
  pledgesNeeded,
} from "../../../src/decision/quorum.ts";
import { clusterState, cohort, epoch, id, member, reign } from "../../support/situation.ts";

const MEMBERS_MAX = 7;
const IDS = Array.from({ length: MEMBERS_MAX }, (_, bit) => id(`m${bit + 1}`));
const PRIMARY = 1;

interface Rule {
  readonly mask: number;
  readonly k: number;
  readonly isLeased: boolean;
}

const LEASE: Rule = { mask: 0, k: 0, isLeased: true };
const PLEDGES = Array.from({ length: 2 ** MEMBERS_MAX }, (_, mask) => new Set(idsOf(mask)));

function idsOf(mask: number): readonly MemberId[] {
  return IDS.filter((_, bit) => (mask >> bit) & 1);
}

function countOf(mask: number): number {
  return mask === 0 ? 0 : (mask & 1) + countOf(mask >> 1);
}

function bitsOf(mask: number): readonly number[] {
  return IDS.map((_, bit) => 1 << bit).filter((bit) => mask & bit);
}

function cohortOf({ mask, k, isLeased }: Rule): Cohort {
  return { standbyIds: idsOf(mask), k, ...(isLeased ? { isLeased } : {}) };
}

function maskOf(standbyIds: readonly MemberId[]): number {
  return standbyIds.reduce((mask, each) => mask | (1 << IDS.indexOf(each)), 0);
}

// ---- the oracle --------------------------------------------------------------------------------------------------------

/** All subsets of `mask` with at least `k` members: without any of them the primary acknowledges nothing. */
function acknowledgers(mask: number, k: number): readonly number[] {
  return PLEDGES.map((_, set) => set).filter((set) => (set & mask) === set && countOf(set) >= k);
}

const remembered = new Map<string, Uint8Array>();

/** For each set of pledges: 1 where it meets every set that can acknowledge by this rule. */
function meeting(mask: number, k: number): Uint8Array {
  const key = `${mask} ${k}`;
  const known = remembered.get(key);
  if (known !== undefined) return known;
  const sets = acknowledgers(mask, k);
  const made = Uint8Array.from(PLEDGES, (_, pledged) => (sets.every((set) => set & pledged) ? 1 : 0));
  remembered.set(key, made);
  return made;
}

/** The rules in force, each as what it demands of a set of pledges. "never": the primary may acknowledge with nobody's help. */
function demandsOf(reigning: Reign, isLeaseOver: boolean): readonly Uint8Array[] | "never" {
  const { inheritedRules, cohort: settled, pendingCohort } = reigning;
  const own = pendingCohort === null ? [settled] : [settled, pendingCohort];
  if (!isLeaseOver && own.some((rule) => rule.isLeased === true)) return "never";
  // What was acknowledged under a lease was promised to nobody; once it is over, nothing more is.
  return [...inheritedRules, ...own]
    .filter((rule) => rule.isLeased !== true)
    .map(({ standbyIds, k }) => meeting(maskOf(standbyIds), k));
}

/** Compares the predicate with the oracle for every set of pledges, lease over or not. @returns comparisons that were made */
function compare(reigning: Reign, width = MEMBERS_MAX): number {
  const pledges = 2 ** width;
  for (const isLeaseOver of [false, true]) {
    const demands = demandsOf(reigning, isLeaseOver);
    for (let pledged = 0; pledged < pledges; pledged += 1) {
      const isSafe = demands !== "never" && demands.every((each) => each[pledged] === 1);
      if (areEnoughPledged(reigning, PLEDGES[pledged] ?? new Set(), isLeaseOver) !== isSafe) {
        const { cohort: settled, pendingCohort, inheritedRules } = reigning;
        throw new Error(
          `areEnoughPledged() is ${!isSafe} for the pledges of ${idsOf(pledged).join(" ") || "nobody"}, lease over: ${isLeaseOver}, by ${JSON.stringify({ settled, pendingCohort, inheritedRules })}`,
        );
      }
    }
  }
  return 2 * pledges;
}

// ---- every rule, and every step from it --------------------------------------------------------------------------------

/** Every rule over the members of `among`; k may be one more than there are members: then commits wait (`block`). */
function rulesOver(among: number): readonly Rule[] {
  const masks = PLEDGES.map((_, mask) => mask).filter((mask) => (mask & among) === mask);
  return masks.flatMap((mask) =>
    Array.from({ length: countOf(mask) + 2 }, (_, k) => ({ mask, k, isLeased: false })),
  );
}

/** One of each size, the members' names being no matter; and the lease. */
function rulesOfEachSize(width: number): readonly Rule[] {
  const sizes = Array.from({ length: width }, (_, size) => (2 ** size - 1) << 1);
  const rules = sizes.flatMap((mask) =>
    Array.from({ length: countOf(mask) + 2 }, (_, k) => ({ mask, k, isLeased: false })),
  );
  return [...rules, LEASE];
}

/** Where one step leads: S + 1, S − 1 (k with it, where it must), k + 1, k − 1, one exchanged, to a lease, or from it. */
function stepsFrom(rule: Rule, among: number): readonly Rule[] {
  if (rule.isLeased) return rulesOver(among);
  const { mask, k } = rule;
  const out = bitsOf(mask);
  const others = bitsOf(among & ~mask);
  const masks = [
    ...others.map((bit) => mask | bit),
    ...out.map((bit) => mask & ~bit),
    ...out.flatMap((gone) => others.map((come) => (mask & ~gone) | come)),
  ];
  const moved = masks.flatMap((each) => [
    { mask: each, k, isLeased: false },
    ...(k > countOf(each) ? [{ mask: each, k: countOf(each), isLeased: false }] : []),
  ]);
  const weaker = k > 0 ? [{ ...rule, k: k - 1 }] : [];
  return [...moved, { ...rule, k: k + 1 }, ...weaker, LEASE];
}

// ---- reigns as apply() makes them --------------------------------------------------------------------------------------

const STATE: ClusterState = clusterState({
  featureLevel: FEATURE_LEVEL,
  members: IDS.map((_, bit) => member(`m${bit + 1}`)),
});

function reignOf(rule: Rule): Reign {
  return reign({ cohort: cohortOf(rule) });
}

/** What the state machine makes of it; throws where it refuses. */
function afterwards(before: Reign, ...changes: readonly Change[]): Reign {
  const { state } = changes.reduce(
    (applied, change) => {
      const next = apply(applied.state, { id: "c", atMs: 0, by: "test", change });
      if (!next.outcome.ok) throw new Error(`${change.kind}: ${next.outcome.message}`);
      return { state: next.state };
    },
    { state: { ...STATE, reign: before } as ClusterState | null },
  );
  if (state?.reign == null) throw new Error("no reign is left");
  return state.reign;
}

function announced(before: Reign, rule: Rule): Reign {
  return afterwards(before, { kind: "change-cohort", epoch: before.epoch, cohort: cohortOf(rule) });
}

function settled(before: Reign): Reign {
  const reached = before.pendingCohort ?? before.cohort;
  return afterwards(before, { kind: "settle-cohort", epoch: before.epoch, cohort: reached });
}

/** The second member follows, with this rule. */
function appointed(before: Reign, rule: Rule): Reign {
  return afterwards(
    before,
    { kind: "fence", epoch: before.epoch, reason: "member-lost", preferredId: null },
    {
      kind: "appoint",
      memberId: IDS[1] ?? id("m2"),
      previousEpoch: before.epoch,
      position: before.appointedAt,
      timelines: before.timelines,
      cohort: cohortOf(rule),
      reason: "test",
      passedOver: [],
    },
  );
}

const EVERYBODY = 2 ** MEMBERS_MAX - 1;

describe("areEnoughPledged() is true exactly when every set that can have acknowledged meets the pledges", () => {
  test("by one rule: up to 7 members, every cohort, every k, every set of pledges", () => {
    let checked = 0;
    for (const rule of [...rulesOver(EVERYBODY & ~PRIMARY), LEASE]) checked += compare(reignOf(rule));
    expect(checked).toBe((64 * 2 + 192 + 1) * 256);
  });

  test("while one step is being made: S + 1, S − 1, k + 1, k − 1, one exchanged, to a lease and back; and after it", () => {
    let checked = 0;
    for (const rule of rulesOfEachSize(MEMBERS_MAX)) {
      for (const step of stepsFrom(rule, EVERYBODY & ~PRIMARY)) {
        const changing = announced(reignOf(rule), step);
        expect(changing.pendingCohort).toEqual(cohortOf(step));
        checked += compare(changing);
        const after = settled(changing);
        expect([after.cohort, after.inheritedRules]).toEqual([cohortOf(step), []]);
        checked += compare(after);
      }
    }
    expect(checked).toBeGreaterThan(400_000);
  });

  test("while a step is given up for another one: what was announced still counts", () => {
    let checked = 0;
    const among = (2 ** 6 - 1) & ~PRIMARY;
    for (const rule of rulesOfEachSize(6)) {
      for (const step of stepsFrom(rule, among)) {
        const given = announced(reignOf(rule), step);
        for (const other of stepsFrom(step, among)) {
          const changing = announced(given, other);
          expect(changing.inheritedRules).toHaveLength(1);
          checked += compare(changing, 6);
        }
      }
    }
    expect(checked).toBeGreaterThan(400_000);
  });

  test("in a new reign: whatever rules the old one had, with whatever rule the new one begins, and its first step", () => {
    let checked = 0;
    const width = 5;
    const among = 2 ** width - 1;
    const successor = 2;
    const firsts = rulesOver(among & ~successor).filter(({ mask, k }) => k <= countOf(mask));
    for (const rule of rulesOfEachSize(width)) {
      const steps = rule.isLeased ? [LEASE] : stepsFrom(rule, among & ~PRIMARY);
      for (const step of steps) {
        const old = announced(reignOf(rule), step);
        for (const first of [...firsts, LEASE]) {
          const begun = appointed(old, first);
          expect(begun.inheritedRules).toEqual([cohortOf(rule), cohortOf(step)]);
          checked += compare(begun, width);
        }
        const begun = appointed(old, { mask: PRIMARY | 4, k: 1, isLeased: false });
        for (const next of stepsFrom({ mask: PRIMARY | 4, k: 1, isLeased: false }, among & ~successor)) {
          checked += compare(announced(begun, next), width);
          checked += compare(settled(announced(begun, next)), width);
        }
      }
    }
    expect(checked).toBeGreaterThan(400_000);
  });
});

test("a lease is known from the reign's own rules, a possible loss from inherited ones too", () => {
  const leased = cohortOf(LEASE);
  const quorum = cohort(1, "m2");
  expect(isLeasedReign(reign({ cohort: leased }))).toBe(true);
  expect(isLeasedReign(reign({ cohort: quorum, pendingCohort: leased }))).toBe(true);
  const inherited = reign({ epoch: epoch(2), cohort: quorum, inheritedRules: [leased] });
  expect([isLeasedReign(inherited), mayLackCommits(inherited)]).toEqual([false, true]);
  expect(mayLackCommits(reign({ cohort: quorum }))).toBe(false);
});

test("pledgesNeeded() says that nothing is enough where the primary acknowledges alone", () => {
  expect(pledgesNeeded(cohort(0))).toBeNull();
  expect(areEnoughPledged(reign({ cohort: cohort(0, "m2") }), new Set([id("m2")]))).toBe(false);
});
