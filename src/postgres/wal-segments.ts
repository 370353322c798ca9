import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import type { TimelineId } from "../base/ids.ts";
import { LSN_ZERO, type Lsn, parseLsn } from "../base/lsn.ts";

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

/** Where the oldest WAL begins that a directory holds; null: it holds none. Whatever begins earlier can be had elsewhere only. */
export function oldestWal(walDirectory: string, segmentBytes: number): Lsn | null {
  let oldest: Lsn | null = null;
  for (const name of namesIn(walDirectory)) {
    const segment = parseWalSegment(name, segmentBytes);
    if (segment !== null && (oldest === null || segment.startLsn < oldest)) oldest = segment.startLsn;
  }
  return oldest;
}

/** As `initdb` made it. */
export interface WalForm {
  readonly segmentBytes: number;
  readonly pageBytes: number;
}

/**
 * How far a directory holds all WAL from `fromLsn` on, in whole segments: where the first segment begins that is not there, or
 * not to its end. A server that has replayed everything here asks its upstream for that segment.
 */
export function completeWalUntil(walDirectory: string, fromLsn: Lsn, form: WalForm): Lsn {
  const paths = new Map<number, string[]>();
  for (const name of namesIn(walDirectory)) {
    const segment = parseWalSegment(name, form.segmentBytes);
    if (segment === null) continue;
    const path = join(walDirectory, name);
    paths.set(segment.startLsn, [...(paths.get(segment.startLsn) ?? []), path]);
  }
  let startLsn = fromLsn - (fromLsn % form.segmentBytes);
  const isComplete = (path: string) => hasLastPage(path, startLsn, form);
  while (paths.get(startLsn)?.some(isComplete) === true) startLsn += form.segmentBytes;
  return startLsn as Lsn;
}

/** None of a directory that is being replaced just now. */
function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

/** Segments are used again under a new name: until they are written anew, their pages say where they stood before. */
function hasLastPage(path: string, startLsn: number, { segmentBytes, pageBytes }: WalForm): boolean {
  const at = segmentBytes - pageBytes;
  // XLogPageHeaderData: magic, flags, timeline, then the page's own position, in the byte order of the machine.
  const header = new BigUint64Array(2);
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    // Removed since it was listed.
    return false;
  }
  try {
    const length = readSync(file, new Uint8Array(header.buffer), 0, header.byteLength, at);
    return length === header.byteLength && header[1] === BigInt(startLsn + at);
  } finally {
    closeSync(file);
  }
}

/** Where the recovery of a backup, or of a rewound directory, begins, by its label; null where there is no label. */
export function backupStart(dataDirectory: string): Lsn | null {
  const path = join(dataDirectory, "backup_label");
  if (!existsSync(path)) return null;
  const found = /^START WAL LOCATION: (?<lsn>[0-9A-F]+\/[0-9A-F]+) /m.exec(readFileSync(path, "utf8"));
  const lsn = parseLsn(found?.groups?.["lsn"] ?? "");
  return lsn.ok ? lsn.value : null;
}
