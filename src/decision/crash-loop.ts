/**
 * Primaries that fall one after the other are not mended by yet another failover: a query that crashes each of them, a
 * disk that is full everywhere. After some in a row the next one is held, for longer each time, and the reason is shown.
 * It is never held for ever: what made them fall may be over by itself (F8).
 */
import { failoverOf } from "../cluster/spec.ts";
import type { FailoverRecord } from "../cluster/state.ts";
import type { ClusterView } from "./cluster-view.ts";

const FIRST_HOLD_MS = 15_000;
const LONGEST_HOLD_MS = 300_000;

/**
 * The loop of which the end of the present reign would be the next turn: how many fell, and until when the next failover is
 * held (by the monotonic clock; past, where this reign has lasted long enough). Null: no loop.
 */
export function crashLoop(view: ClusterView): { readonly count: number; readonly untilMs: number } | null {
  const { crashLoopCount, crashLoopMs } = failoverOf(view.state.spec);
  const count = shortReigns(view.state.failovers ?? [], crashLoopMs, crashLoopCount) + 1;
  if (count < crashLoopCount) return null;
  return { count, untilMs: view.reignSinceMs + holdMs(count, crashLoopCount) };
}

/** After so many in a row: nothing before the loop counts as one, then twice as long each time. */
function holdMs(count: number, crashLoopCount: number): number {
  if (count < crashLoopCount) return 0;
  return Math.min(LONGEST_HOLD_MS, FIRST_HOLD_MS * 2 ** (count - crashLoopCount));
}

/** How many of the newest automatic failovers came within `crashLoopMs` of the one before, not counting what was held. */
function shortReigns(
  failovers: readonly FailoverRecord[],
  crashLoopMs: number,
  crashLoopCount: number,
): number {
  let count = 0;
  for (const [at, record] of failovers.entries()) {
    const previous = failovers[at - 1];
    if (record.kind !== "automatic" || previous === undefined) count = 0;
    else {
      // A wall clock that was set meanwhile says nothing: then no loop is seen, and none is held.
      const lastedMs = record.atMs - previous.atMs;
      const isShort = lastedMs >= 0 && lastedMs <= crashLoopMs + holdMs(count + 1, crashLoopCount);
      count = isShort ? count + 1 : 0;
    }
  }
  return count;
}
