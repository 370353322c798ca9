import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** What `/proc` says of processes. A process that ends while it is looked at is simply not there. */

/** When the process started, in clock ticks since boot: with the id, it names one process for ever. Null: not there. */
export function processStartTicks(pid: number): number | null {
  const fields = readStat(pid);
  return fields === null ? null : Number(fields[19]);
}

/** The id of the parent process. Null: not there. */
export function parentOf(pid: number): number | null {
  const fields = readStat(pid);
  return fields === null ? null : Number(fields[1]);
}

/** True if the process is a `postgres` that works in `directory` (resolved): all of PostgreSQL's processes do. */
export function isPostgresIn(pid: number, directory: string): boolean {
  return readOrNull(() => readlinkSync(`/proc/${pid}/cwd`)) === directory && processName(pid) === "postgres";
}

/** Every live `postgres` process of the data directory, the postmaster among them. Costs some milliseconds. */
export function postgresProcessesIn(directory: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isPostgresIn(pid, directory));
}

/** The title a PostgreSQL process gives itself: `postgres: m2: walreceiver streaming 0/3000148`. */
export function processTitle(pid: number): string | null {
  return readOrNull(() => readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim());
}

/** Still the process that started then, and not just a zombie. */
export function isSameProcess(pid: number, startTicks: number | null): boolean {
  const fields = readStat(pid);
  const state = fields?.[0];
  const isThere = state !== undefined && state !== "Z" && state !== "X";
  return isThere && startTicks !== null && Number(fields?.[19]) === startTicks;
}

/** How a process is, by the kernel; null: it is not there, or has ended. */
export function processState(pid: number): "running" | "stopped" | "uninterruptible" | null {
  const state = readStat(pid)?.[0];
  if (state === undefined || state === "Z" || state === "X") return null;
  if (state === "T" || state === "t") return "stopped";
  return state === "D" ? "uninterruptible" : "running";
}

/** The children of a process that have ended and wait to be noticed. */
export function zombiesOf(parent: number): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const fields = readStat(pid);
      return fields !== null && fields[0] === "Z" && Number(fields[1]) === parent;
    });
}

/** Sends a signal; a process that is gone already is fine. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** SIGKILL. False: it is another system user's, and not ours to end. */
export function killProcess(pid: number): boolean {
  try {
    signalProcess(pid, "SIGKILL");
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EPERM") return false;
    throw error;
  }
}

function processName(pid: number): string | null {
  return readOrNull(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim());
}

/** The fields of `/proc/<pid>/stat` after the name (which may hold anything), from the state on. */
function readStat(pid: number): readonly string[] | null {
  const text = readOrNull(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  return text === null ? null : text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function readOrNull(read: () => string): string | null {
  try {
    return read();
  } catch {
    // Gone between two looks, or not ours to see: both mean that it is not a process of ours.
    return null;
  }
}
