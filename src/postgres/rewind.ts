import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import type { TimelineId } from "../base/ids.ts";
import { formatLsn, type Lsn } from "../base/lsn.ts";
import type { Result } from "../base/result.ts";
import { type CopyProgress, parseCopyProgress } from "./clone.ts";
import { type ReplicationConnection, renderConninfo } from "./conninfo.ts";
import { syncDirectory } from "./durable-file.ts";
import { type ProgramFailure, type ProgramOutput, runProgram } from "./program.ts";
import { segmentsFrom } from "./wal-segments.ts";

export interface RewindRun {
  readonly binDirectory: string;
  readonly dataDirectory: string;
  readonly configFile: string;
  readonly source: ReplicationConnection;
  readonly onStarted: (pid: number) => void;
  readonly onProgress: (progress: CopyProgress) => void;
}

/**
 * Makes a data directory that forked off a copy of `source` again, copying only what differs. PostgreSQL must be stopped;
 * one that crashed is recovered first by pg_rewind itself, which a `standby.signal` would prevent.
 */
export async function runRewind(run: RewindRun): Promise<Result<ProgramOutput, ProgramFailure>> {
  for (const file of ["standby.signal", "recovery.signal", "promote"]) {
    rmSync(join(run.dataDirectory, file), { force: true });
  }
  return runProgram({
    command: [
      join(run.binDirectory, "pg_rewind"),
      `--target-pgdata=${run.dataDirectory}`,
      `--source-server=${renderConninfo(run.source)}`,
      `--config-file=${run.configFile}`,
      "--progress",
    ],
    onStarted: run.onStarted,
    onErrorLine: (line) => {
      const progress = parseCopyProgress(line);
      if (progress !== null) run.onProgress(progress);
    },
  });
}

/**
 * True if pg_rewind gave up because it could not reach the source, before it changed anything: it may be tried again.
 * (Lost on the way, it says so differently, and the directory is half rewritten.)
 */
export function failedBeforeTouching(stderr: string): boolean {
  return (
    !stderr.includes("servers diverged") &&
    /connection to server .*failed|could not translate host/s.test(stderr)
  );
}

export interface ForkArchive {
  readonly dataDirectory: string;
  /** Holds one directory for each fork that was kept. */
  readonly forkedDirectory: string;
  readonly timeline: TimelineId;
  readonly forkLsn: Lsn;
  readonly segmentBytes: number;
  /** How many forks are kept; the oldest go. */
  readonly keep: number;
}

/**
 * Copies the WAL that this server wrote after the fork aside, synced, before a rewind throws it away: commits that were
 * never acknowledged, but that somebody may want to look at.
 *
 * @returns the directory.
 */
export async function archiveFork(archive: ForkArchive): Promise<string> {
  const walDirectory = join(archive.dataDirectory, "pg_wal");
  const name = `${archive.timeline}-${formatLsn(archive.forkLsn).replace("/", "_")}`;
  const target = join(archive.forkedDirectory, name);
  mkdirSync(target, { recursive: true, mode: 0o700 });
  const segments = segmentsFrom(
    readdirSync(walDirectory),
    archive.timeline,
    archive.forkLsn,
    archive.segmentBytes,
  );
  for (const segment of segments) {
    const copy = join(target, segment.name);
    await copyFile(join(walDirectory, segment.name), copy);
    syncDirectory(copy);
  }
  syncDirectory(target);
  syncDirectory(archive.forkedDirectory);
  prune(archive.forkedDirectory, archive.keep);
  return target;
}

function prune(forkedDirectory: string, keep: number): void {
  if (!existsSync(forkedDirectory)) return;
  const newestFirst = readdirSync(forkedDirectory)
    .map((name) => ({ name, atMs: statSync(join(forkedDirectory, name)).mtimeMs }))
    .sort((a, b) => b.atMs - a.atMs);
  for (const { name } of newestFirst.slice(keep)) {
    rmSync(join(forkedDirectory, name), { recursive: true, force: true });
  }
}
