/**
 * The tables of the member's one SQLite file: Raft's log and promises, and the state machine that grows from them.
 *
 * Tables with exactly one row have the id 0.
 */
import { sql } from "drizzle-orm";
import { blob, check, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

/** Whose log this is. Written once, when the member forms or joins. */
export const raftIdentity = sqliteTable(
  "raft_identity",
  {
    id: integer().primaryKey(),
    clusterId: text("cluster_id").notNull(),
    memberId: text("member_id").notNull(),
    origin: text({ enum: ["form", "join"] }).notNull(),
    /** A joiner may not campaign before this index is committed. */
    promotableFrom: integer("promotable_from").notNull(),
    /** JSON: the members that a joiner can reach before its log says who they are. */
    peers: text().notNull(),
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
  },
  (table) => [check("raft_hard_one_row", sql`${table.id} = 0`)],
);

export const raftLog = sqliteTable("raft_log", {
  index: integer("idx").primaryKey(),
  term: integer().notNull(),
  kind: text({ enum: ["noop", "command", "config"] }).notNull(),
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
  },
  (table) => [check("raft_floor_one_row", sql`${table.id} = 0`)],
);

/** How far the state machine has got. Changes in the same transaction as its effects, always. */
export const raftApplied = sqliteTable(
  "raft_applied",
  { id: integer().primaryKey(), index: integer("idx").notNull() },
  (table) => [check("raft_applied_one_row", sql`${table.id} = 0`)],
);

/** `ClusterState` as JSON. */
export const smState = sqliteTable(
  "sm_state",
  { id: integer().primaryKey(), state: text().notNull() },
  (table) => [check("sm_state_one_row", sql`${table.id} = 0`)],
);

export const smEvent = sqliteTable("sm_event", {
  id: integer().primaryKey(),
  /** `ClusterEvent` as JSON. */
  event: text().notNull(),
});

/** Answers to the latest commands, so that the same command proposed twice has the effect of once. */
export const smReply = sqliteTable(
  "sm_reply",
  {
    sequence: integer().primaryKey(),
    commandId: text("command_id").notNull(),
    /** `Outcome` as JSON. */
    outcome: text().notNull(),
  },
  (table) => [uniqueIndex("sm_reply_command").on(table.commandId)],
);
