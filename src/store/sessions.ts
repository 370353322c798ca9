/**
 * Who proposed what, so that a wish that is proposed again, by a client that got no answer, is carried out once (Raft
 * thesis §6.3). A part of the replicated state: every rule looks at the log only, never at a clock.
 *
 * Kept in memory whole (it is bounded) and written behind once per transaction.
 */
import { and, asc, eq, lte, sql } from "drizzle-orm";
import { defined } from "../base/assert.ts";
import type { LogIndex } from "../base/ids.ts";
import type { ClientSession } from "../cluster/command-codec.ts";
import type { SessionRefusal } from "./command-reply.ts";
import type { StoreDatabase } from "./database.ts";
import { rowChecksum } from "./row-checksum.ts";
import { smSession, smSessionReply } from "./schema.ts";
import { hotStatement } from "./statement.ts";

/** The session that was not used for longest goes when one more is opened. */
export const SESSIONS_MAX = 256;
/** So many answers one client may leave unacknowledged. */
export const OPEN_REPLIES_MAX = 1000;

interface Session {
  lastIndex: LogIndex;
  acknowledged: number;
  /** By sequence number, all above `acknowledged`: the outcome as JSON. */
  readonly replies: Map<number, string>;
}

export type SessionVerdict =
  /** Carry it out, then `remember` the answer. */
  | { readonly kind: "new" }
  | { readonly kind: "repeat"; readonly outcomeText: string }
  | { readonly kind: SessionRefusal };

export class Sessions {
  readonly #statements: ReturnType<typeof prepare>;
  readonly #sessions = new Map<string, Session>();
  /** What the open transaction changed: written by `flush`. */
  readonly #dropped = new Set<string>();
  readonly #touched = new Set<string>();
  readonly #added = new Map<string, Set<number>>();

  constructor(database: StoreDatabase) {
    this.#statements = prepare(database);
    this.reload();
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** Forgets what was not written and reads what was. */
  reload(): void {
    this.#sessions.clear();
    this.#settle();
    for (const { client, lastIndex, acknowledged } of this.#statements.readSessions.all())
      this.#sessions.set(client, { lastIndex: lastIndex as LogIndex, acknowledged, replies: new Map() });
    for (const { client, sequence, outcome } of this.#statements.readReplies.all())
      this.#sessions.get(client)?.replies.set(sequence, outcome);
  }

  open(client: string, index: LogIndex): { readonly isRepeat: boolean } {
    const before = this.#sessions.get(client);
    this.#touched.add(client);
    if (before !== undefined) {
      before.lastIndex = index;
      return { isRepeat: true };
    }
    if (this.#sessions.size >= SESSIONS_MAX) this.#drop(this.#leastRecentlyUsed());
    this.#sessions.set(client, { lastIndex: index, acknowledged: 0, replies: new Map() });
    return { isRepeat: false };
  }

  /** What to do with a command that comes under `use`, in the entry `index`. */
  judge(use: ClientSession, index: LogIndex): SessionVerdict {
    const session = this.#sessions.get(use.client);
    if (session === undefined) return { kind: "session-unknown" };
    session.lastIndex = index;
    this.#touched.add(use.client);
    if (use.sequence <= session.acknowledged) return { kind: "sequence-acknowledged" };
    // Whoever asks for an answer does not have it, whatever it says.
    this.#acknowledge(session, Math.min(use.acknowledged, use.sequence - 1));
    const outcomeText = session.replies.get(use.sequence);
    if (outcomeText !== undefined) return { kind: "repeat", outcomeText };
    return { kind: session.replies.size >= OPEN_REPLIES_MAX ? "session-full" : "new" };
  }

  remember({ client, sequence }: ClientSession, outcomeText: string): void {
    const session = defined(this.#sessions.get(client), "only an open session has answers");
    session.replies.set(sequence, outcomeText);
    const added = this.#added.get(client) ?? new Set();
    this.#added.set(client, added.add(sequence));
  }

  /** Writes what changed, as a step of the caller's transaction. */
  flush(): void {
    const { dropReplies, dropSession, forget, writeSession, addReply } = this.#statements;
    for (const client of this.#dropped) {
      dropReplies.run(client);
      dropSession.run(client);
    }
    for (const client of this.#touched) {
      const session = this.#sessions.get(client);
      if (session === undefined) continue;
      const { lastIndex, acknowledged } = session;
      writeSession.run(
        client,
        lastIndex,
        acknowledged,
        rowChecksum("sm_session", client, lastIndex, acknowledged),
      );
      forget.run(client, acknowledged);
    }
    for (const [client, sequences] of this.#added) {
      for (const sequence of sequences) {
        const outcome = this.#sessions.get(client)?.replies.get(sequence);
        // Given and acknowledged within one transaction, or given in a session that is gone.
        if (outcome === undefined) continue;
        addReply.run(client, sequence, outcome, rowChecksum("sm_session_reply", client, sequence, outcome));
      }
    }
    this.#settle();
  }

  #settle(): void {
    this.#dropped.clear();
    this.#touched.clear();
    this.#added.clear();
  }

  #acknowledge(session: Session, upTo: number): void {
    if (upTo <= session.acknowledged) return;
    session.acknowledged = upTo;
    for (const sequence of session.replies.keys()) if (sequence <= upTo) session.replies.delete(sequence);
  }

  #leastRecentlyUsed(): string {
    let oldest: readonly [string, Session] | undefined;
    for (const entry of this.#sessions)
      if (oldest === undefined || entry[1].lastIndex < oldest[1].lastIndex) oldest = entry;
    return defined(oldest, "there are sessions")[0];
  }

  #drop(client: string): void {
    this.#sessions.delete(client);
    this.#dropped.add(client);
  }
}

function prepare({ raw, drizzle: db }: StoreDatabase) {
  const place = sql.placeholder;
  return {
    readSessions: db.select().from(smSession).prepare(),
    readReplies: db
      .select()
      .from(smSessionReply)
      .orderBy(asc(smSessionReply.client), asc(smSessionReply.sequence))
      .prepare(),
    dropSession: hotStatement<[string]>(
      raw,
      db.delete(smSession).where(eq(smSession.client, place("client"))),
      ["client"],
    ),
    dropReplies: hotStatement<[string]>(
      raw,
      db.delete(smSessionReply).where(eq(smSessionReply.client, place("client"))),
      ["client"],
    ),
    forget: hotStatement<[string, number]>(
      raw,
      db
        .delete(smSessionReply)
        .where(
          and(
            eq(smSessionReply.client, place("client")),
            lte(smSessionReply.sequence, place("acknowledged")),
          ),
        ),
      ["client", "acknowledged"],
    ),
    writeSession: hotStatement<[string, number, number, number]>(
      raw,
      db
        .insert(smSession)
        .values({
          client: place("client"),
          lastIndex: place("lastIndex"),
          acknowledged: place("acknowledged"),
          checksum: place("checksum"),
        })
        .onConflictDoUpdate({
          target: smSession.client,
          set: {
            lastIndex: sql`excluded.last_index`,
            acknowledged: sql`excluded.acknowledged`,
            checksum: sql`excluded.checksum`,
          },
        }),
      ["client", "lastIndex", "acknowledged", "checksum"],
    ),
    addReply: hotStatement<[string, number, string, number]>(
      raw,
      db.insert(smSessionReply).values({
        client: place("client"),
        sequence: place("sequence"),
        outcome: place("outcome"),
        checksum: place("checksum"),
      }),
      ["client", "sequence", "outcome", "checksum"],
    ),
  };
}
