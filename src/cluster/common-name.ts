import { type MemberId, parseMemberId } from "../base/ids.ts";
import { err, type Result } from "../base/result.ts";

/** How the common names of members' certificates begin; the id follows. */
export const MEMBER_NAME_PREFIX = "guacamole-member-";

/** The common name in a member's certificate: what PostgreSQL's `pg_ident.conf` maps and peers compare. */
export function commonNameOf(memberId: MemberId): string {
  return `${MEMBER_NAME_PREFIX}${memberId}`;
}

/** The member that a common name names, or why it names none. */
export function memberIdOf(commonName: string): Result<MemberId, string> {
  if (!commonName.startsWith(MEMBER_NAME_PREFIX)) return err(`'${commonName}' is not a member's common name`);
  return parseMemberId(commonName.slice(MEMBER_NAME_PREFIX.length));
}
