/**
 * Opens the member's SQLite file with settings that keep a commit durable, and for one process only.
 */
import { Database } from "bun:sqlite";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { drizzle } from "drizzle-orm/bun-sqlite";
import { syncDirectory } from "./durable-file.ts";
import { encryptedValue } from "./encrypt-rows.ts";
import { migrate, verifySchema } from "./migrations.ts";
import { RowCipher } from "./row-cipher.ts";
import { DiskFullError, StoreError } from "./store-error.ts";
import { makeStoreKey, readStoreKey, storeKeyPathOf } from "./store-key.ts";
import { refuseRottenWal } from "./wal-check.ts";

export type Drizzle = ReturnType<typeof drizzle>;

export interface StoreDatabase {
  readonly path: string;
  readonly raw: Database;
  readonly drizzle: Drizzle;
  /** For what must not be read by whoever has the file alone. */
  readonly cipher: RowCipher;
  /** The file of its key. */
  readonly keyPath: string;
  /** Gives the file and its lock back at once. */
  close(): void;
}

/** Older ones can corrupt a WAL when it is reset (sqlite.org/wal.html, "The WAL-reset bug"). */
const SQLITE_OLDEST = [3, 51, 3] as const;

/** A WAL with so many pages is copied into the database. */
const CHECKPOINT_PAGES = 1000;

/** How far the WAL file may stay grown after a checkpoint, in bytes. */
const WAL_BYTES_MAX = 16 * 1024 * 1024;

export interface OpenOptions {
  /** `as it is` only to look at a copy: what lies behind a damaged place in it is lost. */
  readonly wal?: "whole" | "as it is";
  /** Where the key is; absent: beside the database. */
  readonly keyPath?: string;
}

/**
 * Opens (or creates, with mode 0600 in a directory with mode 0700) the database and brings its schema up to date; makes
 * its key where it needs one and there is none yet. The lock on it is held until it is closed: a second process is refused.
 *
 * @throws {StoreError} if it cannot be opened, is in use, is damaged, was written by a newer version, or its key is gone.
 */
export function openDatabase(path: string, options: OpenOptions = {}): StoreDatabase {
  const { wal = "whole", keyPath = storeKeyPathOf(path) } = options;
  createPrivately(path);
  if (wal === "whole") refuseRottenWal(path);
  let raw: Database;
  try {
    raw = new Database(path, { create: true, readwrite: true, strict: true });
  } catch (error) {
    throw new StoreError(`cannot open the database ${path}: ${messageOf(error)}`, { cause: error });
  }
  const finalizeAll = trackStatements(raw);
  const close = () => {
    finalizeAll();
    raw.close(true);
  };
  try {
    // Before anything else looks at the file: otherwise SQLite puts an index beside the WAL, and on a full disk it cannot.
    setting(raw, "locking_mode = EXCLUSIVE", "locking_mode", "exclusive");
    refuseOldSqlite(raw);
    configure(raw);
    const cipher = new RowCipher(readStoreKey(keyPath) ?? newKey(raw, path, keyPath));
    migrate(raw, path, cipher);
    verifySchema(raw, path);
    return { path, raw, drizzle: drizzle({ client: raw }), cipher, keyPath, close };
  } catch (error) {
    close();
    if (error instanceof StoreError) throw error;
    if (isDiskFull(error)) throw new DiskFullError(path, { cause: error });
    throw new StoreError(explain(path, error), { cause: error });
  }
}

/**
 * SQLite keeps a closed connection, and its lock, alive until the last prepared statement is finalized; Drizzle never
 * finalizes one. Returns the way to do that.
 */
function trackStatements(raw: Database): () => void {
  const statements: { finalize(): void }[] = [];
  const original = raw.prepare;
  Object.defineProperty(raw, "prepare", {
    configurable: true,
    value: (...parameters: Parameters<Database["prepare"]>) => {
      const statement = original.apply(raw, parameters);
      statements.push(statement);
      return statement;
    },
  });
  return () => {
    for (const statement of statements) statement.finalize();
  };
}

/** Where nothing is encrypted yet. Anything that is could never be read again. */
function newKey(raw: Database, path: string, keyPath: string): Uint8Array {
  if (encryptedValue(raw) === null) return makeStoreKey(keyPath);
  throw new StoreError(
    `${keyPath} is gone, and without it ${path} cannot be read. Put it back, or remove this member from the cluster, and let the host join as a new one with an empty data directory`,
  );
}

/**
 * Before anything encrypted is read, and after whose database it is was looked at: one that was taken from another member has
 * another key, and that is the lesser news.
 *
 * @throws {StoreError} if it was written with another key.
 */
export function refuseOtherKey({ raw, path, cipher, keyPath }: StoreDatabase): void {
  const value = encryptedValue(raw);
  if (value === null || !cipher.isOfOtherKey(value)) return;
  throw new StoreError(
    `${path} was written with another key than the one in ${keyPath}: put the right one back. It is each member's own, and never changes`,
  );
}

function createPrivately(path: string): void {
  try {
    makeDirectory(dirname(path));
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
  } catch (error) {
    throw new StoreError(
      `cannot write ${path}: ${messageOf(error)}. Make the data directory writable for the user that runs guacamole`,
      { cause: error },
    );
  }
}

/** With all above it, and so that it is still there after a power failure. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
  syncDirectory(dirname(path));
}

function configure(raw: Database): void {
  setting(raw, "journal_mode = WAL", "journal_mode", "wal");
  setting(raw, "synchronous = FULL", "synchronous", 2);
  setting(raw, "mmap_size = 0", "mmap_size", 0);
  setting(raw, "trusted_schema = OFF", "trusted_schema", 0);
  // SQLite's own checkpoint, at the end of a commit, keeps an error of the disk to itself: see `checkpointIfDue`.
  setting(raw, "wal_autocheckpoint = 0", "wal_autocheckpoint", 0);
  raw.run(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
  // Two processes with one member's promises would vote twice: the lock is taken by the first write, and kept.
  raw.run("BEGIN IMMEDIATE");
  raw.run("COMMIT");
}

/** Sets a pragma and reads it back: SQLite ignores what it does not like without a word. */
function setting(raw: Database, assignment: string, name: string, wanted: string | number): void {
  raw.run(`PRAGMA ${assignment}`);
  const row = raw.query<Record<string, string | number>, []>(`PRAGMA ${name}`).get();
  const found = row?.[name];
  // A build that cannot map memory at all knows no `mmap_size`, which is what we want.
  if (found === undefined && name === "mmap_size") return;
  if (found !== wanted)
    throw new StoreError(`SQLite keeps ${name} = ${String(found)}, but ${String(wanted)} is needed`);
}

/**
 * Copies a grown WAL into the database. To be called between transactions. It syncs in its own order, whatever a commit
 * waits for.
 *
 * @throws what the disk answers, except that it is full: then the WAL goes on growing, and the next commit says so.
 */
export function checkpointIfDue(raw: Database): void {
  const wal = raw.query<WalState, []>("PRAGMA wal_checkpoint(NOOP)").get();
  if (wal !== null && wal.log - wal.checkpointed >= CHECKPOINT_PAGES) checkpoint(raw, "PASSIVE");
}

/** Copies all of the WAL into the database and makes it empty. Otherwise as `checkpointIfDue`. */
export function checkpointWhole(raw: Database): void {
  checkpoint(raw, "TRUNCATE");
}

function checkpoint(raw: Database, mode: "PASSIVE" | "TRUNCATE"): void {
  try {
    raw.query(`PRAGMA wal_checkpoint(${mode})`).get();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

interface WalState {
  /** In pages. */
  readonly log: number;
  readonly checkpointed: number;
}

/**
 * Whether there was no room. SQLite has undone what it was doing then; any other error of the disk is final. (Where the
 * kernel finds out only when it syncs, SQLite calls it an error of the disk, and so do we.)
 */
export function isDiskFull(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && (error.code === "SQLITE_FULL" || error.code === "ENOSPC")
  );
}

/**
 * Runs a transaction of its own: all of it, durable, or nothing.
 *
 * @throws {DiskFullError} if there was no room; else what `body` throws.
 */
export function transactOnce({ raw, path }: StoreDatabase, body: () => void): void {
  try {
    raw.transaction(body).immediate();
  } catch (error) {
    throw isDiskFull(error) ? new DiskFullError(path, { cause: error }) : error;
  }
}

function refuseOldSqlite(raw: Database): void {
  const text = raw.query<{ version: string }, []>("SELECT sqlite_version() AS version").get()?.version ?? "0";
  if (isOlder(text)) {
    throw new StoreError(
      `SQLite ${text} can corrupt its write-ahead log; ${SQLITE_OLDEST.join(".")} or newer is needed: use the Bun version that guacamole pins`,
    );
  }
}

/** Whether a version of SQLite is too old to be trusted with a log. */
export function isOlder(version: string): boolean {
  const parts = version.split(".").map(Number);
  for (const [place, oldest] of SQLITE_OLDEST.entries()) {
    const part = parts[place] ?? 0;
    if (part !== oldest) return part < oldest;
  }
  return false;
}

function explain(path: string, error: unknown): string {
  const text = messageOf(error);
  if (/locked|busy/i.test(text)) {
    return `the database ${path} is in use by another guacamole process: stop that one, or give this one its own data directory`;
  }
  return `cannot use the database ${path}: ${text}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
