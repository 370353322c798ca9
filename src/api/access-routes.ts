import { Elysia, t } from "elysia";
import { err, type Result } from "../base/result.ts";
import { type AccessTrial, describeFault } from "../cluster/access-trial.ts";
import type { Change } from "../cluster/command.ts";
import { lintRules } from "../cluster/hba-lint.ts";
import { DEFAULT_RULES, OWN_RULES } from "../cluster/hba-own.ts";
import {
  type AccessSpec,
  checkIdentMap,
  checkRule,
  type HbaRule,
  IDENT_MAPS_MAX,
  type IdentMap,
  SECRET_OPTIONS,
} from "../cluster/hba-rule.ts";
import { parseHba, parseIdent, renderHbaText, renderIdentLine, renderRuleLine } from "../cluster/hba-text.ts";
import type { AccessLines } from "../cluster/managed-settings.ts";
import type { Member } from "../cluster/member.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { Caller } from "./access.ts";
import {
  type HbaDocument,
  HbaExplainRequestSchema,
  HbaExplanationSchema,
  type HbaRequest,
  HbaRequestSchema,
  HbaSchema,
} from "./access-documents.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { explainHba } from "./explain-hba.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute, TAKES_TEXT_KEY } from "./route-context.ts";
import { isUnreachable, look, type Sight, statusOf } from "./sight.ts";
import { etagOf, requireMatch, specChangeHeaders } from "./spec-version.ts";
import { requireUnderstood, submit, wishOf } from "./submit.ts";

/** Who may connect to PostgreSQL, besides members. */
export function accessRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/access/hba",
      async ({ query, request, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeHba(sight, callerOf(request));
      },
      {
        query: consistencyQuery,
        response: { 200: HbaSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "The rules for connections (pg_hba.conf), and where they are in force",
          "Values that are secrets are shown as *** to those who may not change them.",
        ),
      },
    )
    .put(
      "/v1/access/hba",
      async ({ body, query, request, headers, set }) => {
        const caller = callerOf(request);
        const wish = wishOf(ports, caller, "hba", headers["idempotency-key"] ?? null);
        const sight = look(ports);
        const { state } = sight;
        const generation = requireMatch(state, headers["if-match"] ?? null);
        const access = wishedAccess(state, body);
        const change: Change = { kind: "change-spec", generation, spec: { ...state.spec, access } };
        requireUnderstood(state, change);
        const tried = await proveRules(ports, sight, access);
        if (query.dryRun === "true") {
          set.headers["etag"] = etagOf(state);
          const wished = { ...sight, state: { ...state, spec: change.spec } };
          return { ...describeHba(wished, caller), tried };
        }
        await submit(ports, wish, change);
        const now = look(ports);
        set.headers["etag"] = etagOf(now.state);
        return { ...describeHba(now, caller), tried };
      },
      {
        body: HbaRequestSchema,
        query: t.Object({
          dryRun: t.Optional(
            t.Union([t.Literal("true"), t.Literal("false")], { description: "Try them, and change nothing" }),
          ),
        }),
        headers: specChangeHeaders,
        response: { 200: HbaSchema },
        detail: {
          ...describeRoute(
            "access",
            "access",
            "Set the rules for connections, all of them, in order",
            "They replace what lets applications in; guacamole's own rules stay before them. The PostgreSQL of each member that answers reads them first: one that does not take them, and nothing is changed anywhere. The body may also be a pg_hba.conf, as text/plain.",
          ),
          [TAKES_TEXT_KEY]: true,
        },
      },
    )
    .delete(
      "/v1/access/hba",
      async ({ request, headers, set }) => {
        const caller = callerOf(request);
        const wish = wishOf(ports, caller, "hba-default", headers["idempotency-key"] ?? null);
        const { state } = look(ports);
        const generation = requireMatch(state, headers["if-match"] ?? null);
        const { access: _, ...spec } = state.spec;
        await submit(ports, wish, { kind: "change-spec", generation, spec });
        const now = look(ports);
        set.headers["etag"] = etagOf(now.state);
        return describeHba(now, caller);
      },
      {
        headers: specChangeHeaders,
        response: { 200: HbaSchema },
        detail: describeRoute(
          "access",
          "access",
          "Go back to the rules that apply where nobody says anything",
          "Applications by password from everywhere, nobody else replicates; maps are gone too.",
        ),
      },
    )
    .post(
      "/v1/access/hba/explain",
      ({ body }) => {
        const sight = look(ports);
        const wished = body.rules === undefined && body.text === undefined ? null : wishedRules(body);
        return explainHba(sight, body, wished);
      },
      {
        body: HbaExplainRequestSchema,
        response: { 200: HbaExplanationSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "Which rule a connection would meet",
          "As PostgreSQL decides it: the first rule that fits, and none means no. Also for rules that are not agreed yet.",
        ),
      },
    );
}

/** What is asked for, in canonical form. @throws {ApiProblem} 422 with what is wrong, rule by rule or line by line. */
function wishedAccess(state: ClusterState, request: HbaRequest): AccessSpec {
  const { rules, text, identMaps, identText } = request;
  const before = state.spec.access;
  const isSame = rules === undefined && text === undefined;
  const hba = isSame ? (before?.hba ?? DEFAULT_RULES) : wishedRules(request);
  const maps =
    identMaps === undefined && identText === undefined ? (before?.identMaps ?? []) : wishedMaps(request);
  return accessOf(state, hba, maps);
}

/** Rules and maps in canonical form as what is wanted next. @throws {ApiProblem} 422 where a rule names no member. */
export function accessOf(
  state: ClusterState,
  hba: readonly HbaRule[],
  maps: readonly IdentMap[],
): AccessSpec {
  const known = new Set(state.members.map(({ name }) => name));
  const strangers = hba.flatMap((rule, index) =>
    (rule.members ?? [])
      .filter((name) => !known.has(name))
      .map((name) => ({ field: `rules.${index + 1}`, message: `there is no member '${name}'` })),
  );
  if (strangers.length > 0) throw invalid(strangers);
  return { revision: state.generation + 1, hba, ...(maps.length === 0 ? {} : { identMaps: maps }) };
}

function wishedRules({ rules, text }: Pick<HbaRequest, "rules" | "text">): readonly HbaRule[] {
  if (rules !== undefined && text !== undefined)
    throw invalid([{ field: "text", message: "rules are given too" }]);
  if (text !== undefined) return fromText(parseHba(text), "text");
  return canonicalRules(rules ?? [], "rules", (rule) => {
    const masked = Object.entries(rule.options ?? {}).find(
      ([name, value]) => SECRET_OPTIONS.has(name) && value === MASK,
    );
    return masked === undefined
      ? checkRule(rule)
      : err(`the value of ${masked[0]} is a mask; send the secret itself`);
  });
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
    throw invalid([{ field: "identText", message: "identMaps are given too" }]);
  const maps =
    identText === undefined
      ? canonicalMaps(identMaps ?? [], "identMaps")
      : fromText(parseIdent(identText), "identText");
  if (maps.length > IDENT_MAPS_MAX)
    throw invalid([{ field: "identText", message: `there are more than ${IDENT_MAPS_MAX} lines` }]);
  return maps;
}

function fromText<T>(
  parsed: Result<readonly T[], readonly { readonly line: number; readonly message: string }[]>,
  field: string,
): readonly T[] {
  if (parsed.ok) return parsed.value;
  throw invalid(parsed.error.map(({ line, message }) => ({ field: `${field}:${line}`, message })));
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
  if (errors.length > 0) throw invalid(errors);
  return checked;
}

interface FieldError {
  readonly field: string;
  readonly message: string;
}

function invalid(errors: readonly FieldError[]): ApiProblem {
  const [first] = errors;
  const more = errors.length > 1 ? `; and ${errors.length - 1} more` : "";
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${first?.field}: ${first?.message}${more}. Nothing was changed.`,
    errors,
  });
}

/**
 * Has the PostgreSQL of each member that answers read the rules, all of them: also those that are for others, or for another
 * role, since a line means what it means by itself.
 *
 * @throws {ApiProblem} 422 where one does not take them, 503 where none could be asked.
 */
export async function proveRules(
  ports: ApiPorts,
  sight: Sight,
  access: AccessSpec,
): Promise<HbaDocument["tried"]> {
  const { state } = sight;
  if (state.systemIdentifier === null) {
    throw new ApiProblem({
      status: 409,
      code: "not-initialized",
      detail: "There is no PostgreSQL yet that could read the rules. Nothing was changed.",
      hint: "'guacamole init' builds one.",
    });
  }
  const lines: AccessLines = {
    revision: access.revision,
    hba: access.hba.map(renderRuleLine),
    identMaps: (access.identMaps ?? []).map(renderIdentLine),
  };
  const asked = state.members.filter(({ kind, isLeaving }) => kind === "data" && isLeaving !== true);
  const trials = await Promise.all(
    asked.map(async (member) => ({ member, trial: await tryOn(ports, sight, member, lines) })),
  );
  const errors = trials.flatMap(({ member, trial }) => refusals(member, trial, lines));
  if (errors.length > 0) {
    const [first] = errors;
    throw new ApiProblem({
      status: 422,
      code: "hba-refused",
      detail: `${first?.field}: ${first?.message}. Nothing was changed.`,
      hint: "PostgreSQL itself said so. Correct the rules and send them again.",
      errors,
    });
  }
  const tried = trials.map(({ member, trial }) => ({
    member: member.name,
    isGood: trial.kind === "good",
    detail: trial.kind === "untried" ? trial.why : `PostgreSQL ${trial.version} takes them`,
  }));
  if (tried.some(({ isGood }) => isGood)) return tried;
  throw new ApiProblem({
    status: 503,
    code: "hba-untried",
    detail: `No member could have its PostgreSQL read the rules (${tried.map(({ member, detail }) => `${member}: ${detail}`).join("; ")}). Nothing was changed.`,
    hint: "Try again once a member with PostgreSQL is up: 'guacamole status' shows them.",
    headers: { "retry-after": "1" },
  });
}

async function tryOn(
  ports: ApiPorts,
  sight: Sight,
  member: Member,
  lines: AccessLines,
): Promise<AccessTrial> {
  if (isUnreachable(sight, member.id)) return { kind: "untried", why: "it cannot be reached" };
  const tried = await ports.tryAccess(member.id, lines);
  return tried.ok ? tried.value : { kind: "untried", why: tried.error };
}

function refusals(
  member: Member,
  trial: AccessTrial,
  { hba, identMaps }: AccessLines,
): readonly FieldError[] {
  if (trial.kind !== "bad") return [];
  return trial.faults.map((fault) => {
    const rule = hba.indexOf(fault.line ?? "");
    const map = identMaps.indexOf(fault.line ?? "");
    const field = rule !== -1 ? `rules.${rule + 1}` : map !== -1 ? `identMaps.${map + 1}` : "rules";
    return { field, message: `PostgreSQL ${trial.version} of ${member.name} says: ${describeFault(fault)}` };
  });
}

const MASK = "***";

function describeHba(sight: Sight, caller: Caller): HbaDocument {
  const { state } = sight;
  const { access } = state.spec;
  const maySee = caller.scope === "access" || caller.scope === "admin";
  const rules = (access?.hba ?? DEFAULT_RULES).map((rule) => (maySee ? rule : masked(rule)));
  return {
    generation: state.generation,
    isDefault: access === undefined,
    ownRules: numbered(OWN_RULES),
    rules: numbered(rules),
    identMaps: (access?.identMaps ?? []).map((map) => ({ ...map })),
    text: renderHbaText(rules),
    warnings: lintRules(rules, oldestMajor(sight)).map((warning) => ({ ...warning })),
    members: state.members
      .filter(({ kind }) => kind === "data")
      .map((member) => ({ name: member.name, ...whereInForce(sight, member) })),
    tried: [],
  };
}

function whereInForce(
  sight: Sight,
  { id }: Member,
): Pick<HbaDocument["members"][number], "state" | "problem"> {
  const status = statusOf(sight, id);
  if (status === null || isUnreachable(sight, id))
    return { state: "unknown", problem: "nothing is heard of it" };
  if (status.postgres.kind === "unknown") return { state: "unknown", problem: status.postgres.detail };
  const wanted = sight.state.spec.access?.revision ?? null;
  const { revision = null, problem = null, askedRevision = wanted } = status.access ?? {};
  // What was wrong with other rules says nothing of these.
  if (askedRevision !== wanted) return { state: "pending", problem: null };
  if (problem !== null) return { state: "refused", problem };
  return { state: revision === wanted ? "in-force" : "pending", problem: null };
}

/** Of the members that say which PostgreSQL they have; null: none does. */
function oldestMajor(sight: Sight): number | null {
  const majors = sight.state.members.flatMap(({ id }) => statusOf(sight, id)?.postgresMajor ?? []);
  return majors.length === 0 ? null : Math.min(...majors);
}

function numbered(rules: readonly HbaRule[]): HbaDocument["rules"] {
  return rules.map(({ databases, users, roles, members, options, ...rest }, index) => ({
    number: index + 1,
    ...rest,
    databases: [...databases],
    users: [...users],
    ...(options === undefined ? {} : { options: { ...options } }),
    ...(roles === undefined ? {} : { roles: [...roles] }),
    ...(members === undefined ? {} : { members: [...members] }),
    text: renderRuleLine({ ...rest, databases, users, ...(options === undefined ? {} : { options }) }),
  }));
}

function masked(rule: HbaRule): HbaRule {
  if (rule.options === undefined) return rule;
  const options = Object.entries(rule.options).map(([name, value]) => [
    name,
    SECRET_OPTIONS.has(name) ? MASK : value,
  ]);
  return { ...rule, options: Object.fromEntries(options) };
}
