/** The rules that are guacamole's own, and those that apply where nobody said anything. */
import type { AccessSpec, HbaRole, HbaRule } from "./hba-rule.ts";
import { renderIdentLine, renderRule } from "./hba-text.ts";
import type { AccessLines } from "./managed-settings.ts";

/** The role members use among themselves. Its only way in is a member's certificate. */
export const REPLICATION_ROLE = "guacamole_replicator";

const SUPERUSER_MAP = { map: "guacamole" };
const MEMBER_MAP = { map: "guacamole_members" };

function rule(
  type: HbaRule["type"],
  database: string,
  user: string,
  method: string,
  options?: HbaRule["options"],
): HbaRule {
  const address = type === "local" ? {} : { address: "all" };
  const optional = options === undefined ? {} : { options };
  return { type, databases: [database], users: [user], ...address, method, ...optional };
}

/**
 * They come first, so that no rule of anybody's keeps members out: the superuser from this host, members by certificate, and
 * the members' role in no other way.
 */
export const OWN_RULES: readonly HbaRule[] = [
  rule("local", "all", "postgres", "peer", SUPERUSER_MAP),
  rule("local", "replication", "postgres", "peer", SUPERUSER_MAP),
  rule("local", "all", REPLICATION_ROLE, "reject"),
  rule("local", "replication", REPLICATION_ROLE, "reject"),
  rule("hostssl", "replication", REPLICATION_ROLE, "cert", MEMBER_MAP),
  rule("hostssl", "postgres", REPLICATION_ROLE, "cert", MEMBER_MAP),
  rule("host", "all", REPLICATION_ROLE, "reject"),
  rule("host", "replication", REPLICATION_ROLE, "reject"),
];

/** Applications by password, and nobody else replicates. */
export const DEFAULT_RULES: readonly HbaRule[] = [
  rule("local", "all", "all", "scram-sha-256"),
  rule("host", "replication", "all", "reject"),
  rule("host", "all", "all", "scram-sha-256"),
];

/** The rules for applications that are wanted on a member, in order. */
export function rulesFor(
  access: AccessSpec | undefined,
  member: { readonly role: HbaRole; readonly name: string },
): readonly HbaRule[] {
  if (access === undefined) return DEFAULT_RULES;
  return access.hba.filter(
    ({ roles, members }) =>
      (roles === undefined || roles.includes(member.role)) &&
      (members === undefined || members.includes(member.name)),
  );
}

interface KnownLines {
  readonly role: HbaRole;
  readonly name: string;
  readonly lines: AccessLines;
}

/** A member asks for its lines at each look, and thousands of them are written once. */
const known = new WeakMap<AccessSpec, KnownLines>();

/** The same as lines; null where nobody said anything. The same object for as long as they are the same. */
export function accessLinesFor(
  access: AccessSpec | undefined,
  member: { readonly role: HbaRole; readonly name: string },
): AccessLines | null {
  if (access === undefined) return null;
  const before = known.get(access);
  if (before?.role === member.role && before.name === member.name) return before.lines;
  const { role, name } = member;
  const lines = writeLines(access, { role, name });
  known.set(access, { role, name, lines });
  return lines;
}

function writeLines(
  access: AccessSpec,
  member: { readonly role: HbaRole; readonly name: string },
): AccessLines {
  const { revision, identMaps = [] } = access;
  const hba = rulesFor(access, member).flatMap(renderRule);
  return { revision, hba, identMaps: identMaps.map(renderIdentLine) };
}
