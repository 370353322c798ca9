import { closeSync, openSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { inspectInstallation } from "../postgres/versions.ts";
import { hostTime } from "./host-time.ts";
import { LineFraming } from "./line-framing.ts";
import { MemberGuard, STAND_IN_VARIABLE, type StartedMember } from "./member-guard.ts";
import { MemberLines } from "./member-lines.ts";
import { OrphanUndertaker } from "./orphans.ts";
import { ownUser } from "./own-user.ts";
import { parseEnvelope } from "./parse-request.ts";
import type { SupervisorEvent, SupervisorResponse } from "./protocol.ts";
import { SocketWriter } from "./socket-writer.ts";
import { createStateDirectory, StateLock, statePaths } from "./state-directory.ts";
import { Supervisor } from "./supervisor.ts";
import { Watchdog, type WatchdogMode } from "./watchdog.ts";
import { openWatchdogDevice } from "./watchdog-device.ts";

export interface RunSupervisorOptions {
  /** PGDATA, absolute. The supervisor's own files go beside it, into `<PGDATA>.guacamole/`. */
  readonly dataDirectory: string;
  readonly binDirectory: string;
  /** Null: `supervisor.sock` in the state directory. */
  readonly socketPath: string | null;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the supervisor. PostgreSQL lives on and is found again by the next supervisor (except in a container). */
  readonly shutdown: AbortSignal;
  /**
   * This is the first process of a container, which ends with it: PostgreSQL is stopped cleanly first, and orphans are
   * buried.
   */
  readonly isContainer: boolean;
  readonly watchdog: { readonly mode: WatchdogMode; readonly device: string };
}

interface Connection {
  /** Of all that were made to this process. */
  readonly line: number;
  readonly framing: LineFraming;
  readonly writer: SocketWriter;
}

/** Below the 30 s that Kubernetes grants; an immediate stop follows, which takes at most six more. */
const CONTAINER_STOP_MS = 20_000;
/** What `sockaddr_un` has room for, without the final zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Where the supervisor of a data directory listens unless told otherwise. */
export function defaultSocketPath(dataDirectory: string): string {
  return statePaths(dataDirectory).socketFile;
}

/**
 * Looks after one PostgreSQL until `shutdown`, answering members on a Unix socket.
 *
 * @throws {Error} saying what stands in the way and what to do: run as root, programs missing, directory not writable,
 * another supervisor there.
 */
export async function runSupervisor(options: RunSupervisorOptions): Promise<void> {
  const user = ownUser();
  if (user.uid === 0) {
    throw new Error(
      "PostgreSQL does not run as root, and so does not its supervisor: run it as PostgreSQL's system user (postgres.user)",
    );
  }
  const installation = inspectInstallation(options.binDirectory);
  if (!installation.ok) throw new Error(installation.error);
  const paths = statePaths(options.dataDirectory);
  const socketPath = options.socketPath ?? paths.socketFile;
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    throw new Error(
      `the socket path ${socketPath} is longer than the ${MAX_SOCKET_PATH_BYTES} bytes that Unix sockets allow; set supervisor.socket`,
    );
  }
  process.umask(0o077);
  createStateDirectory(paths, user.username);
  const lock = new StateLock(paths);
  if (!lock.take()) {
    throw new Error(
      `another supervisor looks after ${paths.dataDirectory} already (it holds ${paths.lockFile})`,
    );
  }

  const connections = new Set<Bun.Socket<Connection>>();
  const { clock, log, watchdog } = options;
  const supervisor = new Supervisor({
    paths,
    installation: installation.value,
    superuserSystemUsers: ["root", user.username],
    clock,
    log,
    onEvent: (event) => broadcast(connections, event),
    hostTime: hostTime(),
    watchdog: new Watchdog({
      mode: watchdog.mode,
      open: () => openWatchdogDevice(watchdog.device),
      nowMs: () => clock.nowMs(),
      log,
    }),
    memberGuard: options.isContainer ? null : new MemberGuard({ clock, log, start: startMember }),
  });
  const listener = listen(socketPath, connections, supervisor, options.log);
  options.log.info("supervisor.listening", { socketPath, postgresVersion: installation.value.version });

  const undertaker = new OrphanUndertaker(process.pid, options.log);
  if (options.isContainer) undertaker.start();

  await aborted(options.shutdown);
  listener.stop(true);
  rmSync(socketPath, { force: true });
  if (options.isContainer) {
    const stopped = await supervisor.handle({ kind: "stop", mode: "fast", deadlineMs: CONTAINER_STOP_MS });
    if (!stopped.ok) options.log.error("supervisor.stop.failed", { message: stopped.message });
  }
  await supervisor.guardTerms(lock);
  await supervisor.close();
  undertaker.stop();
  lock.release();
  options.log.info("supervisor.ended", {});
}

function listen(
  socketPath: string,
  connections: Set<Bun.Socket<Connection>>,
  supervisor: Supervisor,
  log: Log,
): Bun.UnixSocketListener<Connection> {
  // A socket file that a killed supervisor left refuses the bind. The lock says that nobody listens on it.
  rmSync(socketPath, { force: true });
  const lines = new MemberLines();
  // The group may connect (a member in another container); the umask, since a chmod afterwards would come too late.
  const umask = process.umask(0o117);
  try {
    return Bun.listen<Connection>({
      unix: socketPath,
      socket: {
        open: (socket) => {
          socket.data = { line: lines.open(), framing: new LineFraming(), writer: new SocketWriter() };
          connections.add(socket);
        },
        close: (socket) => {
          connections.delete(socket);
        },
        error: (_socket, error) => log.warn("supervisor.connection.failed", { message: error.message }),
        drain: (socket) => socket.data.writer.flush(socket),
        data: (socket, chunk) => {
          try {
            for (const line of socket.data.framing.push(chunk)) answer(socket, line, supervisor, lines, log);
          } catch (error) {
            log.warn("supervisor.connection.dropped", { message: String(error) });
            socket.end();
          }
        },
      },
    });
  } catch (error) {
    throw new Error(
      `cannot listen on ${socketPath}: ${error instanceof Error ? error.message : String(error)}; ` +
        `${dirname(socketPath)} must exist and be writable by PostgreSQL's system user`,
    );
  } finally {
    process.umask(umask);
  }
}

function answer(
  socket: Bun.Socket<Connection>,
  text: string,
  supervisor: Supervisor,
  lines: MemberLines,
  log: Log,
): void {
  const envelope = parseEnvelope(text);
  if (!envelope.ok) {
    const { id, message } = envelope.error;
    log.warn("supervisor.request.malformed", { message });
    // Without an id nobody could be answered.
    if (id === null) socket.end();
    else socket.data.writer.send(socket, { id, response: { ok: false, code: "unavailable", message } });
    return;
  }
  const { id, request } = envelope.value;
  const respond = (response: SupervisorResponse): void => socket.data.writer.send(socket, { id, response });
  const { line } = socket.data;
  // What a member says first, each time it connects.
  if (request.kind === "install-certificates") lines.claim(line);
  supervisor
    .handle(request, () => lines.maySpeak(line))
    .then(respond, (error: unknown) => {
      respond({ ok: false, code: "unavailable", message: String(error) });
    });
}

/** The next member, as the one before it was started; it lives on when this process ends. */
function startMember({ command, environment, directory, outputFile }: StartedMember): void {
  const output = openOutput(outputFile) ?? "inherit";
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: output,
    stderr: output,
    cwd: directory,
    env: { ...environment, [STAND_IN_VARIABLE]: "1" },
    detached: true,
  });
  child.unref();
  if (typeof output === "number") closeSync(output);
}

/** Null where it has none, or where whoever opened it had more rights than we have: our own log takes it then. */
function openOutput(file: string | null): number | null {
  try {
    return file === null ? null : openSync(file, "a");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "EACCES" || error.code === "EPERM"))
      return null;
    throw error;
  }
}

function broadcast(connections: ReadonlySet<Bun.Socket<Connection>>, event: SupervisorEvent): void {
  for (const socket of connections) socket.data.writer.send(socket, { event });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
