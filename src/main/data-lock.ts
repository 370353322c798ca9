/** One process a data directory: who has it, and who gives way. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { err, ok, type Result } from "../base/result.ts";
import { tryLock } from "../supervisor/libc.ts";
import { isSameProcess, processStartTicks, signalProcess } from "../supervisor/process-table.ts";

export interface DataLockOptions {
  readonly dataDir: string;
  /** The supervisor started this process in place of a member that had ended. */
  readonly isStandIn: boolean;
  readonly clock: Clock;
  /** Told once where a stand-in is asked to end. */
  readonly onTakeOver: (pid: number) => void;
}

/** What the holder writes into the file that it has locked. */
interface Holder {
  readonly pid: number;
  readonly startTicks: number | null;
  readonly isStandIn: boolean;
}

/** A member that is told to end does so within a second or two. */
const GIVES_WAY_MS_MAX = 10_000;
const POLL_MS = 20;

/**
 * Takes the lock of a data directory; it goes with the process, however that ends.
 *
 * A stand-in gives way to whoever is started otherwise: its service manager does not know it, could not stop or upgrade it, and
 * would count each of its own attempts as a failure. PostgreSQL and its supervisor go on meanwhile, as at any restart.
 *
 * @returns the open file, to be kept; or why it cannot be had, for people.
 */
export async function lockDataDirectory(options: DataLockOptions): Promise<Result<number, string>> {
  const { dataDir, isStandIn, clock, onTakeOver } = options;
  const path = join(dataDir, "lock");
  let file: number;
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    file = openSync(path, "a", 0o600);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return err(
      `data-dir ${dataDir} cannot be written: ${why}. Make it writable for this user, or set data-dir`,
    );
  }
  const untilMs = clock.nowMs() + GIVES_WAY_MS_MAX;
  let asked: Holder | null = null;
  while (!tryLock(file)) {
    const holder: Holder | null = asked ?? standInOf(path);
    if (isStandIn || holder === null || clock.nowMs() >= untilMs) {
      closeSync(file);
      return err(`another guacamole runs on data-dir ${dataDir}: each member needs one of its own`);
    }
    if (asked === null) {
      onTakeOver(holder.pid);
      signalProcess(holder.pid, "SIGTERM");
      asked = holder;
    }
    await clock.sleep(POLL_MS);
  }
  const self: Holder = { pid: process.pid, startTicks: processStartTicks(process.pid), isStandIn };
  ftruncateSync(file);
  writeSync(file, `${JSON.stringify(self)}\n`);
  return ok(file);
}

/** The stand-in that holds the lock; null: whoever does is none, or has not said so yet. */
function standInOf(path: string): Holder | null {
  let holder: Partial<Holder> | null;
  try {
    holder = JSON.parse(readFileSync(path, "utf8")) as Partial<Holder> | null;
  } catch {
    return null;
  }
  const { pid, startTicks = null, isStandIn } = holder ?? {};
  if (isStandIn !== true || pid === undefined) return null;
  // Written by one that has ended, its id may be anybody's by now.
  return isSameProcess(pid, startTicks) ? { pid, startTicks, isStandIn } : null;
}
