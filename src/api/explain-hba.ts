import { isAddress, meetRule } from "../cluster/hba-match.ts";
import { DEFAULT_RULES, OWN_RULES, rulesFor } from "../cluster/hba-own.ts";
import type { HbaRole, HbaRule } from "../cluster/hba-rule.ts";
import { renderRuleLine } from "../cluster/hba-text.ts";
import { memberById, memberName } from "../cluster/state.ts";
import type { HbaExplainRequest, HbaExplanationDocument } from "./access-documents.ts";
import { ApiProblem } from "./problem.ts";
import { type Sight, statusOf } from "./sight.ts";

type Placed = NonNullable<HbaExplanationDocument["rule"]>;

/**
 * Which rule a connection would meet on a member; on the primary where none is named.
 *
 * @param wished instead of the rules that are agreed; null: those.
 */
export function explainHba(
  sight: Sight,
  request: HbaExplainRequest,
  wished: readonly HbaRule[] | null,
): HbaExplanationDocument {
  const { user, database = user, isReplication = false, address, encryption = "none", memberOf } = request;
  if (address !== undefined && !isAddress(address)) throw invalid("address", "an IP address is wanted");
  if (address === undefined && encryption !== "none")
    throw invalid("encryption", "the Unix socket has none; give an address");
  const { member, role, major } = placeOf(sight, request.member);
  const all = wished ?? sight.state.spec.access?.hba ?? DEFAULT_RULES;
  const inForce = rulesFor({ revision: 0, hba: all }, { role, name: member ?? "" });
  const placed: readonly Placed[] = [
    ...OWN_RULES.map((rule, index) => place(rule, index + 1, "guacamole")),
    ...inForce.map((rule) => place(rule, all.indexOf(rule) + 1, "cluster")),
  ];
  const network = address === undefined ? null : { address, encryption };
  const met = meetRule(
    [...OWN_RULES, ...inForce],
    { user, database, isReplication, network },
    { major, memberOf: memberOf ?? null },
  );
  const rule = met.index === null ? null : (placed[met.index] ?? null);
  const open = met.open.flatMap(({ index, unknown }) => {
    const each = placed[index];
    return each === undefined ? [] : [{ rule: each, unknown }];
  });
  const outcome = open.length > 0 ? "depends" : rule === null ? "no-rule" : "rule";
  return { outcome, sentence: sentenceOf(rule, open), rule, open, member, role };
}

/** The member that is asked about, its role now, and which PostgreSQL it has. */
function placeOf(
  sight: Sight,
  name: string | undefined,
): { readonly member: string | null; readonly role: HbaRole; readonly major: number | null } {
  const { state } = sight;
  const primaryId = state.reign?.primaryId ?? null;
  const member =
    name === undefined
      ? primaryId === null
        ? undefined
        : memberById(state, primaryId)
      : state.members.find((each) => each.name === name);
  if (name !== undefined && member === undefined)
    throw new ApiProblem({ status: 404, code: "member-unknown", detail: `There is no member '${name}'.` });
  if (member !== undefined && member.kind !== "data")
    throw new ApiProblem({
      status: 409,
      code: "member-unsuitable",
      detail: `${member.name} has no PostgreSQL.`,
    });
  return {
    member: member === undefined ? null : memberName(state, member.id),
    role: member === undefined || member.id === primaryId ? "primary" : "standby",
    major: member === undefined ? null : (statusOf(sight, member.id)?.postgresMajor ?? null),
  };
}

function place(rule: HbaRule, number: number, origin: Placed["origin"]): Placed {
  return { number, origin, method: rule.method, text: renderRuleLine(rule) };
}

function sentenceOf(rule: Placed | null, open: HbaExplanationDocument["open"]): string {
  const otherwise =
    rule === null ? "No rule fits: it is refused" : `It meets ${nameOf(rule)}: ${outcomeOf(rule)}`;
  if (open.length === 0) return `${otherwise}.`;
  const may = open
    .map((each) => `${nameOf(each.rule)} (${outcomeOf(each.rule)}): ${each.unknown}`)
    .join("; ");
  return `It depends on what only the server knows. It may meet ${may}. Otherwise: ${otherwise}.`;
}

function nameOf({ number, origin }: Placed): string {
  return origin === "guacamole" ? `guacamole's own rule ${number}` : `rule ${number}`;
}

function outcomeOf({ method }: Placed): string {
  if (method === "reject") return "it is refused";
  if (method === "trust") return "it is let in without proof";
  return `${method} decides`;
}

function invalid(field: string, message: string): ApiProblem {
  return new ApiProblem({ status: 422, code: "invalid-request", detail: `${field}: ${message}.` });
}
