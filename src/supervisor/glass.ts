/**
 * The arithmetic of break-glass access on one host: pure, on the host's own time and, only to end it earlier, the wall clock.
 *
 * A grant is counted from the moment at which this host first heard of it, and never anew: what it was told is kept on disk,
 * and what is over stays over, whatever any clock says later.
 */
import type { GuardedGrant, GuardedStatus } from "../cluster/break-glass.ts";

export interface KeptGrant {
  readonly id: string;
  readonly role: string;
  readonly address: string;
  readonly durationMs: number;
  /** Until then by the wall clock, at the latest. */
  readonly expiresAtMs: number;
  /** Of the boot in whose time `untilMs` is. */
  readonly bootId: string;
  readonly untilMs: number;
  /** Why it is over, and since when by the host's time; null: it is not. */
  readonly over: { readonly why: string; readonly atMs: number } | null;
}

/** What a host's clocks say at one moment. */
export interface Clocks {
  readonly bootId: string;
  /** The host's own time: moved by no setting of a clock. */
  readonly hostMs: number;
  readonly wallMs: number;
}

/**
 * What is kept after the member said which grants there are. An extension adds to what is left, and revives nothing. What is
 * not named any more ends, and is forgotten with the next telling.
 */
export function told(
  kept: readonly KeptGrant[],
  wanted: readonly GuardedGrant[],
  clocks: Clocks,
): readonly KeptGrant[] {
  const names = new Set(wanted.map(({ id }) => id));
  const left = kept.filter(({ id, over }) => !names.has(id) && over === null);
  const named = wanted.map((grant) => {
    const before = kept.find(({ id }) => id === grant.id);
    const { isOver, knownMs: _, ...rest } = grant;
    const next: KeptGrant =
      before === undefined
        ? {
            ...rest,
            bootId: clocks.bootId,
            untilMs: clocks.hostMs + grant.durationMs - grant.knownMs,
            over: null,
          }
        : { ...before, ...rest, untilMs: before.untilMs + (grant.durationMs - before.durationMs) };
    return isOver ? ended(next, "it was ended", clocks) : next;
  });
  return [...named, ...left.map((grant) => ended(grant, "nothing is known of it any more", clocks))].map(
    (grant) => judged(grant, clocks),
  );
}

/** The same grant, over if its time is over by any of the clocks. */
export function judged(grant: KeptGrant, clocks: Clocks): KeptGrant {
  // How long the host was down nobody here knows; that PostgreSQL was down with it ended every session.
  if (grant.bootId !== clocks.bootId) return ended(grant, "the host was started anew", clocks);
  if (clocks.hostMs >= grant.untilMs) return ended(grant, "its time is over", clocks);
  if (clocks.wallMs >= grant.expiresAtMs) return ended(grant, "its time is over by the wall clock", clocks);
  return grant;
}

/** As it is shown to the member. */
export function statusOf(
  { id, role, durationMs, expiresAtMs, untilMs, over }: KeptGrant,
  clocks: Clocks,
): GuardedStatus {
  const leftMs = Math.max(0, Math.min(untilMs - clocks.hostMs, expiresAtMs - clocks.wallMs));
  return {
    id,
    role,
    durationMs,
    expiresAtMs,
    remainingMs: over === null ? leftMs : null,
    why: over?.why ?? null,
  };
}

function ended(grant: KeptGrant, why: string, { hostMs }: Clocks): KeptGrant {
  return grant.over === null ? { ...grant, over: { why, atMs: hostMs } } : grant;
}

/** Lines of pg_hba.conf: in over TLS from its address while it stands, and in no other way, whatever rules follow. */
export function glassRules(grants: readonly KeptGrant[]): readonly string[] {
  return grants.flatMap(({ role, address, over }) => [
    ...(over === null ? [`hostssl all ${role} ${address} scram-sha-256`] : []),
    `host all ${role} all reject`,
    `host replication ${role} all reject`,
    `local all ${role} reject`,
    `local replication ${role} reject`,
  ]);
}
