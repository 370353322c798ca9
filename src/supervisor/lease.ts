/**
 * The arithmetic of a lease: pure, on the host's own time (milliseconds).
 *
 * A lease is what PostgreSQL may reign under where no standby guards its commits. It ends by itself; whoever counts on its
 * end (the leader, on another host) waits longer than it can last, so here it may only ever end too early.
 */
import type { Epoch } from "../base/ids.ts";

/** PostgreSQL may reign under `epoch` until `untilMs`. */
export interface Lease {
  readonly epoch: Epoch;
  readonly untilMs: number;
  /** How long it lasted from its last stamp on: what the times of its end are taken from. */
  readonly durationMs: number;
}

export interface LeaseExtension {
  readonly epoch: Epoch;
  /** The host's time that a look of this boot said. */
  readonly stampMs: number;
  readonly durationMs: number;
}

/** For so long before its end PostgreSQL is being stopped: a third of a short lease, a second of a long one. */
export function stopBudgetMs(durationMs: number): number {
  return Math.min(1_000, durationMs / 3);
}

/** The share of the budget in which connected standbys may still get every byte; what is left is for the immediate stop. */
const FAST_SHARE = 0.7;

/** From when on PostgreSQL is being stopped. */
export function stopsAtMs(lease: Lease): number {
  return lease.untilMs - stopBudgetMs(lease.durationMs);
}

/** Whether PostgreSQL may (still) be opened under this lease: it stands, and its stop has not begun. */
export function isStanding(lease: Lease | null, nowMs: number): lease is Lease {
  return lease !== null && nowMs < stopsAtMs(lease);
}

/** How long the fast stop may take before it becomes an immediate one, and that before it becomes a kill. */
export function stopTimes(
  lease: Lease,
  nowMs: number,
): { readonly fastMs: number; readonly immediateMs: number } {
  const leftMs = Math.max(0, lease.untilMs - nowMs);
  const fastMs = leftMs * FAST_SHARE;
  return { fastMs, immediateMs: leftMs - fastMs };
}

/**
 * The lease after an extension. It never gets shorter; a stamp that is over, that lies in the future (a stamp of another
 * boot), or of an older epoch extends nothing.
 */
export function extended(lease: Lease | null, extension: LeaseExtension, nowMs: number): Lease | null {
  const { epoch, stampMs, durationMs } = extension;
  if (lease !== null && epoch < lease.epoch) return lease;
  const candidate: Lease = { epoch, untilMs: stampMs + durationMs, durationMs };
  if (stampMs > nowMs || !isStanding(candidate, nowMs)) return lease;
  if (lease === null || epoch > lease.epoch) return candidate;
  return candidate.untilMs > lease.untilMs ? candidate : lease;
}
