/**
 * The tables of the member's one SQLite file: Raft's log and promises, and the state machine that grows from them.
 *
 * Tables with exactly one row have the id 0. SQLite keeps no checksum of what it stores, so every row has one here
 * (`row-checksum.ts`); the rows of the log have their hash chain instead. What may hold secrets is encrypted with the
 * member's key (`row-cipher.ts`).
 */
import { sql } from "drizzle-orm";
import { blob, check, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/** Whose log this is. Written when the member forms or joins, and once more by a recovery. */
export const raftIdentity = sqliteTable(
  "raft_identity",
  {
    id: integer().primaryKey(),
    clusterId: text("cluster_id").notNull(),
    memberId: text("member_id").notNull(),
    origin: text({ enum: ["form", "join", "recover"] }).notNull(),
    /** A joiner may not campaign before this index is committed. */
    promotableFrom: integer("promotable_from").notNull(),
    /** JSON: the members that a joiner can reach before its log says who they are. */
    peers: text().notNull(),
    /** How often a majority was lost and a new group forced from what was left. */
    recoveryEpoch: integer("recovery_epoch").notNull().default(0),
    checksum: integer(),
  },
  (table) => [check("raft_identity_one_row", sql`${table.id} = 0`)],
);

export const raftHard = sqliteTable(
  "raft_hard",
  {
    id: integer().primaryKey(),
    term: integer().notNull(),
    vote: text(),
    commitIndex: integer("commit_index").notNull(),
    checksum: integer(),
  },
  (table) => [check("raft_hard_one_row", sql`${table.id} = 0`)],
);

export const raftLog = sqliteTable("raft_log", {
  index: integer("idx").primaryKey(),
  term: integer().notNull(),
  kind: text({ enum: ["noop", "command", "config"] }).notNull(),
  /** Encrypted; the hash chain is of what it says. */
  data: blob({ mode: "buffer" }).notNull(),
  /** Hash of the row before and of this row: damage to any row breaks every later one. */
  chain: blob({ mode: "buffer" }).notNull(),
});

/** Where the log begins: everything up to here was compacted away. */
export const raftFloor = sqliteTable(
  "raft_floor",
  {
    id: integer().primaryKey(),
    index: integer("idx").notNull(),
    term: integer().notNull(),
    /** JSON of the configuration at the floor, or null where none was stored. */
    config: text(),
    chain: blob({ mode: "buffer" }).notNull(),
    /** The entry that brought the configuration; null in rows of 0.1.0, which mean the floor itself. */
    configIndex: integer("config_index"),
    checksum: integer(),
  },
  (table) => [check("raft_floor_one_row", sql`${table.id} = 0`)],
);

/** How far the state machine has got. Changes in the same transaction as its effects, always. */
export const raftApplied = sqliteTable(
  "raft_applied",
  {
    id: integer().primaryKey(),
    index: integer("idx").notNull(),
    /** See `state-hash.ts`; null before the hashes begin. */
    stateHash: blob("state_hash", { mode: "buffer" }),
    checksum: integer(),
  },
  (table) => [check("raft_applied_one_row", sql`${table.id} = 0`)],
);

/** `ClusterState` as JSON, encrypted. */
export const smState = sqliteTable(
  "sm_state",
  { id: integer().primaryKey(), state: blob({ mode: "buffer" }).notNull(), checksum: integer() },
  (table) => [check("sm_state_one_row", sql`${table.id} = 0`)],
);

export const smEvent = sqliteTable("sm_event", {
  id: integer().primaryKey(),
  /** `ClusterEvent` as JSON. */
  event: text().notNull(),
  checksum: integer(),
});

/**
 * Answers to the latest commands, so that the same command proposed twice has the effect of once. Looked up in memory: an
 * index over random ids would be most of what a transaction writes.
 */
export const smReply = sqliteTable("sm_reply", {
  sequence: integer().primaryKey(),
  commandId: text("command_id").notNull(),
  /** `Outcome` as JSON. */
  outcome: text().notNull(),
  checksum: integer(),
});

/** Who may propose exactly once: see `sessions.ts`. */
export const smSession = sqliteTable("sm_session", {
  client: text().primaryKey(),
  /** The newest entry that used it. */
  lastIndex: integer("last_index").notNull(),
  /** The client has the answers up to this sequence number. */
  acknowledged: integer().notNull(),
  checksum: integer(),
});

/** Answers that a client may still ask for again. */
export const smSessionReply = sqliteTable(
  "sm_session_reply",
  {
    client: text().notNull(),
    sequence: integer().notNull(),
    /** `Outcome` as JSON. */
    outcome: text().notNull(),
    checksum: integer(),
  },
  (table) => [primaryKey({ columns: [table.client, table.sequence] })],
);
