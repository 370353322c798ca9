import { rmSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { type ReplicationConnection, renderConninfo } from "./conninfo.ts";
import { ensureStandbySignal, markDataDirectory } from "./data-directory.ts";
import { type ProgramFailure, runProgram } from "./program.ts";

export interface CloneRun {
  readonly binDirectory: string;
  readonly workDirectory: string;
  /** Where the WAL shall lie, with a link to it; null: in the directory itself. */
  readonly walDirectory: string | null;
  readonly clusterId: ClusterId;
  readonly source: ReplicationConnection;
  readonly signal: AbortSignal;
  readonly onStarted: (pid: number) => void;
  readonly onProgress: (progress: CopyProgress) => void;
}

export interface CopyProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/**
 * Copies a running server into `workDirectory`, with the WAL that makes the copy consistent, synced to disk, marked as
 * ours and as a standby. What was made of it is removed if that fails.
 */
export async function runBaseBackup(run: CloneRun): Promise<Result<void, ProgramFailure>> {
  removeWork(run);
  const copied = await runProgram({
    command: [
      join(run.binDirectory, "pg_basebackup"),
      `--dbname=${renderConninfo(run.source)}`,
      `--pgdata=${run.workDirectory}`,
      ...(run.walDirectory === null ? [] : [`--waldir=${run.walDirectory}`]),
      "--wal-method=stream",
      "--checkpoint=fast",
      "--no-password",
      "--no-manifest",
      "--progress",
    ],
    signal: run.signal,
    onStarted: run.onStarted,
    onErrorLine: (line) => {
      const progress = parseCopyProgress(line);
      if (progress !== null) run.onProgress(progress);
    },
  });
  if (!copied.ok) {
    removeWork(run);
    return err(copied.error);
  }
  markDataDirectory(run.workDirectory, run.clusterId);
  ensureStandbySignal(run.workDirectory);
  return ok(undefined);
}

function removeWork({ workDirectory, walDirectory }: CloneRun): void {
  for (const directory of [workDirectory, walDirectory])
    if (directory !== null) rmSync(directory, { recursive: true, force: true });
}

/** Reads the progress lines of `pg_basebackup` and `pg_rewind`: `23013/30234 kB (76%)…`. */
export function parseCopyProgress(line: string): CopyProgress | null {
  const match = /^\s*(\d+)\/(\d+) kB \(/.exec(line);
  if (match === null) return null;
  return { doneBytes: Number(match[1]) * 1024, totalBytes: Number(match[2]) * 1024 };
}
