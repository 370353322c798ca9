import type { Brand } from "./brand.ts";
import type { TimelineId } from "./ids.ts";
import { err, ok, type Result } from "./result.ts";

/**
 * A position in PostgreSQL's write-ahead log, in bytes.
 *
 * A plain number, so that it compares, subtracts and travels as JSON: exact up to 2^53 bytes (8 PiB of WAL in the life
 * of one database). The parser refuses more.
 */
export type Lsn = Brand<number, "Lsn">;

/** A place in history: an LSN means nothing without the timeline it is on. */
export interface Position {
  readonly timeline: TimelineId;
  readonly lsn: Lsn;
}

export const LSN_ZERO = 0 as Lsn;

/** Parses PostgreSQL's `16/B374D848`. */
export function parseLsn(text: string): Result<Lsn, string> {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (match === null) return err(`'${text}' is not an LSN (16/B374D848 is)`);
  const value = Number.parseInt(match[1] ?? "", 16) * 2 ** 32 + Number.parseInt(match[2] ?? "", 16);
  return Number.isSafeInteger(value) ? ok(value as Lsn) : err(`LSN ${text} is beyond 2^53 bytes`);
}

/** Writes an LSN as PostgreSQL does. */
export function formatLsn(lsn: Lsn): string {
  const high = Math.floor(lsn / 2 ** 32);
  return `${high.toString(16).toUpperCase()}/${(lsn % 2 ** 32).toString(16).toUpperCase()}`;
}

/**
 * Orders two positions that share their history up to a fork: a later timeline is further, then a higher LSN.
 *
 * Negative if `a` is behind `b`, zero if equal, positive if ahead.
 */
export function comparePositions(a: Position, b: Position): number {
  return a.timeline - b.timeline || a.lsn - b.lsn;
}

/** Writes a position as `timeline:lsn`, for instance `3:0/5000148`. */
export function formatPosition({ timeline, lsn }: Position): string {
  return `${timeline}:${formatLsn(lsn)}`;
}
