import { type FileHandle, open, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { DiskStatus } from "../cluster/observation.ts";

/** A directory that is probed while it is what it should be. */
export interface ProbedPlace {
  readonly place: DiskStatus["place"];
  readonly directory: string;
  /** Asked before each probe: nothing is ever written into a directory that is not ours, or that must look empty. */
  readonly isWanted: () => Promise<boolean>;
}

/**
 * The file that is written. Neither base backups nor pg_rewind carry what begins like PostgreSQL's own temporary files, so
 * it harms nobody; it is empty between two probes.
 */
export const PROBE_FILE = "pgsql_tmp.guacamole-probe";

/** More than one block, less than anybody misses. */
const PROBE_BYTES = Buffer.alloc(32 * 1024, "guacamole probes this disk\n");
const NO_ROOM: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);

/**
 * Writes and syncs a small file in one directory, again and again, and says how long that takes. Everything happens off the
 * thread, one probe at a time: a disk that hangs holds up its own probe and nothing else.
 */
export class DiskProbe {
  readonly #place: ProbedPlace;
  readonly #clock: Clock;
  #startedAtMs: number | null = null;
  #under: Promise<void> = Promise.resolve();
  #lastSyncMs: number | null = null;
  #room: Pick<DiskStatus, "freeBytes" | "totalBytes"> | null = null;
  #isFull = false;

  constructor(place: ProbedPlace, clock: Clock) {
    this.#place = place;
    this.#clock = clock;
  }

  /** Null: there is nothing to probe there, or nothing is known yet. */
  get status(): DiskStatus | null {
    if (this.#room === null) return null;
    const pendingMs = this.#startedAtMs === null ? null : Math.round(this.#clock.nowMs() - this.#startedAtMs);
    const { place } = this.#place;
    return { place, lastSyncMs: this.#lastSyncMs, pendingMs, ...this.#room, isFull: this.#isFull };
  }

  /** Begins a probe unless one is under way. */
  begin(): void {
    if (this.#startedAtMs !== null) return;
    this.#startedAtMs = this.#clock.nowMs();
    this.#under = this.#probe(this.#startedAtMs).finally(() => {
      this.#startedAtMs = null;
    });
  }

  /** Resolves once no probe is under way. On a disk that hangs that may be never. */
  idle(): Promise<void> {
    return this.#under;
  }

  async #probe(startedAtMs: number): Promise<void> {
    const { directory, isWanted } = this.#place;
    try {
      if (!(await isWanted())) return this.#forget();
      const { bavail, blocks, bsize } = await statfs(directory);
      this.#room = { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
      await writeAndSync(join(directory, PROBE_FILE));
      this.#isFull = false;
      this.#lastSyncMs = Math.round(this.#clock.nowMs() - startedAtMs);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : null;
      if (NO_ROOM.has(code)) this.#isFull = true;
      // Renamed or removed meanwhile, or not ours to write: then there is nothing to tell of it.
      else this.#forget();
    }
  }

  #forget(): void {
    this.#room = null;
    this.#lastSyncMs = null;
    this.#isFull = false;
  }
}

/** Takes room anew each time, so that a full disk shows, and gives it back. */
async function writeAndSync(path: string): Promise<void> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, "w", 0o600);
    await file.writeFile(PROBE_BYTES);
    await file.datasync();
    await file.truncate(0);
  } finally {
    await file?.close();
  }
}
