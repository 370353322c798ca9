/** The rows of the state machine, out of the database and into one, in an order that is the same on every member. */
import { asc, gt, sql } from "drizzle-orm";
import type { SQLiteTable } from "drizzle-orm/sqlite-core";
import { unreachable } from "../base/assert.ts";
import type { StoreDatabase } from "./database.ts";
import { rowChecksum } from "./row-checksum.ts";
import { smEvent, smReply, smSession, smSessionReply, smState } from "./schema.ts";
import { encryptState, readStateText } from "./state-row.ts";

/** One row. What is JSON in the table stays text, so that it comes back letter for letter. */
export type SnapshotRecord =
  | readonly ["state", state: string]
  | readonly ["event", id: number, event: string]
  | readonly ["reply", sequence: number, commandId: string, outcome: string]
  | readonly ["session", client: string, lastIndex: number, acknowledged: number]
  | readonly ["session-reply", client: string, sequence: number, outcome: string];

/** In portions, because nothing may grow without bound: neither memory nor a number of events. */
const PORTION = 256;

export function* readRows(database: StoreDatabase): Generator<SnapshotRecord> {
  const { drizzle: db } = database;
  const state = readStateText(database);
  if (state !== null) yield ["state", state];
  for (let after = 0; ; ) {
    const rows = db
      .select()
      .from(smEvent)
      .where(gt(smEvent.id, after))
      .orderBy(asc(smEvent.id))
      .limit(PORTION)
      .all();
    for (const { id, event } of rows) yield ["event", id, event];
    if (rows.length < PORTION) break;
    after = rows.at(-1)?.id ?? after;
  }
  const replies = db.select().from(smReply).orderBy(asc(smReply.sequence)).all();
  for (const { sequence, commandId, outcome } of replies) yield ["reply", sequence, commandId, outcome];
  const sessions = db.select().from(smSession).orderBy(asc(smSession.client)).all();
  for (const { client, lastIndex, acknowledged } of sessions)
    yield ["session", client, lastIndex, acknowledged];
  for (const { client } of sessions) {
    const answers = db
      .select()
      .from(smSessionReply)
      .where(sql`${smSessionReply.client} = ${client}`)
      .orderBy(asc(smSessionReply.sequence))
      .all();
    for (const { sequence, outcome } of answers) yield ["session-reply", client, sequence, outcome];
  }
}

/** Puts `records` in the place of everything that the state machine holds, inside the caller's transaction. */
export function replaceRows(database: StoreDatabase, records: Iterable<SnapshotRecord>): void {
  const { drizzle: db } = database;
  const tables: readonly SQLiteTable[] = [smState, smEvent, smReply, smSession, smSessionReply];
  for (const table of tables) db.delete(table).run();
  const insert = prepare(database);
  for (const record of records) {
    switch (record[0]) {
      case "state": {
        const state = encryptState(database, record[1]);
        insert.state.run({ state, checksum: rowChecksum("sm_state", state) });
        break;
      }
      case "event": {
        const [, id, event] = record;
        insert.event.run({ id, event, checksum: rowChecksum("sm_event", id, event) });
        break;
      }
      case "reply": {
        const [, sequence, commandId, outcome] = record;
        const checksum = rowChecksum("sm_reply", sequence, commandId, outcome);
        insert.reply.run({ sequence, commandId, outcome, checksum });
        break;
      }
      case "session": {
        const [, client, lastIndex, acknowledged] = record;
        const checksum = rowChecksum("sm_session", client, lastIndex, acknowledged);
        insert.session.run({ client, lastIndex, acknowledged, checksum });
        break;
      }
      case "session-reply": {
        const [, client, sequence, outcome] = record;
        const checksum = rowChecksum("sm_session_reply", client, sequence, outcome);
        insert.sessionReply.run({ client, sequence, outcome, checksum });
        break;
      }
      default:
        unreachable(record);
    }
  }
}

function prepare({ drizzle: db }: StoreDatabase) {
  const place = sql.placeholder;
  const checksum = place("checksum");
  const sequence = place("sequence");
  const outcome = place("outcome");
  const client = place("client");
  return {
    state: db
      .insert(smState)
      .values({ id: 0, state: place("state"), checksum })
      .prepare(),
    event: db
      .insert(smEvent)
      .values({ id: place("id"), event: place("event"), checksum })
      .prepare(),
    reply: db
      .insert(smReply)
      .values({ sequence, commandId: place("commandId"), outcome, checksum })
      .prepare(),
    session: db
      .insert(smSession)
      .values({ client, lastIndex: place("lastIndex"), acknowledged: place("acknowledged"), checksum })
      .prepare(),
    sessionReply: db.insert(smSessionReply).values({ client, sequence, outcome, checksum }).prepare(),
  };
}
