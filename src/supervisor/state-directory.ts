import { accessSync, closeSync, constants, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { tryLock } from "./libc.ts";

/** Where everything of ours lies: beside the data directory, so that no base backup and no rewind ever carries it. */
export interface StatePaths {
  readonly dataDirectory: string;
  readonly stateDirectory: string;
  readonly configFile: string;
  readonly hbaFile: string;
  readonly identFile: string;
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly settingsFile: string;
  /** Which rules for connections are in force, and which ones PostgreSQL is known to read. */
  readonly accessFile: string;
  readonly promisesFile: string;
  /** Until when PostgreSQL may reign, where it needs a lease. */
  readonly leaseFile: string;
  /** Who is let in for a while, and until when. */
  readonly breakGlassFile: string;
  /** Who came in on this host without asking anybody. */
  readonly localAccessDirectory: string;
  /** Names the postmaster that was told to promote. */
  readonly promotionFile: string;
  readonly socketFile: string;
  readonly lockFile: string;
  readonly postgresLogFile: string;
  readonly supervisorLogFile: string;
  readonly forkedDirectory: string;
  /** Where a configuration is tried. */
  readonly trialDirectory: string;
  /** WAL from before the fork, during a rewind. */
  readonly commonWalDirectory: string;
  /** Stands while a rewind is under way and after one that failed half way. */
  readonly rewindMarkFile: string;
  /** Stands from the moment a clone is complete until it is in its place. */
  readonly cloneMarkFile: string;
  /** Names the program that works for us, so that one which outlived us is found and ended. */
  readonly programFile: string;
  readonly asideDirectory: string;
  readonly cloneWorkDirectory: string;
}

/** The paths for a data directory. Touches nothing. */
export function statePaths(dataDirectory: string): StatePaths {
  const stateDirectory = `${dataDirectory}.guacamole`;
  const inside = (name: string): string => join(stateDirectory, name);
  return {
    dataDirectory,
    stateDirectory,
    configFile: inside("postgresql.conf"),
    hbaFile: inside("pg_hba.conf"),
    identFile: inside("pg_ident.conf"),
    caFile: inside("ca.crt"),
    certificateFile: inside("server.crt"),
    keyFile: inside("server.key"),
    settingsFile: inside("settings.json"),
    accessFile: inside("access.json"),
    promisesFile: inside("promises.json"),
    leaseFile: inside("lease.json"),
    breakGlassFile: inside("break-glass.json"),
    localAccessDirectory: inside("local-access"),
    promotionFile: inside("promotion.json"),
    socketFile: inside("supervisor.sock"),
    lockFile: inside("supervisor.lock"),
    postgresLogFile: inside("postgresql.log"),
    supervisorLogFile: inside("supervisor.log"),
    forkedDirectory: inside("forked"),
    commonWalDirectory: inside("common-wal"),
    trialDirectory: inside("trial"),
    rewindMarkFile: inside("rewind-in-progress.json"),
    cloneMarkFile: inside("clone-complete.json"),
    programFile: inside("program.json"),
    asideDirectory: `${dataDirectory}.aside`,
    cloneWorkDirectory: `${dataDirectory}.clone-tmp`,
  };
}

/** Makes the directory. @throws {Error} saying which directory must be writable by whom. */
export function createStateDirectory(paths: StatePaths, user: string): void {
  try {
    mkdirSync(paths.forkedDirectory, { recursive: true, mode: 0o700 });
    // A clone, a rewind and initdb all put the directory into its place by a rename.
    accessSync(dirname(paths.dataDirectory), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(
      `${paths.stateDirectory} cannot be worked with (${error instanceof Error ? error.message : String(error)}); ` +
        `${dirname(paths.dataDirectory)} must be writable by the system user ${user}, since guacamole keeps its files ` +
        "beside the data directory (where the data directory is a mount point, use a directory inside it)",
    );
  }
}

/** Whoever holds it looks after the data directory. It ends with the process at the latest. */
export class StateLock {
  readonly #path: string;
  #file: number | null = null;

  constructor({ lockFile }: StatePaths) {
    this.#path = lockFile;
  }

  /** True if it is held now; false: another supervisor has it. */
  take(): boolean {
    if (this.#file !== null) return true;
    const file = openSync(this.#path, "a", 0o600);
    if (tryLock(file)) this.#file = file;
    else closeSync(file);
    return this.#file !== null;
  }

  release(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}
