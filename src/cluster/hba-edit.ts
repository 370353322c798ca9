/** Single rules of the ordered list: found by a name or a number, put in, moved, taken out. */
import { hashJson } from "../base/json-hash.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { HbaRule } from "./hba-rule.ts";

/** A rule's name, or its number from 1 in the list as it is now. */
export type RuleReference = string | number;

/** Where a rule is to stand. */
export type RulePlace =
  | { readonly kind: "end" }
  /** With this number, once it stands there. */
  | { readonly kind: "at"; readonly number: number }
  | { readonly kind: "before" | "after"; readonly rule: RuleReference };

/** Why there is no such place, or no such rule. */
export interface RuleProblem {
  /** `overtaken`: the rule that a number stood for is not there any more, or not to be told from others. */
  readonly kind: "rule-unknown" | "no-place" | "overtaken";
  readonly message: string;
}

/**
 * Finds rules for one request, in the list as it is at each attempt. What a number stood for the first time is what it stands for
 * from then on, wherever that rule is by then: whoever said a number never meets another rule.
 */
export class RuleFinder {
  readonly #meant = new Map<number, string>();

  /** Index of the rule, from 0. */
  find(rules: readonly HbaRule[], reference: RuleReference): Result<number, RuleProblem> {
    return typeof reference === "string" ? named(rules, reference) : this.#numbered(rules, reference);
  }

  #numbered(rules: readonly HbaRule[], number: number): Result<number, RuleProblem> {
    const meant = this.#meant.get(number);
    const present = rules[number - 1];
    if (meant === undefined) {
      if (present === undefined) return unknown(`there is no rule ${number}, only ${rules.length}`);
      this.#meant.set(number, hashJson(present));
      return ok(number - 1);
    }
    const same = rules.flatMap((rule, index) => (hashJson(rule) === meant ? [index] : []));
    const [only] = same;
    if (only !== undefined && same.length === 1) return ok(only);
    return err({
      kind: "overtaken",
      message: `what was rule ${number} is not there any more, or there are several of its kind`,
    });
  }
}

function named(rules: readonly HbaRule[], name: string): Result<number, RuleProblem> {
  const index = rules.findIndex((rule) => rule.name === name);
  return index === -1 ? unknown(`no rule is called '${name.slice(0, 40)}'`) : ok(index);
}

function unknown(message: string): Result<never, RuleProblem> {
  return err({ kind: "rule-unknown", message });
}

/** The list with one more rule. */
export function ruleAdded(
  rules: readonly HbaRule[],
  rule: HbaRule,
  { place, finder }: { readonly place: RulePlace; readonly finder: RuleFinder },
): Result<readonly HbaRule[], RuleProblem> {
  const index = indexOf(rules, place, finder);
  return index.ok ? ok(rules.toSpliced(index.value, 0, rule)) : index;
}

/** The list with another rule instead of the one at `index`; it moves where a place is given. */
export function ruleChanged(
  rules: readonly HbaRule[],
  { index, rule }: { readonly index: number; readonly rule: HbaRule },
  moved: { readonly place: RulePlace; readonly finder: RuleFinder } | null,
): Result<readonly HbaRule[], RuleProblem> {
  if (moved === null) return ok(rules.with(index, rule));
  const { place, finder } = moved;
  if (place.kind !== "before" && place.kind !== "after")
    return ruleAdded(rules.toSpliced(index, 1), rule, moved);
  // Numbers count as they are before the rule is taken out.
  const anchor = anchorOf(rules, place.rule, finder);
  if (!anchor.ok) return anchor;
  if (anchor.value === index) return ok(rules.with(index, rule));
  const at = anchor.value + (place.kind === "after" ? 1 : 0);
  return ok(rules.toSpliced(index, 1).toSpliced(at > index ? at - 1 : at, 0, rule));
}

function indexOf(
  rules: readonly HbaRule[],
  place: RulePlace,
  finder: RuleFinder,
): Result<number, RuleProblem> {
  if (place.kind === "end") return ok(rules.length);
  if (place.kind === "at")
    return place.number <= rules.length + 1
      ? ok(place.number - 1)
      : err({
          kind: "no-place",
          message: `there is no place ${place.number}: the last one is ${rules.length + 1}`,
        });
  const anchor = anchorOf(rules, place.rule, finder);
  if (!anchor.ok) return anchor;
  return ok(anchor.value + (place.kind === "after" ? 1 : 0));
}

function anchorOf(
  rules: readonly HbaRule[],
  reference: RuleReference,
  finder: RuleFinder,
): Result<number, RuleProblem> {
  const anchor = finder.find(rules, reference);
  if (anchor.ok || anchor.error.kind !== "rule-unknown") return anchor;
  return err({ kind: "no-place", message: anchor.error.message });
}

/** Of the rules that have names, the first whose name is an earlier one's. Null: there is none. */
export function sameName(
  rules: readonly HbaRule[],
): { readonly name: string; readonly first: number; readonly second: number } | null {
  const seen = new Map<string, number>();
  for (const [index, { name }] of rules.entries()) {
    if (name === undefined) continue;
    const first = seen.get(name);
    if (first !== undefined) return { name, first: first + 1, second: index + 1 };
    seen.set(name, index);
  }
  return null;
}
