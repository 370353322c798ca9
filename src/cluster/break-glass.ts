/**
 * Break-glass access: a superuser for a person, for a while (`roadmap/0008-break-glass.md`). What is agreed about it, and what
 * the supervisor of each member is given to hold it to its time.
 */
import { isIdentityAuthor } from "./identity.ts";
import type { ClusterSpec } from "./spec.ts";
import type { ApiToken, ClusterState } from "./state.ts";

/** Every role of this prefix is ours: one without a grant that stands is removed. */
export const BREAK_GLASS_PREFIX = "guacamole_bg_";

export interface BreakGlassGrant {
  readonly id: string;
  /** Made for this grant alone. */
  readonly role: string;
  /** SCRAM-SHA-256, of a password that is shown once and kept nowhere. Null: it has ended. */
  readonly verifier: string | null;
  readonly reason: string;
  /** Who asked: a token's id, or `local`. */
  readonly by: string;
  /** The only address from which the role is let in, as CIDR. */
  readonly address: string;
  readonly requestedAtMs: number;
  /** From the opening on, extensions included. Each member counts it by its own clock. */
  readonly durationMs: number;
  readonly approvalsNeeded: number;
  readonly approvals: readonly { readonly by: string; readonly atMs: number }[];
  /** Null: it waits for approvals. */
  readonly openedAtMs: number | null;
  readonly extensions: readonly { readonly by: string; readonly atMs: number; readonly durationMs: number }[];
  /** Null: it has not ended. */
  readonly ended: { readonly atMs: number; readonly by: string; readonly why: BreakGlassEnd } | null;
}

export type BreakGlassEnd = "expired" | "revoked" | "not-approved";

/** What is asked of break-glass access. */
export interface BreakGlassPolicy {
  /** So many others must agree before it opens. */
  readonly approvals: number;
  readonly durationMsDefault: number;
  /** No grant lasts longer, extensions included. */
  readonly durationMsMax: number;
}

export const DEFAULT_BREAK_GLASS: BreakGlassPolicy = {
  approvals: 0,
  durationMsDefault: 3_600_000,
  durationMsMax: 86_400_000,
};

export const APPROVALS_MAX = 3;
/** No policy allows more: a week. */
export const DURATION_MS_LIMIT = 7 * 86_400_000;
/** Open ones and those that wait for approvals. */
export const GRANTS_MAX = 5;
/** What has ended is shown until so many others have. */
export const ENDED_GRANTS_KEPT = 20;
/** Whoever is not approved by then asks again. */
export const APPROVAL_MS_MAX = 3_600_000;

/** The policy in force. */
export function breakGlassPolicyOf(spec: ClusterSpec): BreakGlassPolicy {
  return spec.breakGlass ?? DEFAULT_BREAK_GLASS;
}

/** By the wall clock of whoever opened it; null: it is not open yet. A member's own clock may end it earlier, never later. */
export function expiresAtMs({ openedAtMs, durationMs }: BreakGlassGrant): number | null {
  return openedAtMs === null ? null : openedAtMs + durationMs;
}

/** Opened, and not known to have ended. */
export function isOpen(grant: BreakGlassGrant): boolean {
  return grant.openedAtMs !== null && grant.ended === null;
}

/**
 * Whether this asker counts as the one who asked for the grant, so that it cannot approve it: the same token, one that it made,
 * or one that was made since; and whoever is vouched for by an identity provider, where those were changed since. Of the Unix
 * socket it is not known who made what.
 */
export function isSameAsker(state: ClusterState, grant: BreakGlassGrant, by: string): boolean {
  if (by === grant.by) return true;
  if (isIdentityAuthor(by)) return areProvidersChangedSince(state, grant.requestedAtMs);
  const { tokens } = state;
  const token: ApiToken | undefined = tokens.find(({ id }) => id === by);
  const isMadeByAsker = grant.by !== "local" && token?.by === grant.by;
  return token !== undefined && (isMadeByAsker || token.createdAtMs > grant.requestedAtMs);
}

/** As far as the versions that are kept tell: where they do not reach back so far, it is taken for so. */
function areProvidersChangedSince({ specHistory = [] }: ClusterState, sinceMs: number): boolean {
  const [oldest] = specHistory;
  const isOlderForgotten = oldest !== undefined && oldest.atMs > sinceMs && oldest.parent !== null;
  const changed = specHistory.some(
    ({ atMs, isFirst, changes }) =>
      atMs > sinceMs && (isFirst === true || changes.some(({ path }) => path[0] === "identity")),
  );
  return isOlderForgotten || changed;
}

/** One grant, as the supervisor of a member is to hold PostgreSQL to it. */
export interface GuardedGrant {
  readonly id: string;
  readonly role: string;
  readonly address: string;
  readonly durationMs: number;
  /** By the wall clock, which can only end it earlier. */
  readonly expiresAtMs: number;
  /** It is agreed that it has ended. */
  readonly isOver: boolean;
  /** For how long the member has known it: so much is gone already where the supervisor hears of it for the first time. */
  readonly knownMs: number;
}

/** What a supervisor says of a grant that it was given. */
export interface GuardedStatus {
  readonly id: string;
  readonly role: string;
  readonly durationMs: number;
  readonly expiresAtMs: number;
  /** Null: it is over. */
  readonly remainingMs: number | null;
  /** Why it is over; null: it is not. */
  readonly why: string | null;
}

/** A role of our prefix, as PostgreSQL has it. */
export interface BreakGlassRole {
  readonly name: string;
  /** It may log in, and is a superuser. */
  readonly isOpen: boolean;
  /** Null: its password is good for ever. */
  readonly validUntilMs: number | null;
}

/** What a member says of break-glass access on its host. */
export interface BreakGlassStatus {
  readonly grants: readonly GuardedStatus[];
  /** What keeps it from doing as is agreed; null: nothing does. */
  readonly problem: string | null;
}
