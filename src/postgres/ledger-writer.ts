/**
 * A writer that keeps books: it inserts one row after the other, remembers each one whose commit was acknowledged, and
 * goes on at whichever server takes writes. What it remembers is what must never be lost.
 *
 * It keeps a connection to every server and asks the standbys whether they were promoted, as a multi-host client does;
 * so the silence that it measures is the cluster's, not that of building connections.
 */
import postgres from "postgres";
import type { Clock } from "../base/clock.ts";
import { within } from "../base/within.ts";

export interface LedgerServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface LedgerOptions {
  readonly servers: readonly LedgerServer[];
  readonly username: string;
  readonly password: string;
  readonly database: string;
  /** Writers side by side. */
  readonly writers: number;
  /** Between two rows of one writer. 0: as fast as it goes. */
  readonly pauseMs: number;
  readonly clock: Clock;
}

/** An acknowledged commit. */
export interface Acknowledged {
  readonly row: number;
  readonly atMs: number;
}

type Sql = postgres.Sql;

const WRITE_DEADLINE_MS = 5_000;
const ROLE_DEADLINE_MS = 1_000;
const FIND_DEADLINE_MS = 30_000;
const RETRY_MS = 3;
const RECONNECT_MS = 20;

export class LedgerWriter {
  readonly #options: LedgerOptions;
  readonly #connections: readonly { readonly server: LedgerServer; sql: Sql }[];
  readonly #acknowledged: Acknowledged[] = [];
  readonly #abort = new AbortController();
  #nextRow = 1;
  #unknown = 0;
  #running: Promise<unknown> = Promise.resolve();
  #primary = 0;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#connections = options.servers.map((server) => ({ server, sql: connect(options, server) }));
  }

  /** Every acknowledged row so far, in the order of acknowledgement. */
  get acknowledged(): readonly Acknowledged[] {
    return this.#acknowledged;
  }

  /** Rows whose fate is not known: the connection broke before the answer came. */
  get unknownCount(): number {
    return this.#unknown;
  }

  /** The table that the rows go to. */
  async prepare(): Promise<void> {
    const { sql } = await this.#findPrimary();
    await sql`create table if not exists ledger (row bigint primary key, written_at timestamptz not null default now())`;
  }

  start(): void {
    const writers = Array.from({ length: this.#options.writers }, () => this.#write());
    this.#running = Promise.all(writers);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map(({ sql }) => sql.end({ timeout: 0 })));
  }

  /** The acknowledged rows that are not on the present primary. The one number that matters: its length must be 0. */
  async missing(): Promise<readonly number[]> {
    const { sql } = await this.#findPrimary();
    // Taken before the rows are read: what is acknowledged while they are being read cannot be among them.
    const acknowledged = this.#acknowledged.map(({ row }) => row);
    const rows = await sql<{ row: string }[]>`select row::text from ledger`;
    const stored = new Set(rows.map(({ row }) => Number(row)));
    return acknowledged.filter((row) => !stored.has(row));
  }

  /** The longest silence between two acknowledgements, of all writers together, in a stretch of time. */
  longestSilenceMs(fromMs: number, toMs: number): number {
    const times = this.#acknowledged.map(({ atMs }) => atMs).filter((atMs) => atMs >= fromMs && atMs <= toMs);
    const edges = [...times, toMs];
    return edges.reduce((longest, atMs, index) => {
      const previous = index === 0 ? fromMs : (edges[index - 1] ?? fromMs);
      return Math.max(longest, atMs - previous);
    }, 0);
  }

  async #write(): Promise<void> {
    const { clock, pauseMs } = this.#options;
    while (!this.#abort.signal.aborted) {
      const row = this.#nextRow++;
      if (await this.#insert(row)) this.#acknowledged.push({ row, atMs: clock.nowMs() });
      else await this.#findNext();
      if (pauseMs > 0) await clock.sleep(pauseMs);
    }
  }

  async #insert(row: number): Promise<boolean> {
    const index = this.#primary;
    const sql = this.#connections[index]?.sql;
    if (sql === undefined) return false;
    try {
      const insert = sql`insert into ledger (row) values (${row})`;
      await within(insert, WRITE_DEADLINE_MS, { clock: this.#options.clock, what: "insert" });
      return true;
    } catch (error) {
      // Read-only: surely not written. Anything else may or may not have been.
      if (isReadOnly(error)) return false;
      this.#unknown += 1;
      this.#renew(index, sql);
      return false;
    }
  }

  async #findNext(): Promise<void> {
    const found = await this.#firstPrimary(() => this.#abort.signal.aborted);
    if (found !== null) this.#primary = found;
  }

  async #findPrimary(): Promise<{ readonly sql: Sql }> {
    const deadlineMs = this.#options.clock.nowMs() + FIND_DEADLINE_MS;
    const found = await this.#firstPrimary(() => this.#options.clock.nowMs() >= deadlineMs);
    const connection = found === null ? undefined : this.#connections[found];
    if (connection === undefined || found === null) throw new Error("no server takes writes");
    this.#primary = found;
    return connection;
  }

  /** Asks every server, each at its own pace: one that hangs must not hold up the news of another. Null: given up. */
  async #firstPrimary(isGivenUp: () => boolean): Promise<number | null> {
    let isFound = false;
    const searches = this.#connections.map(async (_, index) => {
      while (!isFound && !isGivenUp()) {
        const answer = await this.#ask(index);
        if (answer === "primary") {
          isFound = true;
          return index;
        }
        await this.#options.clock.sleep(answer === "standby" ? RETRY_MS : RECONNECT_MS);
      }
      throw new Error("the search is over");
    });
    try {
      return await Promise.any(searches);
    } catch (error) {
      if (error instanceof AggregateError) return null;
      throw error;
    }
  }

  async #ask(index: number): Promise<"primary" | "standby" | "silent"> {
    const sql = this.#connections[index]?.sql;
    if (sql === undefined) return "silent";
    try {
      const asked = sql<{ standby: boolean }[]>`select pg_is_in_recovery() as standby`;
      const [row] = await within(asked, ROLE_DEADLINE_MS, { clock: this.#options.clock, what: "role" });
      return row?.standby === false ? "primary" : "standby";
    } catch {
      // It does not answer: it is asked again, over another connection.
      this.#renew(index, sql);
      return "silent";
    }
  }

  /**
   * The driver keeps what was asked of a connection that broke, and asks it again, for seconds, before anything new: so
   * a connection that failed is thrown away, unless another writer has done so.
   */
  #renew(index: number, failed: Sql): void {
    const connection = this.#connections[index];
    if (connection === undefined || connection.sql !== failed) return;
    connection.sql = connect(this.#options, connection.server);
    failed.end({ timeout: 0 }).catch(() => {
      // Thrown away: however it ends, nobody uses it any more.
    });
  }
}

/** Makes the role and the database that a ledger writer uses. Over the primary's Unix socket, as its superuser. */
export async function createLedgerDatabase(place: {
  readonly socketDirectory: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
}): Promise<void> {
  const sql = postgres({
    host: place.socketDirectory,
    port: place.port,
    username: "postgres",
    database: "postgres",
    max: 1,
  });
  try {
    const name = sql(place.username);
    await sql`create role ${name} login`;
    // A utility statement takes no parameters; the password is of this process's own making and needs no quoting.
    await sql.unsafe(`alter role "${place.username}" password '${place.password}'`);
    await sql`create database ${name} owner ${name}`;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

function isReadOnly(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "25006";
}

function connect(options: LedgerOptions, server: LedgerServer): Sql {
  return postgres({
    host: server.host,
    port: server.port,
    username: options.username,
    password: options.password,
    database: options.database,
    max: options.writers,
    connect_timeout: 1,
    backoff: () => 0.01,
    idle_timeout: 0,
    max_lifetime: null,
    fetch_types: false,
    onnotice: () => {},
  });
}
