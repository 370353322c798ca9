import type { TimelineId } from "../base/ids.ts";
import { LSN_ZERO, type Lsn } from "../base/lsn.ts";

/** A file of `pg_wal`, by its name of 24 hexadecimal digits: timeline, then position. */
export interface WalSegment {
  readonly name: string;
  readonly timeline: TimelineId;
  /** Where the segment begins. */
  readonly startLsn: Lsn;
}

/** Null for a name that is not a segment's. A `.partial` segment counts: it is WAL too. */
export function parseWalSegment(name: string, segmentBytes: number): WalSegment | null {
  const match = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?$/.exec(name);
  if (match === null) return null;
  const high = Number.parseInt(match[2] ?? "", 16);
  const low = Number.parseInt(match[3] ?? "", 16);
  const startLsn = (high * 2 ** 32 + low * segmentBytes) as Lsn;
  return { name, timeline: Number.parseInt(match[1] ?? "", 16) as TimelineId, startLsn };
}

/** The segments of `timeline` that hold WAL at or after `fromLsn`: what a fork wrote on its own. */
export function segmentsFrom(
  names: readonly string[],
  timeline: TimelineId,
  fromLsn: Lsn,
  segmentBytes: number,
): readonly WalSegment[] {
  const firstStart = fromLsn === LSN_ZERO ? 0 : fromLsn - (fromLsn % segmentBytes);
  return names
    .map((name) => parseWalSegment(name, segmentBytes))
    .filter((segment) => segment !== null)
    .filter((segment) => segment.timeline === timeline && segment.startLsn >= firstStart)
    .sort((a, b) => a.startLsn - b.startLsn);
}
