/**
 * Raft's disk: one SQLite file, one transaction per batch. After a crash the file holds a prefix of the committed
 * batches, each whole: log, promises, state machine and how far it got always belong together.
 */
import { and, asc, eq, gte, lt, sql } from "drizzle-orm";
import { assert, defined } from "../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { StoredEvent } from "../cluster/consensus.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { ClusterConfig, Entry, EntryId, EntryKind, HardState } from "../raft/engine/message.ts";
import type { Applied, LogStore, StoreBatch, StoredRaft } from "../raft/ports.ts";
import { CHAIN_START, chainHash } from "./chain.ts";
import type { Drizzle, StoreDatabase } from "./database.ts";
import { raftApplied, raftFloor, raftHard, raftIdentity, raftLog } from "./schema.ts";
import { type CommandReply, type Rules, StateMachine } from "./state-machine.ts";
import { StoreError } from "./store-error.ts";

export class SqliteLogStore implements LogStore {
  readonly #database: StoreDatabase;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #machine: StateMachine;
  readonly #stored: StoredRaft;
  readonly #floor: EntryId;
  #last: EntryId;
  #lastChain: Uint8Array;
  #applied: LogIndex;
  #isBroken = false;

  /**
   * @param expected `beginning` only while the first entries are being written.
   * @throws {StoreError} if the database has no identity, or what it holds contradicts itself.
   */
  constructor(database: StoreDatabase, rules: Rules, expected: "history" | "beginning" = "history") {
    this.#database = database;
    this.#statements = prepare(database.drizzle);
    const { stored, lastChain } = this.#verify(expected);
    this.#machine = new StateMachine(database, rules);
    this.#stored = stored;
    this.#floor = stored.floor;
    this.#last = stored.last;
    this.#lastChain = lastChain;
    this.#applied = stored.applied;
  }

  /** The agreed state as far as it is durable here; null before the first command. */
  get state(): ClusterState | null {
    return this.#machine.state;
  }

  get appliedIndex(): LogIndex {
    return this.#applied;
  }

  /** Events after `afterId`, oldest first. */
  readEvents(afterId: number, countMax: number): readonly StoredEvent[] {
    return this.#machine.readEvents(afterId, countMax);
  }

  load(): StoredRaft {
    const hard = defined(this.#statements.readHard.get(), "the term and vote are stored");
    return { ...this.#stored, hard: hardOf(hard), last: this.#last, applied: this.#applied };
  }

  read(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[] {
    const entries: Entry[] = [];
    let bytes = 0;
    // In portions: a large log must not be read into memory for the sake of its first entries.
    while (entries.length < countMax) {
      const from = first + entries.length;
      const portion = Math.min(countMax - entries.length, 64);
      const rows = this.#statements.readLog.all({ from, countMax: portion });
      for (const row of rows) {
        bytes += row.data.byteLength;
        if (entries.length > 0 && bytes > bytesMax) return entries;
        entries.push(entryOf(row));
      }
      if (rows.length < portion) break;
    }
    return entries;
  }

  termAt(index: LogIndex): Term | null {
    if (index === this.#floor.index) return this.#floor.term;
    if (index === this.#last.index) return this.#last.term;
    if (index < this.#floor.index || index > this.#last.index) return null;
    return this.#termInLog(index);
  }

  /** @throws whatever the disk answers: then this store takes nothing more, and the process must end. */
  commit(batch: StoreBatch): readonly Applied[] {
    assert(!this.#isBroken, "nothing is written after a failed commit");
    this.#isBroken = true;
    let last = this.#last;
    let lastChain = this.#lastChain;
    let applied = this.#applied;
    const replies: Applied[] = [];
    this.#database.raw
      .transaction(() => {
        if (batch.entries.length > 0) ({ last, lastChain } = this.#append(batch.entries));
        if (batch.hard !== null) {
          assert(batch.hard.commit <= last.index, "nothing is committed that the log does not hold");
          this.#statements.writeHard.run({ ...batch.hard, commitIndex: batch.hard.commit });
        }
        for (const entry of batch.committed) {
          assert(entry.index === applied + 1, "entries are applied in order, each once");
          assert(entry.index <= last.index, "only what the log holds is applied");
          if (entry.kind === "command") {
            replies.push({ index: entry.index, term: entry.term, reply: this.#machine.apply(entry.data) });
          }
          applied = entry.index;
        }
        if (applied !== this.#applied) {
          this.#machine.flush();
          this.#statements.writeApplied.run({ index: applied });
        }
      })
      .immediate();
    this.#machine.settle();
    this.#last = last;
    this.#lastChain = lastChain;
    this.#applied = applied;
    this.#isBroken = false;
    return replies;
  }

  /** Closes the database. Nothing may be called afterwards. */
  close(): void {
    this.#isBroken = true;
    this.#database.close();
  }

  /** Drops what conflicts, from the first conflicting index on only, and appends what is not there yet. */
  #append(entries: readonly Entry[]): { last: EntryId; lastChain: Uint8Array } {
    const first = defined(entries[0], "an append has an entry");
    assert(first.index > this.#floor.index, "what was compacted away is never written again");
    assert(first.index <= this.#last.index + 1, "the log has no gap");
    let start = 0;
    while (start < entries.length) {
      const entry = defined(entries[start], "the entry is in the batch");
      if (entry.index > this.#last.index || this.#termInLog(entry.index) !== entry.term) break;
      start += 1;
    }
    const fresh = entries.slice(start);
    const head = fresh[0];
    if (head === undefined) return { last: this.#last, lastChain: this.#lastChain };
    assert(head.index > this.#applied, "what was applied is never replaced");
    let chain = this.#chainAt((head.index - 1) as LogIndex);
    if (head.index <= this.#last.index) this.#statements.truncateLog.run({ from: head.index });
    let previous: number = head.index - 1;
    for (const entry of fresh) {
      assert(entry.index === previous + 1, "the log has no gap");
      chain = chainHash(chain, entry);
      this.#statements.appendLog.run({
        index: entry.index,
        term: entry.term,
        kind: entry.kind,
        data: Buffer.from(entry.data),
        chain: Buffer.from(chain),
      });
      previous = entry.index;
    }
    const tail = defined(fresh.at(-1), "an append has a last entry");
    return { last: { term: tail.term, index: tail.index }, lastChain: chain };
  }

  #chainAt(index: LogIndex): Uint8Array {
    if (index === this.#last.index) return this.#lastChain;
    if (index === this.#floor.index) {
      return defined(this.#statements.readFloor.get(), "the floor is stored").chain;
    }
    return defined(this.#statements.chainAt.get({ index }), "the log has no gap").chain;
  }

  #termInLog(index: LogIndex): Term {
    return defined(this.#statements.termAt.get({ index }), "the log has no gap").term as Term;
  }

  /** Refuses to start on a log that contradicts itself: better one member less than a wrong one. */
  #verify(expected: "history" | "beginning"): { stored: StoredRaft; lastChain: Uint8Array } {
    const path = this.#database.path;
    const refuse = (what: string): never => {
      throw new StoreError(
        `the log in ${path} is damaged: ${what}. Do not repair it by hand: remove this member from the cluster, and let the host join as a new one with an empty data directory`,
      );
    };
    const identity = this.#statements.readIdentity.get();
    const hardRow = this.#statements.readHard.get();
    const floorRow = this.#statements.readFloor.get();
    const appliedRow = this.#statements.readApplied.get();
    if (identity === undefined) throw new StoreError(`${path} belongs to no member yet: form or join first`);
    if (hardRow === undefined) return refuse("the term and vote are missing");
    if (floorRow === undefined) return refuse("the beginning of the log is missing");
    if (appliedRow === undefined) return refuse("how far it was applied is missing");

    const floor: EntryId = { term: floorRow.term as Term, index: floorRow.index as LogIndex };
    let last = floor;
    let chain: Uint8Array = floorRow.chain;
    let hasConfig = floorRow.config !== null;
    for (;;) {
      const rows = this.#statements.readLog.all({ from: last.index + 1, countMax: 1024 });
      for (const row of rows) {
        if (row.index !== last.index + 1) refuse(`entry ${last.index + 1} is missing`);
        if (row.term < last.term)
          refuse(`the term of entry ${row.index} is older than that of the one before`);
        const entry = entryOf(row);
        chain = chainHash(chain, entry);
        if (!Buffer.from(chain).equals(row.chain))
          refuse(`entry ${row.index} is not what was written (hash chain)`);
        if (row.kind === "config") hasConfig = true;
        last = { term: entry.term, index: entry.index };
      }
      if (rows.length < 1024) break;
    }
    // Rows below the floor would be a second beginning.
    if (this.#statements.anyBelow.get({ index: floor.index + 1 }) !== undefined)
      refuse("entries lie below its beginning");

    const hard = hardOf(hardRow);
    const applied = appliedRow.index as LogIndex;
    if (applied < floor.index) refuse(`applied up to ${applied}, but the log begins after ${floor.index}`);
    if (applied > last.index) refuse(`applied up to ${applied}, but the log ends at ${last.index}`);
    if (hard.commit > last.index) refuse(`committed up to ${hard.commit}, but the log ends at ${last.index}`);
    if (last.term > hard.term)
      refuse(`it holds an entry of term ${last.term}, but only term ${hard.term} is known`);
    // A joiner begins with nothing; its first entries bring the configuration.
    const isFresh = last.index === 0 && (identity.origin === "join" || expected === "beginning");
    if (!hasConfig && !isFresh) refuse("no configuration says who votes");
    return {
      stored: {
        hard,
        floor,
        floorConfig: floorRow.config === null ? null : (JSON.parse(floorRow.config) as ClusterConfig),
        last,
        applied,
        promotableFrom: identity.promotableFrom as LogIndex,
      },
      lastChain: chain,
    };
  }
}

interface LogRow {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  readonly data: Uint8Array;
}

function entryOf(row: LogRow): Entry {
  return { index: row.index as LogIndex, term: row.term as Term, kind: row.kind, data: row.data };
}

function hardOf(row: {
  readonly term: number;
  readonly vote: string | null;
  readonly commitIndex: number;
}): HardState {
  return {
    term: row.term as Term,
    vote: row.vote as MemberId | null,
    commit: row.commitIndex as LogIndex,
  };
}

/** The rows that every log has, written in the transaction that gives the database its identity. */
export function beginLog(db: Drizzle): void {
  db.insert(raftFloor)
    .values({ id: 0, index: 0, term: 0, config: null, chain: Buffer.from(CHAIN_START) })
    .run();
  db.insert(raftApplied).values({ id: 0, index: 0 }).run();
  db.insert(raftHard).values({ id: 0, term: 0, vote: null, commitIndex: 0 }).run();
}

function prepare(db: Drizzle) {
  const place = sql.placeholder;
  return {
    readIdentity: db.select().from(raftIdentity).prepare(),
    readHard: db.select().from(raftHard).prepare(),
    readFloor: db.select().from(raftFloor).prepare(),
    readApplied: db.select().from(raftApplied).prepare(),
    writeHard: db
      .update(raftHard)
      .set({
        term: sql`${place("term")}`,
        vote: sql`${place("vote")}`,
        commitIndex: sql`${place("commitIndex")}`,
      })
      .where(eq(raftHard.id, 0))
      .prepare(),
    writeApplied: db
      .update(raftApplied)
      .set({ index: sql`${place("index")}` })
      .where(eq(raftApplied.id, 0))
      .prepare(),
    readLog: db
      .select()
      .from(raftLog)
      .where(gte(raftLog.index, place("from")))
      .orderBy(asc(raftLog.index))
      .limit(place("countMax"))
      .prepare(),
    anyBelow: db
      .select({ index: raftLog.index })
      .from(raftLog)
      .where(and(lt(raftLog.index, place("index"))))
      .limit(1)
      .prepare(),
    termAt: db
      .select({ term: raftLog.term })
      .from(raftLog)
      .where(eq(raftLog.index, place("index")))
      .prepare(),
    chainAt: db
      .select({ chain: raftLog.chain })
      .from(raftLog)
      .where(eq(raftLog.index, place("index")))
      .prepare(),
    truncateLog: db
      .delete(raftLog)
      .where(gte(raftLog.index, place("from")))
      .prepare(),
    appendLog: db
      .insert(raftLog)
      .values({
        index: place("index"),
        term: place("term"),
        kind: place("kind"),
        data: place("data"),
        chain: place("chain"),
      })
      .prepare(),
  };
}

/** Reading for `CommandReply` where only `Applied` is known: this store answers commands with nothing else. */
export function commandReply(applied: Applied): CommandReply {
  return applied.reply as CommandReply;
}
