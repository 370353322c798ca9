/** What a member wrote after a successor had turned off, kept before a rewind threw it away. */
import type { TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";

export interface Fork {
  readonly timeline: TimelineId;
  /** Where the history that counts turned off. */
  readonly forkLsn: Lsn;
  readonly keptAtMs: number;
  /** Of the files that were kept. */
  readonly bytes: number;
  /** In the order in which they were written; bounded. */
  readonly transactions: readonly ForkTransaction[];
  readonly transactionCount: number;
  /** Why the WAL could not be read to its end; null: it was. */
  readonly problem: string | null;
}

/** A transaction that one server alone has committed: it was never acknowledged, or its loss was taken. */
export interface ForkTransaction {
  readonly transactionId: number;
  readonly kind: "commit" | "prepare";
  /** As PostgreSQL wrote it, with the time zone. */
  readonly at: string;
  readonly lsn: Lsn;
}
