/** The rules for connections as a document. */
import { lintRules } from "../cluster/hba-lint.ts";
import { DEFAULT_RULES, OWN_RULES } from "../cluster/hba-own.ts";
import { type HbaRule, SECRET_OPTIONS } from "../cluster/hba-rule.ts";
import { renderHbaText, renderRuleLine } from "../cluster/hba-text.ts";
import type { Member } from "../cluster/member.ts";
import { MASK } from "../cluster/secrets.ts";
import { type Caller, mayDo } from "./access.ts";
import type { HbaDocument } from "./access-documents.ts";
import { isUnreachable, type Sight, statusOf } from "./sight.ts";

/** Secrets are shown to those who may change them. */
export function describeHba(sight: Sight, caller: Caller): HbaDocument {
  const { state } = sight;
  const { access } = state.spec;
  const maySee = mayDo(caller.scopes, "access");
  const agreed = access?.hba ?? DEFAULT_RULES;
  const rules = maySee ? agreed : agreed.map(masked);
  return {
    generation: state.generation,
    isDefault: access === undefined,
    ownRules: numbered(OWN_RULES),
    rules: numbered(rules),
    identMaps: (access?.identMaps ?? []).map((map) => ({ ...map })),
    text: renderHbaText(rules),
    warnings: lintRules(agreed, oldestMajor(sight)).map((warning) => ({ ...warning })),
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
