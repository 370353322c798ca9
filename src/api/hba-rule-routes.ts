import { Elysia, t } from "elysia";
import type { Result } from "../base/result.ts";
import {
  RuleFinder,
  type RulePlace,
  type RuleProblem,
  type RuleReference,
  ruleAdded,
  ruleChanged,
} from "../cluster/hba-edit.ts";
import { DEFAULT_RULES } from "../cluster/hba-own.ts";
import type { HbaRule } from "../cluster/hba-rule.ts";
import type { ClusterState } from "../cluster/state.ts";
import {
  HbaRuleAdditionSchema,
  type HbaRuleChange,
  HbaRuleChangeSchema,
  HbaRuleShownSchema,
  HbaSchema,
} from "./access-documents.ts";
import { changeAccess, dryRunQuery } from "./change-access.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeHba } from "./describe-hba.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { accessOf, invalidRules } from "./prove-rules.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";
import { canonicalRules, checkUnmasked } from "./wished-rules.ts";

const PATH = "/v1/access/hba/rules";
const ruleParams = t.Object({
  rule: t.String({
    pattern: "^([a-z][a-z0-9_.-]{0,39}|[1-9][0-9]{0,4})$",
    description: "Name of the rule, or its number in the list as it is now",
  }),
});

const RETRIED =
  "Through the checks of the whole list: every PostgreSQL that answers reads all rules first, and `warnings` says what is hardly meant. Without If-Match it is made again where somebody else was faster; a number goes on meaning the rule that it stood for when the request came.";

/** Single rules of the ordered list. */
export function hbaRuleRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      `${PATH}/:rule`,
      async ({ params, query, request, set }) => {
        const sight = await lookWith(ports, query);
        const index = found(new RuleFinder().find(rulesOf(sight.state), referenceOf(params.rule)));
        set.headers["etag"] = etagOf(sight.state);
        const { generation, rules } = describeHba(sight, callerOf(request));
        const rule = rules[index];
        if (rule === undefined) throw new Error(`there is no rule at ${index}`);
        return { generation, rule };
      },
      {
        params: ruleParams,
        query: consistencyQuery,
        response: { 200: HbaRuleShownSchema },
        detail: describeRoute("viewer", "access", "One rule for connections"),
      },
    )
    .post(
      PATH,
      async ({ body, query, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "hba-rule-add" };
        const { at, before, after, ...rule } = body;
        const place = placeOf({ at, before, after }) ?? { kind: "end" };
        const finder = new RuleFinder();
        const isDryRun = query.dryRun === "true";
        const changed = await changeAccess(ports, asked, isDryRun, (state) =>
          edited(state, (rules) => found(ruleAdded(rules, checked(rule), { place, finder }))),
        );
        set.headers["etag"] = changed.etag;
        set.status = isDryRun ? 200 : 201;
        return changed.hba;
      },
      {
        body: HbaRuleAdditionSchema,
        query: dryRunQuery,
        headers: specChangeHeaders,
        response: { 200: HbaSchema, 201: HbaSchema },
        detail: describeRoute("access", "access", "Add one rule for connections", RETRIED),
      },
    )
    .patch(
      `${PATH}/:rule`,
      async ({ params, body, query, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `hba-rule ${params.rule}` };
        const { at, before, after, ...change } = body;
        const place = placeOf({ at, before, after });
        const finder = new RuleFinder();
        const changed = await changeAccess(ports, asked, query.dryRun === "true", (state) =>
          edited(state, (rules) => {
            const index = found(finder.find(rules, referenceOf(params.rule)));
            const rule = changedRule(rules[index], change);
            return found(ruleChanged(rules, { index, rule }, place === null ? null : { place, finder }));
          }),
        );
        set.headers["etag"] = changed.etag;
        return changed.hba;
      },
      {
        params: ruleParams,
        body: HbaRuleChangeSchema,
        query: dryRunQuery,
        headers: specChangeHeaders,
        response: { 200: HbaSchema },
        detail: describeRoute("access", "access", "Change one rule for connections, or move it", RETRIED),
      },
    )
    .delete(
      `${PATH}/:rule`,
      async ({ params, query, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `hba-rule-delete ${params.rule}` };
        const finder = new RuleFinder();
        const changed = await changeAccess(ports, asked, query.dryRun === "true", (state) =>
          edited(state, (rules) => rules.toSpliced(found(finder.find(rules, referenceOf(params.rule))), 1)),
        );
        set.headers["etag"] = changed.etag;
        return changed.hba;
      },
      {
        params: ruleParams,
        query: dryRunQuery,
        headers: specChangeHeaders,
        response: { 200: HbaSchema },
        detail: describeRoute("access", "access", "Remove one rule for connections", RETRIED),
      },
    );
}

function rulesOf({ spec }: ClusterState): readonly HbaRule[] {
  return spec.access?.hba ?? DEFAULT_RULES;
}

/** Maps stay as they are. */
function edited(state: ClusterState, edit: (rules: readonly HbaRule[]) => readonly HbaRule[]) {
  return accessOf(state, edit(rulesOf(state)), state.spec.access?.identMaps ?? []);
}

/** In canonical form. @throws {ApiProblem} 422 */
function checked(rule: HbaRule): HbaRule {
  const [canonical] = canonicalRules([rule], "rule", checkUnmasked);
  if (canonical === undefined) throw new Error("one rule comes to one");
  return canonical;
}

/** Null: the rule stays where it is. @throws {ApiProblem} 422 where several are named. */
function placeOf({
  at,
  before,
  after,
}: {
  readonly at?: number | undefined;
  readonly before?: RuleReference | undefined;
  readonly after?: RuleReference | undefined;
}): RulePlace | null {
  const places: RulePlace[] = [
    ...(at === undefined ? [] : [{ kind: "at", number: at } as const]),
    ...(before === undefined ? [] : [{ kind: "before", rule: before } as const]),
    ...(after === undefined ? [] : [{ kind: "after", rule: after } as const]),
  ];
  const [place, second] = places;
  if (second !== undefined)
    throw invalidRules([{ field: second.kind, message: `the place is said by ${place?.kind} already` }]);
  return place ?? null;
}

/** What is named changes, null takes it out. @throws {ApiProblem} 422 */
function changedRule(
  present: HbaRule | undefined,
  change: Omit<HbaRuleChange, "at" | "before" | "after">,
): HbaRule {
  if (present === undefined) throw new Error("the rule was found before");
  const merged = Object.entries({ ...present, ...change }).filter(([, value]) => value != null);
  return checked(Object.fromEntries(merged) as unknown as HbaRule);
}

function referenceOf(text: string): RuleReference {
  return /^[0-9]/.test(text) ? Number(text) : text;
}

/** @throws {ApiProblem} 404 for no such rule, 422 for no such place, 409 where the rule that was meant is gone. */
function found<T>(result: Result<T, RuleProblem>): T {
  if (result.ok) return result.value;
  const { kind, message } = result.error;
  if (kind === "no-place") throw invalidRules([{ field: "place", message }]);
  const isUnknown = kind === "rule-unknown";
  throw new ApiProblem({
    status: isUnknown ? 404 : 409,
    code: isUnknown ? "rule-unknown" : "stale-rule",
    detail: `${message[0]?.toUpperCase()}${message.slice(1)}. Nothing was changed.`,
    hint: "'guacamole hba show' lists the rules with their numbers and names.",
  });
}
