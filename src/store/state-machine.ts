/**
 * The replicated state as rows: the agreed state, its events, and the answers to the latest commands. Runs inside the
 * log store's transaction; what it keeps in memory is taken over only once that transaction is durable.
 */
import { asc, eq, gt, lte, sql } from "drizzle-orm";
import type { ClusterEvent, Command, Outcome } from "../cluster/command.ts";
import type { StoredEvent } from "../cluster/consensus.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { Drizzle, StoreDatabase } from "./database.ts";
import { smEvent, smReply, smState } from "./schema.ts";

/** The pure rules, handed in: what a command means, and how its bytes are read. */
export interface Rules {
  apply(
    state: ClusterState | null,
    command: Command,
  ): {
    readonly state: ClusterState | null;
    readonly outcome: Outcome;
    readonly events: readonly ClusterEvent[];
  };
  decode(bytes: Uint8Array): Command;
}

/** What became of one committed command; the `reply` of `Applied`. */
export interface CommandReply {
  readonly commandId: string;
  readonly outcome: Outcome;
  /** The same command was applied before; this time it changed nothing. */
  readonly isRepeat: boolean;
}

/** A command proposed again within this many others is recognised. */
export const REPLIES_MAX = 1000;
/** Older events are forgotten. */
export const EVENTS_MAX = 10_000;

export class StateMachine {
  readonly #rules: Rules;
  readonly #statements: ReturnType<typeof prepare>;
  #state: ClusterState | null;
  #lastEventId: number;
  #lastReply: number;
  /** What the open transaction has made; null where none is open. */
  #draft: { state: ClusterState | null; lastEventId: number; lastReply: number } | null = null;

  constructor(database: StoreDatabase, rules: Rules) {
    this.#rules = rules;
    this.#statements = prepare(database.drizzle);
    const row = this.#statements.readState.get();
    this.#state = row === undefined ? null : (JSON.parse(row.state) as ClusterState);
    this.#lastEventId = this.#statements.lastEvent.get()?.id ?? 0;
    this.#lastReply = this.#statements.lastReply.get()?.sequence ?? 0;
  }

  /** The agreed state as far as it is durable; null before the first command. */
  get state(): ClusterState | null {
    return this.#state;
  }

  /** Carries out one command, inside the caller's transaction. */
  apply(data: Uint8Array): CommandReply {
    const command = this.#rules.decode(data);
    const before = this.#statements.findReply.get({ commandId: command.id });
    if (before !== undefined) {
      return { commandId: command.id, outcome: JSON.parse(before.outcome) as Outcome, isRepeat: true };
    }
    this.#draft ??= { state: this.#state, lastEventId: this.#lastEventId, lastReply: this.#lastReply };
    const { state, outcome, events } = this.#rules.apply(this.#draft.state, command);
    this.#draft.state = state;
    for (const event of events) {
      this.#draft.lastEventId += 1;
      this.#statements.addEvent.run({ id: this.#draft.lastEventId, event: JSON.stringify(event) });
    }
    if (events.length > 0) this.#statements.forgetEvents.run({ upTo: this.#draft.lastEventId - EVENTS_MAX });
    this.#draft.lastReply += 1;
    this.#statements.addReply.run({
      sequence: this.#draft.lastReply,
      commandId: command.id,
      outcome: JSON.stringify(outcome),
    });
    this.#statements.forgetReplies.run({ upTo: this.#draft.lastReply - REPLIES_MAX });
    return { commandId: command.id, outcome, isRepeat: false };
  }

  /** Writes the new state, as the last step of the caller's transaction. */
  flush(): void {
    if (this.#draft === null || this.#draft.state === this.#state || this.#draft.state === null) return;
    this.#statements.writeState.run({ state: JSON.stringify(this.#draft.state) });
  }

  /** The transaction is durable: what it made counts from now on. */
  settle(): void {
    if (this.#draft === null) return;
    this.#state = this.#draft.state;
    this.#lastEventId = this.#draft.lastEventId;
    this.#lastReply = this.#draft.lastReply;
    this.#draft = null;
  }

  /** Events after `afterId`, oldest first. */
  readEvents(afterId: number, countMax: number): readonly StoredEvent[] {
    const rows = this.#statements.readEvents.all({ afterId, countMax });
    return rows.map((row) => ({ ...(JSON.parse(row.event) as ClusterEvent), id: row.id }));
  }
}

function prepare(db: Drizzle) {
  const place = sql.placeholder;
  return {
    readState: db.select({ state: smState.state }).from(smState).prepare(),
    writeState: db
      .insert(smState)
      .values({ id: 0, state: place("state") })
      .onConflictDoUpdate({ target: smState.id, set: { state: sql`excluded.state` } })
      .prepare(),
    lastEvent: db
      .select({ id: smEvent.id })
      .from(smEvent)
      .orderBy(sql`${smEvent.id} desc`)
      .limit(1)
      .prepare(),
    addEvent: db
      .insert(smEvent)
      .values({ id: place("id"), event: place("event") })
      .prepare(),
    forgetEvents: db
      .delete(smEvent)
      .where(lte(smEvent.id, place("upTo")))
      .prepare(),
    readEvents: db
      .select()
      .from(smEvent)
      .where(gt(smEvent.id, place("afterId")))
      .orderBy(asc(smEvent.id))
      .limit(place("countMax"))
      .prepare(),
    lastReply: db
      .select({ sequence: smReply.sequence })
      .from(smReply)
      .orderBy(sql`${smReply.sequence} desc`)
      .limit(1)
      .prepare(),
    findReply: db
      .select({ outcome: smReply.outcome })
      .from(smReply)
      .where(eq(smReply.commandId, place("commandId")))
      .prepare(),
    addReply: db
      .insert(smReply)
      .values({ sequence: place("sequence"), commandId: place("commandId"), outcome: place("outcome") })
      .prepare(),
    forgetReplies: db
      .delete(smReply)
      .where(lte(smReply.sequence, place("upTo")))
      .prepare(),
  };
}
