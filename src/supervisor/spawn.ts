import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
} from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../base/clock.ts";
import { err, ok, type Result } from "../base/result.ts";
import { connectSupervisor } from "./client.ts";
import { statePaths } from "./state-directory.ts";

export interface StartSupervisorOptions {
  /** The program and its first arguments, for instance `["/usr/bin/guacamole", "supervise"]`. */
  readonly command: readonly string[];
  readonly dataDirectory: string;
  readonly binDirectory: string;
  readonly socketPath: string;
  /** PostgreSQL's system user. Used if this process is root's; else the supervisor runs as whoever we are. */
  readonly user: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** How long it may take until it answers on its socket. */
  readonly deadlineMs: number;
}

const POLL_MS = 10;
/** Each disk that hangs holds a thread of the pool, of which a small machine has two: what else they do must go on. */
const UV_THREADPOOL_SIZE = "8";
const LOG_ROTATE_BYTES = 8 * 1024 * 1024;

/** Not handed on: what would give away a secret, or change how the process (or PostgreSQL's programs) works. */
const WITHHELD =
  /^(GUACAMOLE_TOKEN|BUN_.*|NODE_OPTIONS|PG[A-Z_]*|NOTIFY_SOCKET|WATCHDOG_(USEC|PID)|LISTEN_(FDS|PID|FDNAMES))$/;

/**
 * Starts the supervisor as a process of its own session, with PostgreSQL's system user's rights, that outlives us; resolves
 * with its id once it answers.
 *
 * @throws {Error} if it ends or does not answer in time, with what it said.
 */
export async function startSupervisorProcess(options: StartSupervisorOptions): Promise<number> {
  const identity = process.getuid?.() === 0 ? systemUser(options.user) : null;
  const log = openLog(options.dataDirectory, identity);
  const child = spawn(options, identity, log.fileDescriptor);
  closeSync(log.fileDescriptor);
  child.unref();
  let exitCode: number | null = null;
  child.exited.then((code) => {
    exitCode = code;
  });
  const deadlineMs = options.clock.nowMs() + options.deadlineMs;
  while (options.clock.nowMs() < deadlineMs && exitCode === null) {
    const client = existsSync(options.socketPath)
      ? await connectSupervisor({ socketPath: options.socketPath, clock: options.clock })
      : null;
    if (client?.ok) {
      client.value.close();
      return child.pid;
    }
    await options.clock.sleep(POLL_MS);
  }
  const said = readFileSync(log.path).subarray(log.offset).toString("utf8").trim().slice(-1500);
  const what =
    exitCode === null ? `does not answer on ${options.socketPath}` : `ended with exit code ${exitCode}`;
  throw new Error(`the supervisor of ${options.dataDirectory} ${what}: ${said || `see ${log.path}`}`);
}

/** The environment that a supervisor gets. */
export function supervisorEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !WITHHELD.test(name)) kept[name] = value;
  }
  return kept;
}

/**
 * The same command with the rights of a system user and of its groups, where this process is root's; as whoever we are, where
 * it is not. The error says why that cannot be.
 */
export function asSystemUser(user: string, command: readonly string[]): Result<readonly string[], string> {
  if (process.getuid?.() !== 0) return ok(command);
  const setpriv = Bun.which("setpriv");
  if (setpriv === null)
    return err("root's rights are given up with 'setpriv' (util-linux), which is not here");
  try {
    return ok(withRights(setpriv, systemUser(user), command));
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

function withRights(
  setpriv: string,
  { uid, gid }: SystemUser,
  command: readonly string[],
): readonly string[] {
  return [setpriv, `--reuid=${uid}`, `--regid=${gid}`, "--init-groups", "--", ...command];
}

interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

function systemUser(name: string): SystemUser {
  const uid = Bun.spawnSync(["id", "-u", name]);
  const gid = Bun.spawnSync(["id", "-g", name]);
  if (!uid.success || !gid.success) {
    throw new Error(`there is no system user '${name}' on this host; make one, or set postgres.user`);
  }
  const user = { name, uid: Number(uid.stdout.toString()), gid: Number(gid.stdout.toString()) };
  if (user.uid === 0)
    throw new Error("PostgreSQL does not run as root: set postgres.user to another system user");
  return user;
}

/** `setpriv` keeps the user's supplementary groups (Debian's `ssl-cert`), which a plain uid and gid drop. */
function spawn(options: StartSupervisorOptions, identity: SystemUser | null, output: number): Bun.Subprocess {
  const command = [
    ...options.command,
    "--socket",
    options.socketPath,
    "--data-dir",
    options.dataDirectory,
    "--bin-dir",
    options.binDirectory,
  ];
  const setpriv = identity === null ? null : Bun.which("setpriv");
  const withIdentity =
    identity === null || setpriv === null ? command : withRights(setpriv, identity, command);
  return Bun.spawn([...withIdentity], {
    stdin: "ignore",
    stdout: output,
    stderr: output,
    cwd: "/",
    detached: true,
    env: { ...supervisorEnvironment(options.environment), UV_THREADPOOL_SIZE },
    ...(identity !== null && setpriv === null ? { uid: identity.uid, gid: identity.gid } : {}),
  });
}

function openLog(
  dataDirectory: string,
  identity: SystemUser | null,
): { readonly fileDescriptor: number; readonly path: string; readonly offset: number } {
  const paths = statePaths(dataDirectory);
  makeOwned(dirname(dataDirectory), identity, 0o755);
  makeOwned(paths.stateDirectory, identity, 0o700);
  const path = paths.supervisorLogFile;
  if (existsSync(path) && statSync(path).size > LOG_ROTATE_BYTES) renameSync(path, `${path}.1`);
  const fileDescriptor = openSync(path, "a", 0o600);
  if (identity !== null) chownSync(path, identity.uid, identity.gid);
  return { fileDescriptor, path, offset: statSync(path).size };
}

/** Makes a directory that is not there yet, for the user. One that is there keeps its owner: it may be anybody's. */
function makeOwned(directory: string, identity: SystemUser | null, mode: number): void {
  if (existsSync(directory)) return;
  try {
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, mode);
    if (identity !== null) chownSync(directory, identity.uid, identity.gid);
  } catch (error) {
    throw new Error(
      `${directory} cannot be made: ${error instanceof Error ? error.message : String(error)}; ` +
        "it must be there, and writable by PostgreSQL's system user",
    );
  }
}
