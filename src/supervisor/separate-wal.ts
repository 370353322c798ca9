/**
 * A WAL directory of its own (`initdb --waldir`): `pg_wal` is a link to it, mostly to another disk. A clone is a new data
 * directory; it gets its WAL directory beside the old one, on the same disk, and both change places with their data.
 */
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { err, ok, type Result } from "../base/result.ts";
import { renameDurably, syncDirectory } from "../postgres/durable-file.ts";

const ASIDE = ".aside";

/**
 * Where the WAL of a data directory lies, if it lies outside; null: inside. The error says why a clone could not keep it so.
 */
export function separateWalOf(dataDirectory: string): Result<string | null, string> {
  const link = join(dataDirectory, "pg_wal");
  if (!isLink(link)) return ok(null);
  try {
    const directory = realpathSync(link);
    const parent = dirname(directory);
    // The new one is made beside it, and renamed.
    accessSync(parent, constants.W_OK | constants.X_OK);
    return statSync(directory).dev === statSync(parent).dev
      ? ok(directory)
      : err(`${directory} is a mount point: a directory inside it could be kept`);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

/** Where a clone's WAL is written until the clone is complete. */
export function walWorkDirectory(walDirectory: string): string {
  return `${walDirectory}.clone-tmp`;
}

/** Removes what a clone that did not come to its end left beside the WAL directory. */
export function removeWalWork(dataDirectory: string): void {
  const wal = separateWalOf(dataDirectory);
  if (wal.ok && wal.value !== null) rmSync(walWorkDirectory(wal.value), { recursive: true, force: true });
}

/**
 * Once the data directories have changed places, so do their WAL directories: the new one gets the old one's path. Done again
 * after a crash, from wherever it stopped.
 */
export function putWalInPlace(walDirectory: string, dataDirectory: string, asideDirectory: string): void {
  const work = walWorkDirectory(walDirectory);
  const aside = `${walDirectory}${ASIDE}`;
  if (existsSync(work)) {
    if (existsSync(walDirectory)) {
      rmSync(aside, { recursive: true, force: true });
      renameDurably(walDirectory, aside);
    }
    renameDurably(work, walDirectory);
  }
  linkWal(dataDirectory, walDirectory);
  if (existsSync(aside) && isLink(join(asideDirectory, "pg_wal"))) linkWal(asideDirectory, aside);
}

/** Removes a data directory that was set aside, with its WAL where that lies outside. Absent is fine. */
export async function removeAside(asideDirectory: string): Promise<void> {
  const link = join(asideDirectory, "pg_wal");
  const target = isLink(link) ? readlinkSync(link) : "";
  if (target.endsWith(ASIDE)) await rm(target, { recursive: true, force: true });
  await rm(asideDirectory, { recursive: true, force: true });
}

function linkWal(dataDirectory: string, walDirectory: string): void {
  const link = join(dataDirectory, "pg_wal");
  if (readlinkSync(link) === walDirectory) return;
  rmSync(`${link}.new`, { force: true });
  symlinkSync(walDirectory, `${link}.new`);
  renameSync(`${link}.new`, link);
  syncDirectory(dataDirectory);
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}
