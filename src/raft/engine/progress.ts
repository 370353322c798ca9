import type { LogIndex } from "../../base/ids.ts";
import type { EngineLimits } from "./limits.ts";
import { next } from "./log.ts";
import type { Entry } from "./message.ts";

/**
 * What a leader knows of one follower.
 *
 * - `probe`: the leader does not know where the logs agree; one append at a time, until an answer or a heartbeat's.
 * - `replicate`: it does; appends go out ahead of their answers, within a window.
 * - `snapshot`: the follower needs entries that were compacted away; a snapshot is on its way, by another connection, and
 *   nothing else goes out until it has arrived or failed.
 *
 * Invariant: 0 <= matchIndex < nextIndex.
 */
export class Progress {
  matchIndex = 0 as LogIndex;
  nextIndex: LogIndex;
  state: "probe" | "replicate" | "snapshot" = "probe";
  /** Ticks since the follower was last heard of. A new follower gets the benefit of the doubt. */
  quietTicks = 0;
  /** It has answered something in this term. */
  isKnown = false;
  /** The latest heartbeat round of this term that it has answered. */
  answeredRound = 0;
  /** The highest commit index that an append told this follower; heartbeats mend what was lost. */
  toldCommit = 0 as LogIndex;
  /** The next append goes out even if it is empty: it asks "are you there yet?". */
  mustAsk = false;
  /** In `probe`: an append is under way. */
  #isProbing = false;
  #inflight: { readonly last: LogIndex; readonly bytes: number }[] = [];
  #inflightBytes = 0;

  constructor(nextIndex: LogIndex) {
    this.nextIndex = nextIndex;
  }

  /** Appends with entries have to wait. */
  isPaused(limits: EngineLimits): boolean {
    switch (this.state) {
      case "probe":
        return this.#isProbing;
      case "replicate":
        return (
          this.#inflight.length >= limits.inflightMessagesMax ||
          this.#inflightBytes >= limits.inflightBytesMax
        );
      case "snapshot":
        return true;
    }
  }

  /** An append with these entries was sent. */
  sent(entries: readonly Entry[]): void {
    this.mustAsk = false;
    if (this.state === "probe") this.#isProbing = true;
    const last = entries.at(-1);
    if (this.state !== "replicate" || last === undefined) return;
    const bytes = entries.reduce((sum, { data }) => sum + data.byteLength, 0);
    this.#inflight.push({ last: last.index, bytes });
    this.#inflightBytes += bytes;
    this.nextIndex = next(last.index);
  }

  /**
   * The follower holds everything up to `index`.
   *
   * @param floor of the leader's log: a follower that does not reach it still needs its snapshot.
   * @returns true if that is news.
   */
  accepted(index: LogIndex, floor: LogIndex): boolean {
    if (index < this.matchIndex) return false;
    const isNews = index > this.matchIndex;
    this.matchIndex = index;
    this.nextIndex = Math.max(this.nextIndex, next(index)) as LogIndex;
    if (this.state === "replicate") this.#release(index);
    // Also when nothing is new: a follower that has everything would otherwise be probed for ever (etcd PR 10308).
    else if (this.state === "probe" || index >= floor) this.#enter("replicate", next(index));
    return isNews;
  }

  /**
   * The follower does not have the entry `rejected`; the logs may agree at `agreement`.
   *
   * @returns false for an old answer, which says nothing: messages are reordered.
   */
  rejected(rejected: LogIndex, agreement: LogIndex): boolean {
    if (this.state === "replicate") {
      if (rejected <= this.matchIndex) return false;
      this.#enter("probe", next(this.matchIndex));
      // What refused appends told was not heard.
      this.toldCommit = 0 as LogIndex;
      return true;
    }
    if (this.state === "snapshot" || rejected !== this.nextIndex - 1) return false;
    const candidate = Math.min(rejected, agreement + 1);
    this.#enter("probe", Math.max(candidate, this.matchIndex + 1) as LogIndex);
    return true;
  }

  /** A heartbeat was answered: whatever was under way may have been lost, so one more append may go out. */
  resume(): void {
    this.#isProbing = false;
    this.mustAsk = true;
  }

  heard(): void {
    this.quietTicks = 0;
    this.isKnown = true;
  }

  needSnapshot(): void {
    this.#enter("snapshot", this.nextIndex);
  }

  /**
   * The snapshot has arrived or failed; which of the two, the next probe tells. It waits for a sign of life, so that what
   * fails does not fail in a loop.
   */
  endSnapshot(nextIndex: LogIndex): void {
    if (this.state !== "snapshot") return;
    this.#enter("probe", Math.max(nextIndex, next(this.matchIndex)) as LogIndex);
    this.#isProbing = true;
  }

  /** The connection broke: whatever was under way on it is lost. */
  unreachable(): void {
    if (this.state === "replicate") this.#enter("probe", next(this.matchIndex));
  }

  #enter(state: Progress["state"], nextIndex: LogIndex): void {
    this.state = state;
    this.nextIndex = nextIndex;
    this.#isProbing = false;
    // Both go together: a byte counter that outlives its window pauses the stream for ever.
    this.#inflight = [];
    this.#inflightBytes = 0;
  }

  #release(index: LogIndex): void {
    let count = 0;
    for (const { last, bytes } of this.#inflight) {
      if (last > index) break;
      this.#inflightBytes -= bytes;
      count += 1;
    }
    this.#inflight.splice(0, count);
  }
}
