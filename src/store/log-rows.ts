/** The rows of Raft's own tables, and the statements that read and write them. */
import { and, asc, eq, gte, lt, lte, sql } from "drizzle-orm";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Entry, EntryId, EntryKind, HardState, PlacedConfig } from "../raft/engine/message.ts";
import { CHAIN_START } from "./chain.ts";
import type { StoreDatabase } from "./database.ts";
import { entryPlace } from "./encrypt-rows.ts";
import { rowChecksum } from "./row-checksum.ts";
import { raftApplied, raftFloor, raftHard, raftIdentity, raftLog } from "./schema.ts";
import { hotStatement } from "./statement.ts";

/** A row of the log, by the names of its columns. */
export interface LogRow {
  readonly idx: number;
  readonly term: number;
  readonly kind: EntryKind;
  /** Encrypted. */
  readonly data: Uint8Array;
  readonly chain: Uint8Array;
}

export type LogStatements = ReturnType<typeof prepareLog>;

/** Null for a row that is not what was written. */
export function entryOf({ cipher }: StoreDatabase, row: LogRow): Entry | null {
  const place = { index: row.idx as LogIndex, term: row.term as Term, kind: row.kind };
  const data = cipher.decrypt(entryPlace(place), row.data);
  return data === null ? null : { ...place, data };
}

/** @param chain the hash chain at this entry. */
export function appendEntry(
  { cipher }: StoreDatabase,
  statements: LogStatements,
  entry: Entry,
  chain: Uint8Array,
): void {
  const { index, term, kind, data } = entry;
  statements.appendLog.run(index, term, kind, cipher.encrypt(entryPlace(entry), data), chain);
}

export function hardOf(row: {
  readonly term: number;
  readonly vote: string | null;
  readonly commitIndex: number;
}): HardState {
  return { term: row.term as Term, vote: row.vote as MemberId | null, commit: row.commitIndex as LogIndex };
}

export function writeHard(statements: LogStatements, { term, vote, commit }: HardState): void {
  statements.writeHard.run(0, term, vote, commit, rowChecksum("raft_hard", term, vote, commit));
}

export function writeApplied(statements: LogStatements, index: LogIndex, stateHash: Uint8Array | null): void {
  statements.writeApplied.run(0, index, stateHash, rowChecksum("raft_applied", index, stateHash));
}

export function writeFloor(
  statements: LogStatements,
  { index, term }: EntryId,
  placed: PlacedConfig | null,
  chain: Uint8Array,
): void {
  const config = placed === null ? null : JSON.stringify(placed.config);
  const configIndex = placed?.index ?? null;
  const checksum = rowChecksum("raft_floor", index, term, config, chain, configIndex);
  statements.writeFloor.run(0, index, term, config, chain, configIndex, checksum);
}

/** The rows that every log has, written in the transaction that gives the database its identity. */
export function beginLog(database: StoreDatabase): void {
  const statements = prepareLog(database);
  writeFloor(statements, { index: 0 as LogIndex, term: 0 as Term }, null, CHAIN_START);
  writeApplied(statements, 0 as LogIndex, null);
  writeHard(statements, { term: 0 as Term, vote: null, commit: 0 as LogIndex });
}

export function prepareLog({ raw, drizzle: db }: StoreDatabase) {
  const place = sql.placeholder;
  return {
    readIdentity: db.select().from(raftIdentity).prepare(),
    readHard: db.select().from(raftHard).prepare(),
    readFloor: db.select().from(raftFloor).prepare(),
    readApplied: db.select().from(raftApplied).prepare(),
    anyBelow: db
      .select({ index: raftLog.index })
      .from(raftLog)
      .where(and(lt(raftLog.index, place("index"))))
      .limit(1)
      .prepare(),
    writeHard: hotStatement<[number, number, string | null, number, number]>(
      raw,
      db
        .insert(raftHard)
        .values({
          id: place("id"),
          term: place("term"),
          vote: place("vote"),
          commitIndex: place("commit"),
          checksum: place("checksum"),
        })
        .onConflictDoUpdate({
          target: raftHard.id,
          set: {
            term: sql`excluded.term`,
            vote: sql`excluded.vote`,
            commitIndex: sql`excluded.commit_index`,
            checksum: sql`excluded.checksum`,
          },
        }),
      ["id", "term", "vote", "commit", "checksum"],
    ),
    writeApplied: hotStatement<[number, number, Uint8Array | null, number]>(
      raw,
      db
        .insert(raftApplied)
        .values({
          id: place("id"),
          index: place("index"),
          stateHash: place("stateHash"),
          checksum: place("checksum"),
        })
        .onConflictDoUpdate({
          target: raftApplied.id,
          set: {
            index: sql`excluded.idx`,
            stateHash: sql`excluded.state_hash`,
            checksum: sql`excluded.checksum`,
          },
        }),
      ["id", "index", "stateHash", "checksum"],
    ),
    writeFloor: hotStatement<[number, number, number, string | null, Uint8Array, number | null, number]>(
      raw,
      db
        .insert(raftFloor)
        .values({
          id: place("id"),
          index: place("index"),
          term: place("term"),
          config: place("config"),
          chain: place("chain"),
          configIndex: place("configIndex"),
          checksum: place("checksum"),
        })
        .onConflictDoUpdate({
          target: raftFloor.id,
          set: {
            index: sql`excluded.idx`,
            term: sql`excluded.term`,
            config: sql`excluded.config`,
            chain: sql`excluded.chain`,
            configIndex: sql`excluded.config_index`,
            checksum: sql`excluded.checksum`,
          },
        }),
      ["id", "index", "term", "config", "chain", "configIndex", "checksum"],
    ),
    readLog: hotStatement<[number, number], LogRow>(
      raw,
      db
        .select()
        .from(raftLog)
        .where(gte(raftLog.index, place("from")))
        .orderBy(asc(raftLog.index))
        .limit(place("countMax")),
      ["from", "countMax"],
    ),
    placeAt: hotStatement<[number], { readonly term: number; readonly chain: Uint8Array }>(
      raw,
      db
        .select({ term: raftLog.term, chain: raftLog.chain })
        .from(raftLog)
        .where(eq(raftLog.index, place("index"))),
      ["index"],
    ),
    truncateLog: hotStatement<[number]>(raw, db.delete(raftLog).where(gte(raftLog.index, place("from"))), [
      "from",
    ]),
    forgetLog: hotStatement<[number]>(raw, db.delete(raftLog).where(lte(raftLog.index, place("upTo"))), [
      "upTo",
    ]),
    appendLog: hotStatement<[number, number, string, Uint8Array, Uint8Array]>(
      raw,
      db.insert(raftLog).values({
        index: place("index"),
        term: place("term"),
        kind: place("kind"),
        data: place("data"),
        chain: place("chain"),
      }),
      ["index", "term", "kind", "data", "chain"],
    ),
  };
}
