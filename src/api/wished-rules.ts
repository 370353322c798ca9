/** Rules for connections as somebody asks for them: read, checked, in canonical form. */
import { err, type Result } from "../base/result.ts";
import { DEFAULT_RULES } from "../cluster/hba-own.ts";
import {
  type AccessSpec,
  checkIdentMap,
  checkRule,
  type HbaRule,
  IDENT_MAPS_MAX,
  type IdentMap,
  SECRET_OPTIONS,
} from "../cluster/hba-rule.ts";
import { parseHba, parseIdent } from "../cluster/hba-text.ts";
import { MASK } from "../cluster/secrets.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { HbaRequest } from "./access-documents.ts";
import { accessOf, type FieldError, invalidRules } from "./prove-rules.ts";

/** What is asked for, in canonical form. @throws {ApiProblem} 422 with what is wrong, rule by rule or line by line. */
export function wishedAccess(state: ClusterState, request: HbaRequest): AccessSpec {
  const { rules, text, identMaps, identText } = request;
  const before = state.spec.access;
  const isSame = rules === undefined && text === undefined;
  const hba = isSame ? (before?.hba ?? DEFAULT_RULES) : wishedRules(request);
  const maps =
    identMaps === undefined && identText === undefined ? (before?.identMaps ?? []) : wishedMaps(request);
  return accessOf(state, hba, maps);
}

/** @throws {ApiProblem} 422 with what is wrong, rule by rule or line by line. */
export function wishedRules({ rules, text }: Pick<HbaRequest, "rules" | "text">): readonly HbaRule[] {
  if (rules !== undefined && text !== undefined)
    throw invalidRules([{ field: "text", message: "rules are given too" }]);
  if (text !== undefined) return fromText(parseHba(text), "text");
  return canonicalRules(rules ?? [], "rules", checkUnmasked);
}

/** In canonical form. What was shown to somebody who may not see secrets is no rule. */
export function checkUnmasked(rule: HbaRule): Result<HbaRule, string> {
  const masked = Object.entries(rule.options ?? {}).find(
    ([name, value]) => SECRET_OPTIONS.has(name) && value === MASK,
  );
  return masked === undefined
    ? checkRule(rule)
    : err(`the value of ${masked[0]} is a mask; send the secret itself`);
}

/** @throws {ApiProblem} 422 with all that is wrong, rule by rule, under the name of the field that holds them. */
export function canonicalRules(
  rules: readonly HbaRule[],
  field: string,
  check: (rule: HbaRule) => Result<HbaRule, string> = checkRule,
): readonly HbaRule[] {
  return fromList(rules, field, check);
}

/** @throws {ApiProblem} 422 as of rules. */
export function canonicalMaps(maps: readonly IdentMap[], field: string): readonly IdentMap[] {
  return fromList(maps, field, checkIdentMap);
}

function wishedMaps({ identMaps, identText }: HbaRequest): readonly IdentMap[] {
  if (identMaps !== undefined && identText !== undefined)
    throw invalidRules([{ field: "identText", message: "identMaps are given too" }]);
  const maps =
    identText === undefined
      ? canonicalMaps(identMaps ?? [], "identMaps")
      : fromText(parseIdent(identText), "identText");
  if (maps.length > IDENT_MAPS_MAX)
    throw invalidRules([{ field: "identText", message: `there are more than ${IDENT_MAPS_MAX} lines` }]);
  return maps;
}

function fromText<T>(
  parsed: Result<readonly T[], readonly { readonly line: number; readonly message: string }[]>,
  field: string,
): readonly T[] {
  if (parsed.ok) return parsed.value;
  throw invalidRules(parsed.error.map(({ line, message }) => ({ field: `${field}:${line}`, message })));
}

function fromList<I, O>(
  items: readonly I[],
  field: string,
  check: (item: I) => Result<O, string>,
): readonly O[] {
  const errors: FieldError[] = [];
  const checked = items.flatMap((item, index) => {
    const result = check(item);
    if (!result.ok) errors.push({ field: `${field}.${index + 1}`, message: result.error });
    return result.ok ? [result.value] : [];
  });
  if (errors.length > 0) throw invalidRules(errors);
  return checked;
}
