/**
 * The member's store, watched: how long commits take, and what happens when the disk is full. A full disk undoes a
 * transaction cleanly, so the same one is tried once more with the room that the ballast gives back; what comes after that
 * is for whoever asks `isFull`. Any other error passes through, and the process must end.
 */
import type { LogIndex, Term } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Entry, EntryId } from "../raft/engine/message.ts";
import type { Applied, LogStore, StoreBatch, StoredRaft } from "../raft/ports.ts";
import { DiskFullError } from "../store/store-error.ts";
import { COMMIT_SLOW_MS } from "./hand-over.ts";
import { RecentWorst } from "./recent-worst.ts";

/** Room may be made on a full disk at any time. */
const LOOK_EVERY_MS = 10_000;

export interface GuardOptions {
  readonly store: LogStore;
  /** Gives up the room that is kept for this case. @returns whether there was any. */
  readonly freeBallast: () => boolean;
  /** Keeps room again. @returns whether there was any to keep. */
  readonly makeBallast: () => boolean;
  readonly nowMs: () => number;
  readonly log: Log;
}

export class GuardedStore implements LogStore {
  readonly commits = new RecentWorst(COMMIT_SLOW_MS);
  readonly #options: GuardOptions;
  #isFull = false;
  #mustCompact = false;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** There was no room, and the ballast is gone: the next time is the last. */
  get isFull(): boolean {
    return this.#isFull;
  }

  load(): StoredRaft {
    return this.#options.store.load();
  }

  read(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[] {
    return this.#options.store.read(first, countMax, bytesMax);
  }

  termAt(index: LogIndex): Term | null {
    return this.#options.store.termAt(index);
  }

  /** @throws {DiskFullError} if it is full again after it was; whatever else the disk answers. */
  commit(batch: StoreBatch): readonly Applied[] {
    const { nowMs, store } = this.#options;
    const beganMs = nowMs();
    const applied = this.#withRoom(() => store.commit(batch));
    const endedMs = nowMs();
    this.commits.add(endedMs - beganMs, endedMs);
    return applied;
  }

  /** @throws as `commit` does. */
  compact(upTo: LogIndex): EntryId {
    return this.#withRoom(() => this.#options.store.compact(upTo));
  }

  /** After each turn: on a full disk `compact` is called once, with the room that the ballast gave back. */
  makeRoom(compact: () => void): void {
    if (!this.#mustCompact) return;
    this.#mustCompact = false;
    compact();
  }

  /** To be called often: somebody may have made room, and then there is ballast again. @returns whether that is news. */
  lookForRoom(): boolean {
    const nowMs = this.#options.nowMs();
    if (!this.#isFull || nowMs - this.#lookedAtMs < LOOK_EVERY_MS) return false;
    this.#lookedAtMs = nowMs;
    if (!this.#options.makeBallast()) return false;
    this.#isFull = false;
    this.#options.log.info("disk.room", { message: "there is room on the disk again" });
    return true;
  }

  #withRoom<Result>(write: () => Result): Result {
    try {
      return write();
    } catch (error) {
      if (!(error instanceof DiskFullError) || this.#isFull) throw error;
      this.#isFull = true;
      this.#mustCompact = true;
      const isFreed = this.#options.freeBallast();
      this.#options.log.error("disk.full", { message: error.message, isBallastFreed: isFreed });
      return write();
    }
  }
}
