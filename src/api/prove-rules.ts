/** Rules for connections before they are agreed: what is wrong with them, and whether PostgreSQL itself takes them. */
import { type AccessTrial, describeFault } from "../cluster/access-trial.ts";
import { sameName } from "../cluster/hba-edit.ts";
import { type AccessSpec, type HbaRule, type IdentMap, RULES_MAX } from "../cluster/hba-rule.ts";
import { renderIdentLine, renderRuleLine } from "../cluster/hba-text.ts";
import type { AccessLines } from "../cluster/managed-settings.ts";
import type { Member } from "../cluster/member.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { HbaDocument } from "./access-documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { isUnreachable, type Sight } from "./sight.ts";

/** Rules and maps in canonical form as what is wanted next. @throws {ApiProblem} 422 where a rule names no member, or two have one name. */
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
  if (strangers.length > 0) throw invalidRules(strangers);
  const same = sameName(hba);
  if (same !== null)
    throw invalidRules([
      { field: `rules.${same.second}`, message: `rule ${same.first} is called '${same.name}' already` },
    ]);
  if (hba.length > RULES_MAX)
    throw invalidRules([{ field: "rules", message: `there are more than ${RULES_MAX}` }]);
  return { revision: state.generation + 1, hba, ...(maps.length === 0 ? {} : { identMaps: maps }) };
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

export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** @throws nothing: the 422 that says what is wrong, field by field. */
export function invalidRules(errors: readonly FieldError[]): ApiProblem {
  const [first] = errors;
  const more = errors.length > 1 ? `; and ${errors.length - 1} more` : "";
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${first?.field}: ${first?.message}${more}. Nothing was changed.`,
    errors,
  });
}
