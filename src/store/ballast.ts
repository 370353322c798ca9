/**
 * A file beside the database that holds nothing but room. When the disk is full, even forgetting needs some: a
 * compaction is written to the WAL before it gives anything back. The ballast is given up then, and made again at a
 * later start, once there is room.
 */
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";

export const BALLAST_BYTES = 4 * 1024 * 1024;

const CHUNK_BYTES = 256 * 1024;

/** Where a database has its ballast. */
export function ballastPathOf(databasePath: string): string {
  return join(dirname(databasePath), "guacamole.ballast");
}

/**
 * Makes it, if there is none and there is room for it twice. Never fails: a member without ballast is a member.
 *
 * @returns whether there is one.
 */
export function makeBallast(databasePath: string): boolean {
  const path = ballastPathOf(databasePath);
  try {
    if (statSync(path, { throwIfNoEntry: false })?.size === BALLAST_BYTES) return true;
    const { bavail, bsize } = statfsSync(dirname(path));
    if (bavail * bsize < 2 * BALLAST_BYTES) return false;
    fill(path);
    return true;
  } catch {
    // Half a ballast would be taken for a whole one by whoever looks at the directory.
    rmSync(path, { force: true });
    return false;
  }
}

/** Gives the room back. False if there was no ballast. */
export function freeBallast(databasePath: string): boolean {
  const path = ballastPathOf(databasePath);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false;
  rmSync(path, { force: true });
  return true;
}

/** Written, not just sized: a hole holds no room. And not zeros, which some file systems do not store. */
function fill(path: string): void {
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let at = 0; at < chunk.length; at += 1) chunk[at] = (at * 167 + (at >> 8) * 13) & 0xff;
  const file = openSync(path, "w", 0o600);
  try {
    for (let written = 0; written < BALLAST_BYTES; ) written += writeSync(file, chunk);
  } finally {
    closeSync(file);
  }
}
