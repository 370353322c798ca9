/**
 * When is a lease over, as the leader sees it? (`roadmap/0002-failover.md`, *Async, with a lease*)
 *
 * The primary stamps what it says with its own time. The leader hands a stamp back once a quorum has confirmed, after the
 * stamp came in, that it still leads; from the stamp on the primary may reign for `leaseMs` by its own clock. So whatever
 * lease stands ends, in true time, no later than `leaseMs` after the moment at which its stamp came in here.
 */

/** Clocks of two hosts run apart by less than this share. Quartz is a thousand times better. */
const DRIFT = 0.02;

/**
 * Until when a lease may stand that was given by this leader or by any before it, by this leader's monotonic clock.
 *
 * A former leader gave its last one for a stamp that a quorum confirmed while it led, so before this leader was elected.
 *
 * @param grantedAtMs when the stamp came in that this leader handed back last; null: none yet.
 * @param longestMs how long a lease lasts that may stand: the settings may have become shorter since it was given.
 */
export function leaseEndMs(leadingSinceMs: number, grantedAtMs: number | null, longestMs: number): number {
  return Math.max(leadingSinceMs, grantedAtMs ?? Number.NEGATIVE_INFINITY) + longestMs * (1 + DRIFT);
}
