import type { Epoch } from "../base/ids.ts";
import type { Reign } from "../cluster/state.ts";

/** When a member first saw the present reign begin, and be ended; by its monotonic clock. */
export interface ReignSeen {
  readonly epoch: Epoch | null;
  readonly sinceMs: number;
  /** Null: it is not being ended. */
  readonly fenceSinceMs: number | null;
  /** When it saw the fence of the reign before; null: it did not. */
  readonly lastFenceSinceMs: number | null;
}

/** A member that has seen nothing yet. */
export const NO_REIGN_SEEN: ReignSeen = {
  epoch: null,
  sinceMs: 0,
  fenceSinceMs: null,
  lastFenceSinceMs: null,
};

/** What was seen, after one more look at what is agreed. The same object where nothing changed. */
export function seeReign(seen: ReignSeen, reign: Reign | null, nowMs: number): ReignSeen {
  const epoch = reign?.epoch ?? null;
  const isFenced = reign !== null && reign.fence !== null;
  if (epoch !== seen.epoch) {
    const fenceSinceMs = isFenced ? nowMs : null;
    return { epoch, sinceMs: nowMs, fenceSinceMs, lastFenceSinceMs: seen.fenceSinceMs };
  }
  return isFenced && seen.fenceSinceMs === null ? { ...seen, fenceSinceMs: nowMs } : seen;
}
