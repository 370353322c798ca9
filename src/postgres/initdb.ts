import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { InitdbOptions } from "../cluster/state.ts";
import { ensureStandbySignal, markDataDirectory } from "./data-directory.ts";
import { renameDurably, writeDurably } from "./durable-file.ts";
import { type ProgramFailure, runProgram } from "./program.ts";

export interface InitdbRun {
  readonly binDirectory: string;
  /** Absent or empty: the caller made sure. */
  readonly dataDirectory: string;
  readonly clusterId: ClusterId;
  readonly options: InitdbOptions;
  readonly signal: AbortSignal;
  readonly onStarted: (pid: number) => void;
}

/** Where initdb works until its result is complete. */
export function initdbWorkDirectory(dataDirectory: string): string {
  return `${dataDirectory}.initdb-tmp`;
}

/**
 * Makes a new PostgreSQL beside `dataDirectory` and renames it there once it is complete and marked as ours: a crash half
 * way leaves nothing that looks like data.
 */
export async function runInitdb(run: InitdbRun): Promise<Result<void, ProgramFailure>> {
  const work = initdbWorkDirectory(run.dataDirectory);
  rmSync(work, { recursive: true, force: true });
  const made = await runProgram({
    command: [
      join(run.binDirectory, "initdb"),
      `--pgdata=${work}`,
      "--data-checksums",
      "--username=postgres",
      "--auth-local=peer",
      "--auth-host=scram-sha-256",
      `--encoding=${run.options.encoding}`,
      `--locale=${run.options.locale}`,
      ...(run.options.walSegmentMb === undefined ? [] : [`--wal-segsize=${run.options.walSegmentMb}`]),
      "--no-instructions",
    ],
    signal: run.signal,
    onStarted: run.onStarted,
  });
  if (!made.ok) {
    rmSync(work, { recursive: true, force: true });
    return err(made.error);
  }
  keepWalSizes(work);
  markDataDirectory(work, run.clusterId);
  ensureStandbySignal(work);
  renameDurably(work, run.dataDirectory);
  return ok(undefined);
}

/** initdb counts these in WAL files; small files would mean checkpoints more often. These are its values for 16 MB. */
const WAL_SIZES = { max_wal_size: "1GB", min_wal_size: "80MB" } as const;

function keepWalSizes(dataDirectory: string): void {
  const file = join(dataDirectory, "postgresql.conf");
  const text = Object.entries(WAL_SIZES).reduce(
    (so, [name, size]) => so.replace(new RegExp(`^${name} = \\S+`, "m"), `${name} = ${size}`),
    readFileSync(file, "utf8"),
  );
  writeDurably(file, text, 0o600);
}
