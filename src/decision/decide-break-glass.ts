/**
 * Break-glass access, decided: what a member does about it on its host, and when the leader says that it is over. Pure.
 *
 * The order is what makes it safe. Nobody is let in before the supervisor holds the end of it in its hands, and a role without a
 * grant that stands here and now is removed, whoever made it and wherever it came from.
 */

import type { MemberId } from "../base/ids.ts";
import {
  APPROVAL_MS_MAX,
  type BreakGlassGrant,
  type BreakGlassRole,
  type BreakGlassStatus,
  expiresAtMs,
  type GuardedGrant,
  type GuardedStatus,
  isOpen,
} from "../cluster/break-glass.ts";
import type { Change } from "../cluster/command.ts";
import type { LocalAccess } from "../cluster/local-access.ts";
import type { ClusterState } from "../cluster/state.ts";

export interface BreakGlassView {
  readonly grants: readonly BreakGlassGrant[];
  /** What the supervisor holds to its time; null: it cannot be asked, or is of a release that knows no such thing. */
  readonly guarded: readonly GuardedStatus[] | null;
  /** For how long this member has known each grant to be open, by its own clock. */
  readonly knownMs: (grantId: string) => number;
  /** This member reigns, as is agreed, and its PostgreSQL takes writes. */
  readonly isPrimary: boolean;
  /** The roles of the prefix; null: they were not looked at. */
  readonly roles: readonly BreakGlassRole[] | null;
  readonly nowWallMs: number;
}

export type BreakGlassStep =
  | { readonly kind: "guard"; readonly grants: readonly GuardedGrant[]; readonly reason: string }
  | {
      readonly kind: "open-role";
      readonly role: string;
      readonly verifier: string;
      readonly validUntilMs: number;
      readonly reason: string;
    }
  | { readonly kind: "close-role"; readonly role: string; readonly reason: string };

/** For so long after its end the rules still name a role, to refuse it. */
const REMEMBERED_MS = 3_600_000;

/** What to do now, in this order. Each step is harmless if it is done again. */
export function decideBreakGlass(view: BreakGlassView): readonly BreakGlassStep[] {
  return [...decideGuard(view), ...decideRoles(view)];
}

function decideGuard({ grants, guarded, knownMs, nowWallMs }: BreakGlassView): readonly BreakGlassStep[] {
  if (guarded === null) return [];
  const wanted = grants.flatMap((grant) => {
    const until = expiresAtMs(grant);
    const isForgotten = grant.ended !== null && nowWallMs - grant.ended.atMs > REMEMBERED_MS;
    if (until === null || isForgotten) return [];
    const { id, role, address, durationMs, ended } = grant;
    return [
      { id, role, address, durationMs, expiresAtMs: until, isOver: ended !== null, knownMs: knownMs(id) },
    ];
  });
  const isSame =
    guarded.length === wanted.length &&
    wanted.every((grant) =>
      isAsWanted(
        grant,
        guarded.find(({ id }) => id === grant.id),
      ),
    );
  return isSame
    ? []
    : [{ kind: "guard", grants: wanted, reason: "the supervisor is to know what is agreed" }];
}

function isAsWanted(wanted: GuardedGrant, status: GuardedStatus | undefined): boolean {
  if (status === undefined || status.durationMs !== wanted.durationMs) return false;
  return status.expiresAtMs === wanted.expiresAtMs && (!wanted.isOver || status.remainingMs === null);
}

function decideRoles(view: BreakGlassView): readonly BreakGlassStep[] {
  const { isPrimary, roles, grants } = view;
  if (!isPrimary || roles === null) return [];
  const standing = grants.filter((grant) => stands(view, grant));
  const closing = roles.flatMap(({ name }): BreakGlassStep[] =>
    standing.some(({ role }) => role === name)
      ? []
      : [{ kind: "close-role", role: name, reason: whyNone(view, name) }],
  );
  const opening = standing.flatMap((grant): BreakGlassStep[] => {
    const validUntilMs = expiresAtMs(grant);
    const found = roles.find(({ name }) => name === grant.role);
    if (grant.verifier === null || validUntilMs === null) return [];
    if (found?.isOpen === true && found.validUntilMs === validUntilMs) return [];
    const reason = found === undefined ? "it is agreed" : "it is not as is agreed";
    return [{ kind: "open-role", role: grant.role, verifier: grant.verifier, validUntilMs, reason }];
  });
  return [...closing, ...opening];
}

/** It is open as agreed, and the supervisor of this host holds it to a time that is not over. */
function stands({ guarded, nowWallMs }: BreakGlassView, grant: BreakGlassGrant): boolean {
  const held = guarded?.find(({ id }) => id === grant.id);
  return isOpen(grant) && nowWallMs < (expiresAtMs(grant) ?? 0) && held?.remainingMs != null;
}

function whyNone({ grants, guarded }: BreakGlassView, role: string): string {
  const grant = grants.find((each) => each.role === role);
  if (grant === undefined) return "no grant is known for it";
  if (grant.ended !== null) return `its grant has ended: ${grant.ended.why}`;
  const why = guarded?.find(({ id }) => id === grant.id)?.why;
  return why ?? "nobody here holds it to its time yet";
}

/** What the leader notes: a grant whose time is over by its wall clock, or by the clock of the primary's host. Null: nothing. */
export function decideEnd(
  grants: readonly BreakGlassGrant[],
  primary: BreakGlassStatus | undefined,
  nowWallMs: number,
): Change | null {
  for (const grant of grants) {
    if (grant.ended !== null) continue;
    const until = expiresAtMs(grant);
    if (until === null && nowWallMs - grant.requestedAtMs >= APPROVAL_MS_MAX)
      return { kind: "end-break-glass", grantId: grant.id, why: "not-approved" };
    const held = primary?.grants.find(({ id }) => id === grant.id);
    const isOverThere = held?.remainingMs === null && held.durationMs === grant.durationMs;
    if (until !== null && (nowWallMs >= until || isOverThere))
      return { kind: "end-break-glass", grantId: grant.id, why: "expired" };
  }
  return null;
}

/** Of what was found on a host: what is agreed by now, and what is to be. */
export function decideLocalAccess(
  { localAccess = [] }: ClusterState,
  memberId: MemberId,
  found: readonly LocalAccess[],
): { readonly told: readonly string[]; readonly changes: readonly Change[] } {
  const isNoted = ({ id }: LocalAccess) => localAccess.some((noted) => noted.id === id);
  return {
    told: found.filter(isNoted).map(({ id }) => id),
    changes: found
      .filter((access) => !isNoted(access))
      .map((access) => ({ kind: "note-local-access", access: { ...access, memberId } })),
  };
}
