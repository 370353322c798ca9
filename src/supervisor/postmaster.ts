import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { err, ok, type Result } from "../base/result.ts";
import { ensureStandbySignal, removeStandbySignal, resolvedDirectory } from "../postgres/data-directory.ts";
import { giveOrdinaryPriority, programEnvironment } from "../postgres/program.ts";
import { hasProcessEnded, openProcess } from "./libc.ts";
import {
  isPostgresIn,
  isSameProcess,
  parentOf,
  postgresProcessesIn,
  processStartTicks,
  processState,
  processTitle,
  signalProcess,
} from "./process-table.ts";

export interface RunningPostmaster {
  readonly pid: number;
  readonly startedAtMs: number;
  /** With the id it names one process for ever, however often ids are used again. Null: it was gone too soon to ask. */
  readonly startTicks: number | null;
}

export interface PostmasterExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** The last lines PostgreSQL wrote. */
  readonly logTail: string;
  /** We asked for it. */
  readonly wasStopped: boolean;
}

export interface PostmasterOptions {
  readonly dataDirectory: string;
  readonly logFile: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onStarted: (postmaster: RunningPostmaster) => void;
  readonly onExited: (exit: PostmasterExit) => void;
}

/** How often a postmaster that is not our child is looked at. The look is nothing; waking up costs 0.5 % of a core. */
const WATCH_INTERVAL_MS = 20;
const POLL_MS = 3;
/** During a fast stop: how often the senders are looked at, and how long a standby may take to confirm the last byte. */
const SENDERS_LOOK_MS = 150;
const SENDERS_GRACE_MS = 400;
/** From spawn to sockets bound; PostgreSQL needs some 20 ms. */
const START_DEADLINE_MS = 10_000;
/** PostgreSQL itself kills its children five seconds into an immediate shutdown. */
const IMMEDIATE_DEADLINE_MS = 6_000;
const KILL_DEADLINE_MS = 10_000;
const LOG_TAIL_BYTES = 4096;
const LOG_ROTATE_BYTES = 16 * 1024 * 1024;

/**
 * One PostgreSQL server process of one data directory: starts it, finds it again, sees it end within milliseconds, ends
 * it. It is detached: it lives on when this process ends.
 */
export class Postmaster {
  readonly #options: PostmasterOptions;
  #running: (RunningPostmaster & { readonly ended: PromiseWithResolvers<void> }) | null = null;
  #watch: { readonly timer: Timer; readonly fileDescriptor: number | null } | null = null;
  #isStopping = false;
  #isReloadOwed = false;
  #logStart = 0;

  constructor(options: PostmasterOptions) {
    this.#options = options;
  }

  get running(): RunningPostmaster | null {
    if (this.#running === null) return null;
    const { pid, startedAtMs, startTicks } = this.#running;
    return { pid, startedAtMs, startTicks };
  }

  /** Finds a postmaster that somebody (an earlier life of ours) started, and watches it. */
  adopt(): void {
    if (this.#running !== null) return;
    const file = readPidFile(this.#options.dataDirectory);
    const directory = resolvedDirectory(this.#options.dataDirectory);
    if (file === null || !isPostgresIn(file.pid, directory)) return;
    // The id may have been given to a backend of a postmaster that is gone: only a parentless one is the postmaster.
    const parent = parentOf(file.pid);
    if (parent !== null && isPostgresIn(parent, directory)) return;
    const startTicks = processStartTicks(file.pid);
    const fileDescriptor = openProcess(file.pid);
    this.#begin({ pid: file.pid, startedAtMs: file.startedAtMs, startTicks });
    this.#logStart = Math.max(0, fileSize(this.#options.logFile) - LOG_TAIL_BYTES);
    const hasEnded = (): boolean =>
      fileDescriptor === null ? !isSameProcess(file.pid, startTicks) : hasProcessEnded(fileDescriptor);
    const timer = setInterval(() => {
      if (hasEnded()) this.#end(null, null);
    }, WATCH_INTERVAL_MS);
    this.#watch = { timer, fileDescriptor };
    this.#options.log.info("supervisor.postmaster.adopted", { pid: file.pid });
  }

  /**
   * Starts PostgreSQL as a standby and waits until its process runs with its sockets bound (not until it takes
   * connections). `isWanted` is asked last thing before the spawn: a stop may have come in between.
   *
   * @param role `primary` only for the very primary that has just ended cleanly (`restarting.ts`).
   */
  async start(
    command: readonly string[],
    isWanted: () => boolean,
    role: "standby" | "primary" = "standby",
  ): Promise<Result<void, "unwanted" | { readonly message: string }>> {
    this.adopt();
    if (this.#running !== null) return ok(undefined);
    const { dataDirectory, logFile, clock } = this.#options;
    if (!(await this.#clearDirectory())) {
      return err({ message: `processes of an earlier PostgreSQL in ${dataDirectory} do not end` });
    }
    if (!isWanted()) return err("unwanted");
    if (this.#running !== null) return ok(undefined);
    removeStalePidFile(dataDirectory);
    rmSync(join(dataDirectory, "promote"), { force: true });
    rmSync(join(dataDirectory, "recovery.signal"), { force: true });
    if (role === "primary") removeStandbySignal(dataDirectory);
    else ensureStandbySignal(dataDirectory);
    if (fileSize(logFile) > LOG_ROTATE_BYTES) renameSync(logFile, `${logFile}.1`);
    const output = openSync(logFile, "a", 0o600);
    this.#logStart = fileSize(logFile);
    const spawned = spawnDetached(command, output, (code, signal) => this.#end(code, signal));
    closeSync(output);
    if (!spawned.ok) return err({ message: spawned.error });
    const pid = spawned.value;
    this.#begin({ pid, startedAtMs: clock.wallMs(), startTicks: processStartTicks(pid) });
    const deadlineMs = clock.nowMs() + START_DEADLINE_MS;
    while (clock.nowMs() < deadlineMs) {
      if (this.running?.pid !== spawned.value) {
        return err({ message: `PostgreSQL ended while it started: ${this.#logTail()}` });
      }
      const file = readPidFile(dataDirectory);
      if (file?.pid === spawned.value && this.#isReloadOwed) {
        this.#isReloadOwed = false;
        this.reload();
      }
      if (file?.pid === spawned.value && file.hasSockets) return ok(undefined);
      await clock.sleep(POLL_MS);
    }
    return err({
      message: `PostgreSQL did not get ready to listen in ${START_DEADLINE_MS} ms: ${this.#logTail()}`,
    });
  }

  /**
   * Ends PostgreSQL, every process of it. Resolves once all are gone: from then on nothing is acknowledged here.
   *
   * @param immediateMs how long an immediate stop that follows a fast one may take before it becomes a kill.
   * @returns false if processes do not end even when killed (the kernel holds them).
   */
  async stop(
    mode: "fast" | "immediate",
    deadlineMs: number,
    immediateMs: number = IMMEDIATE_DEADLINE_MS,
  ): Promise<boolean> {
    this.adopt();
    const running = this.#running;
    if (running !== null) {
      this.#isStopping = true;
      // One that is stopped by a signal hears no other; its children end with it.
      const isFrozen = processState(running.pid) === "stopped";
      if (isFrozen) this.#options.log.warn("supervisor.stop.escalated", { to: "kill", why: "frozen" });
      signalProcess(running.pid, isFrozen ? "SIGKILL" : mode === "fast" ? "SIGINT" : "SIGQUIT");
      const hasEnded =
        mode === "fast"
          ? await this.#endsFast(running.ended.promise, deadlineMs)
          : await this.#endsWithin(running.ended.promise, deadlineMs);
      if (!hasEnded && mode === "fast") {
        signalProcess(running.pid, "SIGQUIT");
        this.#options.log.warn("supervisor.stop.escalated", { to: "immediate", deadlineMs });
        await this.#endsWithin(running.ended.promise, immediateMs);
      }
      if (this.#running === running) {
        signalProcess(running.pid, "SIGKILL");
        this.#options.log.warn("supervisor.stop.escalated", { to: "kill" });
        await this.#endsWithin(running.ended.promise, KILL_DEADLINE_MS);
      }
    }
    return this.#clearDirectory();
  }

  /** Has PostgreSQL read its settings again. False: it does not run. */
  reload(): boolean {
    if (this.#running === null) return false;
    // A process that has not come as far as its own handlers is *ended* by this signal. Its pid file says that it has; until
    // then the reload is owed, since it may have read its settings already.
    if (this.#hasHandlers()) signalProcess(this.#running.pid, "SIGHUP");
    else this.#isReloadOwed = true;
    return true;
  }

  /** Has a standby look for the promote file. False: it does not run, or not far enough to look. */
  tellToPromote(): boolean {
    if (this.#running === null || !this.#hasHandlers()) return false;
    signalProcess(this.#running.pid, "SIGUSR1");
    return true;
  }

  #hasHandlers(): boolean {
    return readPidFile(this.#options.dataDirectory)?.pid === this.#running?.pid;
  }

  /**
   * Ends the walreceiver directly. The startup process, which normally does that after a reload, may be busy (a recovery
   * conflict) for as long as `max_standby_streaming_delay`, while the walreceiver goes on acknowledging.
   */
  endWalReceiver(clusterName: string): void {
    if (this.#running === null) return;
    const title = `postgres: ${clusterName}: walreceiver`;
    for (const pid of postgresProcessesIn(resolvedDirectory(this.#options.dataDirectory))) {
      if (processTitle(pid)?.startsWith(title)) signalProcess(pid, "SIGTERM");
    }
  }

  /** Stops watching; PostgreSQL lives on. */
  release(): void {
    if (this.#watch !== null) {
      clearInterval(this.#watch.timer);
      if (this.#watch.fileDescriptor !== null) closeSync(this.#watch.fileDescriptor);
      this.#watch = null;
    }
  }

  #begin(postmaster: RunningPostmaster): void {
    this.#running = { ...postmaster, ended: Promise.withResolvers<void>() };
    this.#isStopping = false;
    this.#isReloadOwed = false;
    this.#options.onStarted(postmaster);
  }

  #end(code: number | null, signal: string | null): void {
    const running = this.#running;
    if (running === null) return;
    this.release();
    this.#running = null;
    this.#options.onExited({ code, signal, logTail: this.#logTail(), wasStopped: this.#isStopping });
    running.ended.resolve();
  }

  /**
   * A fast stop ends once each standby has confirmed everything. One that is frozen never does, and would hold the stop up for
   * `wal_sender_timeout`: once the shutdown's checkpoint is written (its process is gone then), a sender that is still there
   * after a while is ended.
   */
  async #endsFast(ended: Promise<void>, deadlineMs: number): Promise<boolean> {
    const { clock, dataDirectory } = this.#options;
    const directory = resolvedDirectory(dataDirectory);
    const untilMs = clock.nowMs() + deadlineMs;
    let writtenAtMs: number | null = null;
    while (clock.nowMs() < untilMs) {
      const leftMs = untilMs - clock.nowMs();
      if (await this.#endsWithin(ended, Math.min(leftMs, SENDERS_LOOK_MS))) return true;
      const titles = postgresProcessesIn(directory).map((pid) => ({ pid, title: processTitle(pid) ?? "" }));
      if (titles.some(({ title }) => title.includes(": checkpointer"))) continue;
      writtenAtMs ??= clock.nowMs();
      if (clock.nowMs() - writtenAtMs < SENDERS_GRACE_MS) continue;
      for (const { pid, title } of titles) if (title.includes(": walsender ")) signalProcess(pid, "SIGTERM");
    }
    return false;
  }

  async #endsWithin(ended: Promise<void>, durationMs: number): Promise<boolean> {
    const timer = new AbortController();
    const timeout = this.#options.clock.sleep(durationMs, timer.signal).then(
      () => false,
      () => true,
    );
    const hasEnded = await Promise.race([ended.then(() => true), timeout]);
    timer.abort();
    return hasEnded;
  }

  /** Children outlive a killed postmaster for a moment, and one that is busy for longer. No new server beside them. */
  async #clearDirectory(): Promise<boolean> {
    const { clock, dataDirectory } = this.#options;
    const directory = resolvedDirectory(dataDirectory);
    const deadlineMs = clock.nowMs() + KILL_DEADLINE_MS;
    while (clock.nowMs() < deadlineMs) {
      if (this.#running !== null) return true;
      const left = postgresProcessesIn(directory);
      if (left.length === 0) return true;
      for (const pid of left) signalProcess(pid, "SIGKILL");
      await clock.sleep(POLL_MS);
    }
    return false;
  }

  #logTail(): string {
    const { logFile } = this.#options;
    const size = fileSize(logFile);
    const from = Math.max(this.#logStart, size - LOG_TAIL_BYTES);
    if (size <= from) return "";
    const file = openSync(logFile, "r");
    try {
      const bytes = Buffer.alloc(size - from);
      const count = readSync(file, bytes, 0, bytes.length, from);
      return bytes.subarray(0, count).toString("utf8").trim().split("\n").slice(-12).join("\n");
    } finally {
      closeSync(file);
    }
  }
}

function spawnDetached(
  command: readonly string[],
  output: number,
  onExit: (code: number | null, signal: string | null) => void,
): Result<number, string> {
  try {
    const child = Bun.spawn([...command], {
      stdin: "ignore",
      stdout: output,
      stderr: output,
      cwd: "/",
      env: programEnvironment(process.env),
      detached: true,
      onExit: (subprocess, exitCode) => {
        const { signalCode } = subprocess;
        onExit(exitCode, signalCode === null ? null : String(signalCode));
      },
    });
    child.unref();
    giveOrdinaryPriority(child.pid);
    return ok(child.pid);
  } catch (error) {
    return err(
      `${command[0] ?? ""} could not be started: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

interface PidFile {
  readonly pid: number;
  readonly startedAtMs: number;
  /** The server has bound its sockets: it wrote its status. */
  readonly hasSockets: boolean;
  /** The lock beside its Unix socket, or null where it has none. */
  readonly socketLockFile: string | null;
}

/** Reads `postmaster.pid`: id, directory, start, port, socket directory, address, shared memory, status. */
export function parsePidFile(text: string): PidFile | null {
  const lines = text.split("\n").map((line) => line.trim());
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  const [port = "", socketDirectory = ""] = lines.slice(3, 5);
  return {
    pid,
    startedAtMs: (Number(lines[2]) || 0) * 1000,
    hasSockets: (lines[7] ?? "") !== "",
    socketLockFile: socketDirectory === "" ? null : join(socketDirectory, `.s.PGSQL.${port}.lock`),
  };
}

function readPidFile(dataDirectory: string): PidFile | null {
  const file = join(dataDirectory, "postmaster.pid");
  if (!existsSync(file)) return null;
  try {
    return parsePidFile(readFileSync(file, "utf8"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

/** The process that a lock file names, or null. */
function readPid(lockFile: string): number | null {
  return existsSync(lockFile) ? Number(readFileSync(lockFile, "utf8").split("\n")[0]) : null;
}

/**
 * PostgreSQL refuses to start while a left-over file names a process that is there, even if it is another program by now
 * (ids are reused soon in a container), or dead and not buried yet. We know better: no `postgres` process works in the
 * directory.
 */
function removeStalePidFile(dataDirectory: string): void {
  const file = readPidFile(dataDirectory);
  if (file === null || !existsSync(`/proc/${file.pid}`)) return;
  const { pid, socketLockFile } = file;
  if (socketLockFile !== null && readPid(socketLockFile) === pid) rmSync(socketLockFile, { force: true });
  rmSync(join(dataDirectory, "postmaster.pid"), { force: true });
}

function fileSize(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}
