import { join } from "node:path";
import type { Lsn } from "../base/lsn.ts";
import { backupStart, completeWalUntil, oldestWal } from "../postgres/wal-segments.ts";
import type { LocalData } from "./local-data.ts";

export interface WalReachOptions {
  readonly dataDirectory: string;
  readonly data: LocalData;
  readonly nowMs: () => number;
}

/** A directory of many segments is not listed at every look. */
const LIST_EVERY_MS = 1_000;

/** From where to where the data directory has WAL: whether a standby can still be served, and what it needs. */
export class WalReach {
  readonly #options: WalReachOptions;
  #from: { readonly atMs: number; readonly lsn: Lsn | null } | null = null;

  constructor(options: WalReachOptions) {
    this.#options = options;
  }

  /** Where the oldest WAL begins, as of a moment ago; null: there is none, or that is not known. */
  async from(): Promise<Lsn | null> {
    const { data, dataDirectory, nowMs } = this.#options;
    if (this.#from !== null && nowMs() - this.#from.atMs < LIST_EVERY_MS) return this.#from.lsn;
    const control = await data.readControl();
    const lsn = control === null ? null : oldestWal(join(dataDirectory, "pg_wal"), control.walSegmentBytes);
    this.#from = { atMs: nowMs(), lsn };
    return lsn;
  }

  /**
   * Where the first segment begins that recovery cannot have from here. Null: not known, as where a restartpoint came between
   * two looks and removed what lay before it.
   */
  async until(): Promise<Lsn | null> {
    const { data, dataDirectory } = this.#options;
    const label = backupStart(dataDirectory);
    data.forgetControl();
    const before = await data.readControl();
    if (before === null) return null;
    const form = { segmentBytes: before.walSegmentBytes, pageBytes: before.walPageBytes };
    const lsn = completeWalUntil(join(dataDirectory, "pg_wal"), label ?? before.redoLsn, form);
    data.forgetControl();
    const after = await data.readControl();
    return after?.redoLsn === before.redoLsn ? lsn : null;
  }
}
