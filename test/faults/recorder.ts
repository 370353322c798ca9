/**
 * Writers and a reader that keep books of everything they are told. Two of four writers go wherever the newest reign is,
 * as a good client does; the others stay with whoever says that it is primary for as long as it says so, as the worst
 * clients do: an old primary that still acknowledged would acknowledge to them.
 */

import postgres from "postgres";
import { DeadlineExceeded, within } from "../../src/base/within.ts";
import { realClock } from "../support/postgres-clock.ts";
import type { Acknowledgement, Reading, StoredRow } from "./judge.ts";

type Sql = postgres.Sql;

export interface RecordedServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface Login {
  readonly username: string;
  readonly password: string;
  readonly database: string;
}

/** What a server last said of itself. */
interface Sighting {
  readonly role: "primary" | "standby" | "silent";
  /** 0 where it is no primary. */
  readonly timeline: number;
}

const WRITERS = 4;
const STUBBORN_FROM = 2;
const WRITE_PAUSE_MS = 8;
const LOOK_PAUSE_MS = 15;
const READ_EVERY_MS = 100;
const ANSWER_MS_MAX = 1_000;
const WRITE_MS_MAX = 1_500;
/** A connection that was given up is kept this long: what still arrives on it is news, too. */
const LATE_ANSWER_MS_MAX = 15_000;
const SILENT: Sighting = { role: "silent", timeline: 0 };

const TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int";

export class Recorder {
  readonly acknowledged: Acknowledgement[] = [];
  readonly readings: Reading[] = [];
  /** Inserts whose fate nobody told. */
  unknownCount = 0;
  readonly #servers: readonly RecordedServer[];
  readonly #login: Login;
  readonly #sightings: Sighting[];
  readonly #abort = new AbortController();
  readonly #thrownAway = new Set<Sql>();
  #running: Promise<unknown> = Promise.resolve();

  constructor(servers: readonly RecordedServer[], login: Login) {
    this.#servers = servers;
    this.#login = login;
    this.#sightings = servers.map(() => SILENT);
  }

  /** The table, made on the primary with that name. */
  async prepare(primary: string): Promise<void> {
    const sql = this.#connect(this.#servers.findIndex(({ name }) => name === primary));
    try {
      await sql.unsafe(
        `create table ledger (writer int, count bigint, server text not null default current_setting('cluster_name'),
           timeline int not null default ${TIMELINE}, primary key (writer, count));
         create table bulk (filler text)`,
      );
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  start(): void {
    const writers = Array.from({ length: WRITERS }, (_, writer) => this.#write(writer));
    this.#running = Promise.all([...writers, ...this.#servers.map((_, index) => this.#look(index))]);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    await Promise.all([...this.#thrownAway].map((sql) => sql.end({ timeout: 0 })));
  }

  /** Every row that a server holds. */
  async storedOn(server: string): Promise<readonly StoredRow[]> {
    const sql = this.#connect(this.#servers.findIndex(({ name }) => name === server));
    try {
      // One text: a hundred thousand rows are read many times.
      const [found] = await sql<{ rows: string | null }[]>`
        select string_agg(concat_ws(':', writer, count, server, timeline), ' ') as rows from ledger`;
      const rows = found?.rows ?? "";
      return rows === "" ? [] : rows.split(" ").map(parseRow);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  async #write(writer: number): Promise<void> {
    const isStubborn = writer >= STUBBORN_FROM;
    let count = 0;
    let place = -1;
    let sql: Sql | null = null;
    while (!this.#isOver) {
      const wanted = this.#choose(place, isStubborn);
      if (wanted !== place || sql === null) {
        if (sql !== null) this.#throwAway(sql);
        sql = wanted < 0 ? null : this.#connect(wanted);
        place = wanted;
      }
      if (sql === null) {
        await this.#sleep(LOOK_PAUSE_MS);
        continue;
      }
      count += 1;
      if (!(await this.#insert(sql, { writer, count }, () => this.#choose(place, isStubborn) === place))) {
        this.#throwAway(sql);
        sql = null;
        // Asked anew whether it is still one; the stubborn then come back to the same.
        if (isStubborn) await this.#sleep(LOOK_PAUSE_MS);
      }
      await this.#sleep(WRITE_PAUSE_MS);
    }
    if (sql !== null) this.#throwAway(sql);
  }

  /** @returns whether to go on with this connection. A late answer is booked all the same. */
  async #insert(
    sql: Sql,
    { writer, count }: { writer: number; count: number },
    isRightPlace: () => boolean,
  ): Promise<boolean> {
    const sentMs = performance.now();
    let isAnswered = false;
    const insert = sql<{ server: string; timeline: number }[]>`
      insert into ledger (writer, count) values (${writer}, ${count}) returning server, timeline`;
    const answer = insert.then(
      ([row]) => {
        isAnswered = true;
        if (row === undefined) return false;
        this.acknowledged.push({ writer, count, ...row, sentMs, answeredMs: performance.now() });
        return true;
      },
      () => {
        // Refused, broken or thrown away: nobody promised anything.
        isAnswered = true;
        this.unknownCount += 1;
        return false;
      },
    );
    const waiting = this.#waitFor(() => isAnswered || this.#isOver || !isRightPlace());
    return Promise.race([answer, waiting.then(() => false)]);
  }

  async #waitFor(isOver: () => boolean): Promise<void> {
    const untilMs = performance.now() + WRITE_MS_MAX;
    while (!isOver() && performance.now() < untilMs) await realClock.sleep(LOOK_PAUSE_MS / 2);
    // The answer itself comes first where there is one.
    await realClock.sleep(1);
  }

  /** Where a writer should be now; -1: nowhere. */
  #choose(present: number, isStubborn: boolean): number {
    if (isStubborn && present >= 0 && this.#sightings[present]?.role === "primary") return present;
    const open = this.#sightings.flatMap(({ role, timeline }, index) =>
      role === "primary" ? [{ index, timeline }] : [],
    );
    const sorted = open.toSorted((one, other) => one.timeline - other.timeline);
    return (isStubborn ? sorted[0] : sorted.at(-1))?.index ?? -1;
  }

  /** The reader: asks one server for its role all the time, and now and then for what it holds. */
  async #look(index: number): Promise<void> {
    const server = this.#servers[index]?.name ?? "";
    let sql: Sql | null = null;
    let nextReadMs = 0;
    while (!this.#isOver) {
      sql ??= this.#connect(index);
      try {
        const timeline = await this.#roleOf(sql);
        this.#sightings[index] = { role: timeline === null ? "standby" : "primary", timeline: timeline ?? 0 };
        if (performance.now() >= nextReadMs) {
          nextReadMs = performance.now() + READ_EVERY_MS;
          const reading = await this.#read(sql, server);
          if (reading !== null) this.readings.push(reading);
        }
      } catch {
        // It does not answer, or not in time: asked again, over another connection.
        this.#sightings[index] = SILENT;
        this.#throwAway(sql);
        sql = null;
      }
      await this.#sleep(LOOK_PAUSE_MS);
    }
    if (sql !== null) this.#throwAway(sql);
  }

  async #roleOf(sql: Sql): Promise<number | null> {
    const asked = sql.unsafe<{ timeline: number | null }[]>(
      `select case when pg_is_in_recovery() then null else ${TIMELINE} end as timeline`,
    );
    const [row] = await within(asked, ANSWER_MS_MAX, { clock: realClock, what: "role" });
    if (row === undefined) throw new DeadlineExceeded("role", ANSWER_MS_MAX);
    return row.timeline;
  }

  /** Null where what it read from was promoted or ended between two questions. */
  async #read(sql: Sql, server: string): Promise<Reading | null> {
    const sentMs = performance.now();
    const asked = sql.unsafe<{ timeline: number | null; newest: string }[]>(
      `select case when pg_is_in_recovery() then null else ${TIMELINE} end as timeline,
         (select string_agg(coalesce((select max(count) from ledger where writer = w), 0)::text, ' ' order by w)
          from generate_series(0, ${WRITERS - 1}) w) as newest`,
    );
    const [row] = await within(asked, ANSWER_MS_MAX, { clock: realClock, what: "reading" });
    if (row === undefined) return null;
    return { server, timeline: row.timeline, sentMs, newest: row.newest.split(" ").map(Number) };
  }

  get #isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  async #sleep(durationMs: number): Promise<void> {
    await realClock.sleep(durationMs);
  }

  #throwAway(sql: Sql): void {
    this.#thrownAway.add(sql);
    void realClock.sleep(this.#isOver ? 0 : LATE_ANSWER_MS_MAX, this.#abort.signal).then(
      () => this.#end(sql),
      () => this.#end(sql),
    );
  }

  async #end(sql: Sql): Promise<void> {
    this.#thrownAway.delete(sql);
    await sql.end({ timeout: 0 });
  }

  #connect(index: number): Sql {
    const server = this.#servers[index];
    if (server === undefined) throw new Error(`there is no server ${index}`);
    return postgres({
      host: server.host,
      port: server.port,
      ...this.#login,
      max: 1,
      connect_timeout: 1,
      backoff: () => 0.01,
      idle_timeout: 0,
      max_lifetime: null,
      fetch_types: false,
      onnotice: () => {},
    });
  }
}

function parseRow(text: string): StoredRow {
  const [writer = "", count = "", server = "", timeline = ""] = text.split(":");
  return { writer: Number(writer), count: Number(count), server, timeline: Number(timeline) };
}
