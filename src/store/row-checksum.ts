/**
 * A checksum in every row outside the log. SQLite believes what it reads, and one flipped bit in `vote` is a second vote
 * in the same term: a row that is not what was written stops the member instead.
 */
import type { Database } from "bun:sqlite";
import { StoreError } from "./store-error.ts";

type Value = string | number | null | Uint8Array;

/** In each table, what the checksum covers, in this order, by the names of the columns. */
const COVERED = {
  raft_identity: ["cluster_id", "member_id", "origin", "promotable_from", "peers", "recovery_epoch"],
  raft_hard: ["term", "vote", "commit_index"],
  raft_floor: ["idx", "term", "config", "chain", "config_index"],
  raft_applied: ["idx", "state_hash"],
  sm_state: ["state"],
  sm_event: ["id", "event"],
  sm_reply: ["sequence", "command_id", "outcome"],
  sm_session: ["client", "last_index", "acknowledged"],
  sm_session_reply: ["client", "sequence", "outcome"],
} as const satisfies Record<string, readonly string[]>;

export type CheckedTable = keyof typeof COVERED;

const SEPARATOR = "\u0000";

/** The checksum of a row: of its table's name and of the values that it covers, in their order. */
export function rowChecksum(table: CheckedTable, ...values: readonly Value[]): number {
  let text: string = table;
  for (const value of values) text += SEPARATOR + asText(value);
  return Bun.hash.crc32(text);
}

/** No two values that differ give the same text: a null is not the word, and a number is not its digits in quotes. */
function asText(value: Value): string {
  if (typeof value === "string") return `"${value}`;
  if (value instanceof Uint8Array) return `x${Buffer.from(value).toString("hex")}`;
  return String(value);
}

/**
 * Holds every row against its checksum, and the file against SQLite's own idea of a whole one.
 *
 * @throws {StoreError} naming the first thing that is wrong.
 */
export function verifyRows(raw: Database, path: string): void {
  const refuse = (what: string): never => {
    throw new StoreError(
      `the database ${path} is damaged: ${what}. Do not repair it by hand: remove this member from the cluster, and let the host join as a new one with an empty data directory`,
    );
  };
  try {
    const structure = structureOf(raw);
    if (structure !== "ok") refuse(structure);
    for (const table of tables()) {
      for (const row of rowsOf(raw, table)) {
        if (row["checksum"] !== checksumOf(table, row)) refuse(`a row of ${table} is not what was written`);
      }
    }
  } catch (error) {
    // What SQLite finds while it looks.
    throw error instanceof StoreError
      ? error
      : refuse(error instanceof Error ? error.message : String(error));
  }
}

/** "ok", or the first thing that SQLite finds wrong, in one line. */
function structureOf(raw: Database): string {
  const found = raw.query<{ integrity_check: string }, []>("PRAGMA integrity_check(1)").get();
  return found?.integrity_check.replaceAll("\n", " ") ?? "it cannot be checked";
}

/** Gives every row its checksum: after the migration that brought them, and where a test damages below them. */
export function sealRows(raw: Database): void {
  for (const table of tables()) {
    const update = raw.prepare<never, [number, number]>(`UPDATE ${table} SET checksum = ? WHERE rowid = ?`);
    for (const row of rowsOf(raw, table)) update.run(checksumOf(table, row), row["rowid"] as number);
    update.finalize();
  }
}

function tables(): readonly CheckedTable[] {
  return Object.keys(COVERED) as CheckedTable[];
}

/** In portions: many events must not be in memory at once. */
function* rowsOf(raw: Database, table: CheckedTable): Generator<Readonly<Record<string, Value>>> {
  const portion = 512;
  const page = raw.prepare<Record<string, Value>, [number]>(
    `SELECT rowid AS rowid, * FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ${portion}`,
  );
  try {
    for (let after = Number.MIN_SAFE_INTEGER; ; ) {
      const rows = page.all(after);
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < portion) return;
      after = last["rowid"] as number;
    }
  } finally {
    page.finalize();
  }
}

function checksumOf(table: CheckedTable, row: Readonly<Record<string, Value>>): number {
  return rowChecksum(table, ...COVERED[table].map((column) => row[column] ?? null));
}
