import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  RuleFinder,
  type RulePlace,
  ruleAdded,
  ruleChanged,
  sameName,
} from "../../../src/cluster/hba-edit.ts";
import type { HbaRule } from "../../../src/cluster/hba-rule.ts";

const rule = (user: string, name?: string): HbaRule => ({
  type: "host",
  databases: ["all"],
  users: [user],
  address: "all",
  method: "md5",
  ...(name === undefined ? {} : { name }),
});
const usersOf = (rules: readonly HbaRule[]) => rules.map(({ users }) => users[0]).join("");
const RULES = [rule("a"), rule("b", "bee"), rule("c"), rule("d")];

function added(place: RulePlace): string {
  const list = ruleAdded(RULES, rule("x"), { place, finder: new RuleFinder() });
  return list.ok ? usersOf(list.value) : list.error.kind;
}

function moved(index: number, place: RulePlace): string {
  const present = RULES[index] ?? rule("?");
  const list = ruleChanged(RULES, { index, rule: present }, { place, finder: new RuleFinder() });
  return list.ok ? usersOf(list.value) : list.error.kind;
}

describe("a rule", () => {
  test.each<[RulePlace, string]>([
    [{ kind: "end" }, "abcdx"],
    [{ kind: "at", number: 1 }, "xabcd"],
    [{ kind: "at", number: 5 }, "abcdx"],
    [{ kind: "at", number: 6 }, "no-place"],
    [{ kind: "before", rule: 1 }, "xabcd"],
    [{ kind: "before", rule: "bee" }, "axbcd"],
    [{ kind: "after", rule: "bee" }, "abxcd"],
    [{ kind: "after", rule: 4 }, "abcdx"],
    [{ kind: "after", rule: 5 }, "no-place"],
    [{ kind: "before", rule: "nobody" }, "no-place"],
  ])("is added at %j", (place, expected) => expect(added(place)).toBe(expected));

  test.each<[number, RulePlace, string]>([
    [0, { kind: "at", number: 3 }, "bcad"],
    [3, { kind: "at", number: 1 }, "dabc"],
    [0, { kind: "at", number: 5 }, "no-place"],
    [0, { kind: "after", rule: "bee" }, "bacd"],
    [0, { kind: "before", rule: "bee" }, "abcd"],
    [3, { kind: "before", rule: "bee" }, "adbc"],
    [1, { kind: "after", rule: "bee" }, "abcd"],
    [0, { kind: "end" }, "bcda"],
  ])("number %i plus one is moved to %j", (index, place, expected) =>
    expect(moved(index, place)).toBe(expected),
  );

  test("that a number stands for is followed where others come before it, and never taken for another", () => {
    const finder = new RuleFinder();
    expect(finder.find(RULES, 3)).toEqual({ ok: true, value: 2 });
    expect(finder.find([rule("new"), ...RULES], 3)).toEqual({ ok: true, value: 3 });
    expect(finder.find(RULES.toSpliced(2, 1), 3)).toMatchObject({ error: { kind: "overtaken" } });
    expect(finder.find([...RULES, rule("c")], 3)).toMatchObject({ error: { kind: "overtaken" } });
    expect(new RuleFinder().find(RULES, 5)).toMatchObject({ error: { kind: "rule-unknown" } });
    expect(new RuleFinder().find(RULES, "nobody")).toMatchObject({ error: { kind: "rule-unknown" } });
  });

  test("moved anywhere leaves the others in their order", () => {
    const place = fc.oneof(
      fc.constant<RulePlace>({ kind: "end" }),
      fc.nat(8).map((number): RulePlace => ({ kind: "at", number: number + 1 })),
      fc
        .tuple(fc.constantFrom("before" as const, "after" as const), fc.nat(8))
        .map(([kind, number]): RulePlace => ({ kind, rule: number + 1 })),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.nat(7), place, (count, at, where) => {
        const rules = Array.from({ length: count }, (_, index) => rule(`u${index}`));
        const index = at % count;
        const present = rules[index] ?? rule("?");
        const finder = new RuleFinder();
        const list = ruleChanged(rules, { index, rule: present }, { place: where, finder });
        if (!list.ok) return expect(list.error.kind).toBe("no-place");
        expect(list.value).toHaveLength(count);
        expect(list.value.filter((each) => each !== present)).toEqual(rules.toSpliced(index, 1));
        if (where.kind === "at") expect(list.value[where.number - 1]).toBe(present);
        const now = list.value.indexOf(present);
        const anchor = "rule" in where ? rules[Number(where.rule) - 1] : undefined;
        if (anchor === undefined || anchor === present) return;
        expect(list.value.indexOf(anchor)).toBe(where.kind === "before" ? now + 1 : now - 1);
      }),
    );
  });
});

test("two rules of one name are noticed", () => {
  expect(sameName(RULES)).toBeNull();
  expect(sameName([...RULES, rule("e", "bee")])).toEqual({ name: "bee", first: 2, second: 5 });
});
