/**
 * The replicated state: what is agreed, its events, the answers to the latest commands, and who proposed them. Runs
 * inside the log store's transaction, in memory first; `flush` writes the rows once per transaction, however many
 * entries it applied. If the transaction fails, `reload` goes back to what the rows say.
 */
import { asc, gt, lte, sql } from "drizzle-orm";
import { unreachable } from "../base/assert.ts";
import type { LogIndex } from "../base/ids.ts";
import type { ClusterEvent, Command, Outcome } from "../cluster/command.ts";
import { type ClientSession, decodeEntry, type EntryData } from "../cluster/command-codec.ts";
import type { StoredEvent } from "../cluster/consensus.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { Entry } from "../raft/engine/message.ts";
import type { CommandReply } from "./command-reply.ts";
import type { StoreDatabase } from "./database.ts";
import { rowChecksum } from "./row-checksum.ts";
import { smEvent, smReply, smState } from "./schema.ts";
import { Sessions } from "./sessions.ts";
import { type ChangedPart, type StateHash, StateHashChain, StateText } from "./state-hash.ts";
import { encryptState, readStateText } from "./state-row.ts";
import { hotStatement } from "./statement.ts";

/** The pure rules, handed in: what a command means. */
export interface Rules {
  apply(
    state: ClusterState | null,
    command: Command,
  ): {
    readonly state: ClusterState | null;
    readonly outcome: Outcome;
    readonly events: readonly ClusterEvent[];
  };
}

/** A command proposed again within this many others is recognised by its id. */
export const REPLIES_MAX = 1000;
/** Older events are forgotten. */
export const EVENTS_MAX = 10_000;

/** What an entry did, as far as the state hash covers it. */
interface Effect {
  readonly reply: CommandReply;
  readonly texts: readonly string[];
}

interface NewRow {
  readonly id: number;
  readonly text: string;
}

export class StateMachine {
  readonly #rules: Rules;
  readonly #database: StoreDatabase;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #sessions: Sessions;
  #state: ClusterState | null = null;
  #storedState: ClusterState | null = null;
  #text = new StateText(null);
  #hash = new StateHashChain(0 as LogIndex, null);
  /** The outcomes of the latest commands as JSON, by command id, oldest first. */
  readonly #replies = new Map<string, string>();
  #lastReply = 0;
  #lastEventId = 0;
  #newReplies: (NewRow & { readonly commandId: string })[] = [];
  #newEvents: NewRow[] = [];

  constructor(database: StoreDatabase, rules: Rules, applied: LogIndex, stateHash: Uint8Array | null) {
    this.#rules = rules;
    this.#database = database;
    this.#statements = prepare(database);
    this.#sessions = new Sessions(database);
    this.reload(applied, stateHash);
  }

  get state(): ClusterState | null {
    return this.#state;
  }

  get sessionCount(): number {
    return this.#sessions.count;
  }

  /** As stored beside the applied index; null before the hashes begin. */
  get hashBytes(): Uint8Array | null {
    return this.#hash.bytes;
  }

  stateHash(): StateHash | null {
    return this.#hash.latest;
  }

  stateHashAt(index: LogIndex): string | null {
    return this.#hash.at(index);
  }

  /** Takes everything from the rows again: after a rollback, and after a snapshot was installed. */
  reload(applied: LogIndex, stateHash: Uint8Array | null): void {
    this.#state = readState(this.#database);
    this.#storedState = this.#state;
    this.#text = new StateText(this.#state);
    this.#hash = new StateHashChain(applied, stateHash);
    this.#sessions.reload();
    this.#replies.clear();
    this.#lastReply = 0;
    for (const { sequence, commandId, outcome } of this.#statements.readReplies.all()) {
      this.#replies.set(commandId, outcome);
      this.#lastReply = sequence;
    }
    this.#lastEventId = this.#statements.lastEvent.get()?.id ?? 0;
    this.#newReplies = [];
    this.#newEvents = [];
  }

  /** Carries out one committed entry. Null for an entry of Raft's own. */
  apply(entry: Entry): CommandReply | null {
    const effect = entry.kind === "command" ? this.#carryOut(entry, decodeEntry(entry.data)) : null;
    if (this.#hash.isRunning) {
      this.#hash.advance(entry, effect?.texts ?? [], this.#text.replace(this.#state));
    } else {
      this.#hash.begin(entry, this.#state, () => this.#allParts());
    }
    return effect?.reply ?? null;
  }

  /** Writes what the transaction changed, as its last step. */
  flush(): void {
    const { addEvent, forgetEvents, addReply, forgetReplies, writeState } = this.#statements;
    if (this.#newEvents.length > 0) {
      const upTo = this.#lastEventId - EVENTS_MAX;
      for (const { id, text } of this.#newEvents)
        if (id > upTo) addEvent.run(id, text, rowChecksum("sm_event", id, text));
      if (upTo > 0) forgetEvents.run(upTo);
      this.#newEvents = [];
    }
    if (this.#newReplies.length > 0) {
      const upTo = this.#lastReply - REPLIES_MAX;
      // First, so that an id which was forgotten and comes again is not there twice.
      if (upTo > 0) forgetReplies.run(upTo);
      for (const { id, commandId, text } of this.#newReplies)
        if (id > upTo) addReply.run(id, commandId, text, rowChecksum("sm_reply", id, commandId, text));
      this.#newReplies = [];
    }
    this.#sessions.flush();
    if (this.#state !== this.#storedState && this.#state !== null) {
      this.#text.replace(this.#state);
      const state = encryptState(this.#database, this.#text.text);
      writeState.run(0, state, rowChecksum("sm_state", state));
      this.#storedState = this.#state;
    }
  }

  /** Events after `afterId`, oldest first. */
  readEvents(afterId: number, countMax: number): readonly StoredEvent[] {
    const rows = this.#statements.readEvents.all({ afterId, countMax });
    return rows.map((row) => ({ ...(JSON.parse(row.event) as ClusterEvent), id: row.id }));
  }

  /** What became of the command of this id, if it is among the latest; else null. */
  outcomeOf(commandId: string): Outcome | null {
    const text = this.#replies.get(commandId);
    return text === undefined ? null : (JSON.parse(text) as Outcome);
  }

  #carryOut(entry: Entry, data: EntryData): Effect {
    switch (data.kind) {
      case "open-session": {
        const reply: CommandReply = {
          kind: "session-opened",
          client: data.client,
          ...this.#sessions.open(data.client, entry.index),
        };
        return { reply, texts: [JSON.stringify(reply)] };
      }
      case "command":
        return data.session === null
          ? this.#once(data.command, null)
          : this.#inSession(entry, data.command, data.session);
      default:
        return unreachable(data);
    }
  }

  #inSession(entry: Entry, command: Command, session: ClientSession): Effect {
    const { client, sequence } = session;
    const verdict = this.#sessions.judge(session, entry.index);
    switch (verdict.kind) {
      case "new": {
        const effect = this.#once(command, session);
        this.#sessions.remember(session, effect.texts[0] as string);
        return effect;
      }
      case "repeat":
        return repeated(command, verdict.outcomeText, session);
      case "session-unknown":
      case "sequence-acknowledged":
      case "session-full": {
        const reply: CommandReply = { kind: verdict.kind, commandId: command.id, client, sequence };
        return { reply, texts: [JSON.stringify(reply)] };
      }
      default:
        return unreachable(verdict);
    }
  }

  /** Asks the rules, unless a command of this id was answered already. */
  #once(command: Command, session: ClientSession | null): Effect {
    const before = this.#replies.get(command.id);
    if (before !== undefined) return repeated(command, before, session);
    const { state, outcome, events } = this.#rules.apply(this.#state, command);
    this.#state = state;
    const outcomeText = JSON.stringify(outcome);
    const eventTexts = events.map((event) => JSON.stringify(event));
    for (const text of eventTexts) this.#newEvents.push({ id: ++this.#lastEventId, text });
    this.#rememberReply(command.id, outcomeText);
    const reply: CommandReply = {
      kind: "applied",
      commandId: command.id,
      outcome,
      isRepeat: false,
      session: session === null ? null : { client: session.client, sequence: session.sequence },
    };
    return { reply, texts: [outcomeText, ...eventTexts] };
  }

  #rememberReply(commandId: string, text: string): void {
    this.#lastReply += 1;
    this.#replies.set(commandId, text);
    this.#newReplies.push({ id: this.#lastReply, commandId, text });
    if (this.#replies.size <= REPLIES_MAX) return;
    for (const oldest of this.#replies.keys()) {
      this.#replies.delete(oldest);
      return;
    }
  }

  #allParts(): readonly ChangedPart[] {
    this.#text.replace(this.#state);
    return this.#text.parts;
  }
}

/** The agreed state as the database has it; null before the first command. @throws {StoreError} if it is damaged. */
export function readState(database: StoreDatabase): ClusterState | null {
  const text = readStateText(database);
  return text === null ? null : (JSON.parse(text) as ClusterState);
}

function repeated(command: Command, outcomeText: string, session: ClientSession | null): Effect {
  const reply: CommandReply = {
    kind: "applied",
    commandId: command.id,
    outcome: JSON.parse(outcomeText) as Outcome,
    isRepeat: true,
    session: session === null ? null : { client: session.client, sequence: session.sequence },
  };
  return { reply, texts: [outcomeText, "repeated"] };
}

function prepare({ raw, drizzle: db }: StoreDatabase) {
  const place = sql.placeholder;
  return {
    writeState: hotStatement<[number, Uint8Array, number]>(
      raw,
      db
        .insert(smState)
        .values({ id: place("id"), state: place("state"), checksum: place("checksum") })
        .onConflictDoUpdate({
          target: smState.id,
          set: { state: sql`excluded.state`, checksum: sql`excluded.checksum` },
        }),
      ["id", "state", "checksum"],
    ),
    lastEvent: db
      .select({ id: smEvent.id })
      .from(smEvent)
      .orderBy(sql`${smEvent.id} desc`)
      .limit(1)
      .prepare(),
    addEvent: hotStatement<[number, string, number]>(
      raw,
      db.insert(smEvent).values({ id: place("id"), event: place("event"), checksum: place("checksum") }),
      ["id", "event", "checksum"],
    ),
    forgetEvents: hotStatement<[number]>(raw, db.delete(smEvent).where(lte(smEvent.id, place("upTo"))), [
      "upTo",
    ]),
    readEvents: db
      .select({ id: smEvent.id, event: smEvent.event })
      .from(smEvent)
      .where(gt(smEvent.id, place("afterId")))
      .orderBy(asc(smEvent.id))
      .limit(place("countMax"))
      .prepare(),
    readReplies: db.select().from(smReply).orderBy(asc(smReply.sequence)).prepare(),
    addReply: hotStatement<[number, string, string, number]>(
      raw,
      db.insert(smReply).values({
        sequence: place("sequence"),
        commandId: place("commandId"),
        outcome: place("outcome"),
        checksum: place("checksum"),
      }),
      ["sequence", "commandId", "outcome", "checksum"],
    ),
    forgetReplies: hotStatement<[number]>(
      raw,
      db.delete(smReply).where(lte(smReply.sequence, place("upTo"))),
      ["upTo"],
    ),
  };
}
