/** What one look at a primary does not tell: for how long something has been as it is. */
import type { Lsn } from "../base/lsn.ts";
import type { StandbyConnection } from "../cluster/observation.ts";

/** Of a look at a primary, what is watched. */
export interface PrimaryLook {
  readonly writtenLsn: Lsn;
  readonly standbys: readonly StandbyConnection[];
  /** Names the commits that wait for standbys at this moment: the same commit has the same name at every look. */
  readonly waitingCommits: readonly string[];
}

/** The same, with times. */
export interface WatchedPrimary {
  readonly standbys: readonly StandbyConnection[];
  readonly commitWaitMs: number | null;
}

export class PrimaryWatch {
  #waitingSinceMs: ReadonlyMap<string, number> = new Map();
  #flushes: ReadonlyMap<string, { readonly lsn: Lsn | null; readonly sinceMs: number }> = new Map();

  /** One look further. Times are counted from the first look at which something was so. */
  observe({ writtenLsn, standbys, waitingCommits }: PrimaryLook, nowMs: number): WatchedPrimary {
    const before = this.#waitingSinceMs;
    this.#waitingSinceMs = new Map(waitingCommits.map((name) => [name, before.get(name) ?? nowMs]));
    const flushes = this.#flushes;
    this.#flushes = new Map(
      standbys.map(({ name, flushedLsn }) => {
        const last = flushes.get(name);
        const hasMoved = last === undefined || last.lsn !== flushedLsn;
        const isComplete = flushedLsn !== null && flushedLsn >= writtenLsn;
        return [name, { lsn: flushedLsn, sinceMs: hasMoved || isComplete ? nowMs : last.sinceMs }];
      }),
    );
    const oldestMs = Math.min(...this.#waitingSinceMs.values());
    return {
      standbys: standbys.map((standby) => {
        const stuckMs = Math.round(nowMs - (this.#flushes.get(standby.name)?.sinceMs ?? nowMs));
        return stuckMs > 0 ? { ...standby, stuckMs } : standby;
      }),
      commitWaitMs: Number.isFinite(oldestMs) ? Math.round(nowMs - oldestMs) : null,
    };
  }

  /** It is no primary (any more). */
  forget(): void {
    this.#waitingSinceMs = new Map();
    this.#flushes = new Map();
  }
}
