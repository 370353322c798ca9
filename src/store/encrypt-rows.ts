/** What is encrypted in the database, and the encryption of what earlier releases wrote in clear. */
import type { Database } from "bun:sqlite";
import type { Entry } from "../raft/engine/message.ts";
import { rowChecksum } from "./row-checksum.ts";
import { isEncrypted, type RowCipher } from "./row-cipher.ts";

/** Where the state machine's state stands, for `RowCipher`. */
export const STATE_PLACE = "sm_state";

/** Where an entry of the log stands, for `RowCipher`. */
export function entryPlace({ index, term, kind }: Pick<Entry, "index" | "term" | "kind">): string {
  return `raft_log ${index} ${term} ${kind}`;
}

/** Of a database whose rows are all in clear. */
export function encryptRows(database: Database, cipher: RowCipher): void {
  const portion = 256;
  const read = database.prepare<ClearEntry, [number]>(
    `SELECT idx AS "index", term, kind, data FROM raft_log WHERE idx > ? ORDER BY idx LIMIT ${portion}`,
  );
  const write = database.prepare<never, [Uint8Array, number]>("UPDATE raft_log SET data = ? WHERE idx = ?");
  for (let after = Number.MIN_SAFE_INTEGER; ; ) {
    const entries = read.all(after);
    for (const entry of entries)
      write.run(cipher.encrypt(entryPlace(entry), bytesOf(entry.data)), entry.index);
    const last = entries.at(-1);
    if (last === undefined || entries.length < portion) break;
    after = last.index;
  }
  read.finalize();
  write.finalize();
  const row = database.query<{ state: string | Uint8Array }, []>("SELECT state FROM sm_state").get();
  if (row === null) return;
  const state = cipher.encrypt(STATE_PLACE, bytesOf(row.state));
  database.run("UPDATE sm_state SET state = ?, checksum = ?", [state, rowChecksum("sm_state", state)]);
}

type ClearEntry = Pick<Entry, "index" | "term" | "kind"> & { readonly data: string | Uint8Array };

/** A value that only the key makes readable; null where there is none. */
export function encryptedValue(database: Database): Uint8Array | null {
  const isEmpty = database.query("SELECT 1 FROM sqlite_schema WHERE name = 'sm_state'").get() === null;
  if (isEmpty) return null;
  const row = database
    .query<{ value: unknown }, []>(
      "SELECT state AS value FROM sm_state UNION ALL SELECT data FROM raft_log LIMIT 1",
    )
    .get();
  return isEncrypted(row?.value) ? row.value : null;
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}
