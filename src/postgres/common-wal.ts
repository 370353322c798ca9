/**
 * The WAL that a forked server and its source have in common. `pg_rewind` removes segments that the source has removed already,
 * except at most those after the last common checkpoint's record; recovery begins at that checkpoint's redo, earlier, and needs
 * everything from there to the fork. They are kept by hard links, which take no room and no time.
 */
import { existsSync, linkSync, mkdirSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import { syncDirectory } from "./durable-file.ts";
import { parseWalSegment } from "./wal-segments.ts";

export interface CommonWal {
  readonly dataDirectory: string;
  /** Where they are kept meanwhile: on the same file system, and nowhere in the data directory. */
  readonly keptDirectory: string;
  readonly segmentBytes: number;
  readonly forkTimeline: TimelineId;
  readonly forkLsn: Lsn;
}

const STATUS_DIRECTORY = "archive_status";

/**
 * Keeps every segment that ends at or before the fork, and what is said of its archiving.
 *
 * @throws what the file system answers, as where the WAL lies on another one: then nothing is kept.
 */
export function keepCommonWal({ dataDirectory, keptDirectory, ...fork }: CommonWal): void {
  rmSync(keptDirectory, { recursive: true, force: true });
  const walDirectory = realpathSync(join(dataDirectory, "pg_wal"));
  mkdirSync(join(keptDirectory, STATUS_DIRECTORY), { recursive: true, mode: 0o700 });
  try {
    for (const name of readdirSync(walDirectory))
      if (isCommon(name, fork)) linkSync(join(walDirectory, name), join(keptDirectory, name));
    const statusDirectory = join(walDirectory, STATUS_DIRECTORY);
    if (!existsSync(statusDirectory)) return;
    for (const name of readdirSync(statusDirectory)) {
      if (!isCommon(name.replace(/\.(ready|done)$/, ""), fork)) continue;
      linkSync(join(statusDirectory, name), join(keptDirectory, STATUS_DIRECTORY, name));
    }
  } catch (error) {
    rmSync(keptDirectory, { recursive: true, force: true });
    throw error;
  }
}

/** Puts back what is not there any more, durably. @returns how many segments. */
export function putCommonWalBack({
  dataDirectory,
  keptDirectory,
}: Pick<CommonWal, "dataDirectory" | "keptDirectory">): number {
  if (!existsSync(keptDirectory)) return 0;
  const walDirectory = realpathSync(join(dataDirectory, "pg_wal"));
  const missing = readdirSync(keptDirectory).filter(
    (name) => name !== STATUS_DIRECTORY && !existsSync(join(walDirectory, name)),
  );
  for (const name of missing) linkSync(join(keptDirectory, name), join(walDirectory, name));
  const statusDirectory = join(walDirectory, STATUS_DIRECTORY);
  mkdirSync(statusDirectory, { recursive: true, mode: 0o700 });
  for (const name of missing)
    for (const status of [`${name}.done`, `${name}.ready`]) {
      const kept = join(keptDirectory, STATUS_DIRECTORY, status);
      if (existsSync(kept) && !existsSync(join(statusDirectory, status)))
        linkSync(kept, join(statusDirectory, status));
    }
  syncDirectory(statusDirectory);
  syncDirectory(walDirectory);
  return missing.length;
}

/** What was kept is of no use any more. */
export function forgetCommonWal(keptDirectory: string): void {
  rmSync(keptDirectory, { recursive: true, force: true });
}

/** Of a history that both have, and not the segment in which they part. */
function isCommon(name: string, { segmentBytes, forkTimeline, forkLsn }: ForkPlace): boolean {
  const segment = parseWalSegment(name, segmentBytes);
  return segment !== null && segment.timeline <= forkTimeline && segment.startLsn + segmentBytes <= forkLsn;
}

type ForkPlace = Pick<CommonWal, "segmentBytes" | "forkTimeline" | "forkLsn">;
