/**
 * Four writers that keep books, the same for every rival: each inserts one row after the other, remembers what was
 * acknowledged and by whom, and goes on at whichever server takes writes.
 *
 * Each keeps a connection to every server, as a multi-host client with a pool does. While an insert stands still for
 * longer than its patience, the others are asked whether they were promoted: so the silence that is measured is the
 * cluster's, and not a client's time-out.
 */
import postgres from "postgres";
import type { Clock } from "../../../src/base/clock.ts";
import { DeadlineExceeded, within } from "../../../src/base/within.ts";
import type { RivalServer } from "./rival.ts";

export const WRITER_COUNT = 4;
export const BENCH_USER = "bench";
/** Between two rows of one writer: together about 500 rows a second. */
const PAUSE_MS = 5;
const PATIENCE_MS = 100;
const ASK_MS_MAX = 1_000;
const RETRY_MS = 3;
const RECONNECT_MS = 20;

interface Acknowledged {
  readonly row: number;
  readonly atMs: number;
  readonly writer: number;
  /** Which server, and over which connection: a new one after a restart. */
  readonly server: number;
  readonly connection: number;
}

export interface Silence {
  /** The longest time in which no writer got an acknowledgement. */
  readonly allMs: number;
  /** The longest time of any one writer. */
  readonly worstMs: number;
}

export interface WritersOptions {
  readonly servers: readonly RivalServer[];
  readonly password: string;
  readonly clock: Clock;
}

export class Writers {
  readonly #options: WritersOptions;
  readonly #acknowledged: Acknowledged[] = [];
  readonly #latest: (Acknowledged | null)[] = Array.from({ length: WRITER_COUNT }, () => null);
  readonly #abort = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #nextRow = 1;
  #connectionsMade = 0;
  #unknown = 0;

  constructor(options: WritersOptions) {
    this.#options = options;
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.length;
  }

  /** Rows of which nobody can say whether they were written: the connection broke before the answer came. */
  get unknownCount(): number {
    return this.#unknown;
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: WRITER_COUNT }, (_, writer) => this.#write(writer)));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** Every writer was acknowledged after `sinceMs`. */
  allWriteSince(sinceMs: number): boolean {
    return this.#latest.every((latest) => latest !== null && latest.atMs > sinceMs);
  }

  /** Every writer's latest acknowledgement is from another server than this one. */
  allLeft(server: number): boolean {
    return this.#latest.every((latest) => latest !== null && latest.server !== server);
  }

  /** Every writer's latest acknowledgement came over a connection that is newer than this. */
  allReconnectedSince(connection: number): boolean {
    return this.#latest.every((latest) => latest !== null && latest.connection > connection);
  }

  get newestConnection(): number {
    return this.#connectionsMade;
  }

  silence(fromMs: number, toMs: number): Silence {
    const seen = this.#acknowledged.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
    const longest = (times: readonly number[]): number => {
      let previousMs = fromMs;
      let longestMs = 0;
      for (const atMs of [...times, toMs]) {
        longestMs = Math.max(longestMs, atMs - previousMs);
        previousMs = atMs;
      }
      return longestMs;
    };
    const worst = this.#latest.map((_, writer) =>
      longest(seen.filter((each) => each.writer === writer).map(({ atMs }) => atMs)),
    );
    return { allMs: longest(seen.map(({ atMs }) => atMs)), worstMs: Math.max(...worst) };
  }

  /** Rows acknowledged since then that this server does not have: it should be the primary. */
  async missing(server: RivalServer, fromMs: number): Promise<number> {
    // Taken before the rows are read: what is acknowledged while they are being read cannot be among them.
    const rows = this.#acknowledged.filter(({ atMs }) => atMs >= fromMs).map(({ row }) => row);
    const least = rows.reduce((found, row) => Math.min(found, row), Number.POSITIVE_INFINITY);
    if (rows.length === 0) return 0;
    const sql = connect(server, this.#options.password);
    try {
      const stored = await sql<{ row: string }[]>`select row::text from ledger where row >= ${least}`;
      const found = new Set(stored.map(({ row }) => Number(row)));
      return rows.filter((row) => !found.has(row)).length;
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  async #write(writer: number): Promise<void> {
    const { clock, servers, password } = this.#options;
    const connections = new WriterConnections(servers, password, clock, () => ++this.#connectionsMade);
    try {
      while (!this.#abort.signal.aborted) {
        const row = this.#nextRow++;
        const { serial, server } = connections.current;
        const end = await connections.insert(row, this.#abort.signal);
        if (end === "acknowledged") {
          const acknowledged = { row, atMs: clock.nowMs(), writer, server, connection: serial };
          this.#acknowledged.push(acknowledged);
          this.#latest[writer] = acknowledged;
        } else {
          if (end !== "refused") this.#unknown += 1;
          if (end !== "moved") await connections.findPrimary(this.#abort.signal);
        }
        await clock.sleep(PAUSE_MS);
      }
    } finally {
      await connections.close();
    }
  }
}

/**
 * `refused`: surely not written. `unknown`: it may have been. `moved`: that too; it stood still, and another server takes
 * writes.
 */
type InsertEnd = "acknowledged" | "refused" | "unknown" | "moved";

interface Connection {
  readonly server: number;
  readonly serial: number;
  readonly sql: postgres.Sql;
}

/** One writer's connections, one to each server. */
class WriterConnections {
  readonly #servers: readonly RivalServer[];
  readonly #password: string;
  readonly #clock: Clock;
  readonly #nextSerial: () => number;
  readonly #connections: Connection[];
  #chosen = 0;

  constructor(servers: readonly RivalServer[], password: string, clock: Clock, nextSerial: () => number) {
    this.#servers = servers;
    this.#password = password;
    this.#clock = clock;
    this.#nextSerial = nextSerial;
    this.#connections = servers.map((_, server) => this.#open(server));
  }

  get current(): Connection {
    return this.#at(this.#chosen);
  }

  async insert(row: number, signal: AbortSignal): Promise<InsertEnd> {
    const connection = this.current;
    const inserted = connection.sql`insert into ledger (row) values (${row})`.then(
      (): InsertEnd => "acknowledged",
      (error: unknown): InsertEnd => (isReadOnly(error) ? "refused" : "unknown"),
    );
    const inTime = await this.#waitFor(inserted, PATIENCE_MS);
    const end = inTime ?? (await this.#insertedOrElsewhere(inserted, connection, signal));
    if (end === "unknown" || end === "moved") this.#renew(connection);
    return end;
  }

  /** Asks every server, each at its own pace: one that hangs must not hold up the news of another. */
  async findPrimary(signal: AbortSignal): Promise<void> {
    const found = await this.#search(
      this.#servers.map((_, server) => server),
      () => signal.aborted,
    );
    if (found !== null) this.#chosen = found;
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map(({ sql }) => sql.end({ timeout: 0 })));
  }

  /** The insert's own end, or `moved` once another server takes writes. */
  async #insertedOrElsewhere(
    inserted: Promise<InsertEnd>,
    { server }: Connection,
    signal: AbortSignal,
  ): Promise<InsertEnd> {
    let isAnswered = false;
    const others = this.#servers.map((_, index) => index).filter((index) => index !== server);
    const elsewhere = this.#search(others, () => isAnswered || signal.aborted);
    const end = await Promise.race([inserted, elsewhere]);
    isAnswered = true;
    if (typeof end === "string") return end;
    if (end === null) return "unknown";
    this.#chosen = end;
    return "moved";
  }

  /** The first of these that takes writes; null: given up. */
  async #search(servers: readonly number[], isGivenUp: () => boolean): Promise<number | null> {
    let isFound = false;
    const searches = servers.map(async (server) => {
      while (!isFound && !isGivenUp()) {
        const answer = await this.#ask(server);
        if (answer === "primary") {
          isFound = true;
          return server;
        }
        await this.#clock.sleep(answer === "standby" ? RETRY_MS : RECONNECT_MS);
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

  async #ask(server: number): Promise<"primary" | "standby" | "silent"> {
    const connection = this.#at(server);
    try {
      const asked = connection.sql<{ standby: boolean }[]>`select pg_is_in_recovery() as standby`;
      const [row] = await within(asked, ASK_MS_MAX, { clock: this.#clock, what: "role" });
      return row?.standby === false ? "primary" : "standby";
    } catch {
      // It does not answer: it is asked again, over another connection.
      this.#renew(connection);
      return "silent";
    }
  }

  async #waitFor<T>(work: Promise<T>, deadlineMs: number): Promise<T | null> {
    try {
      return await within(work, deadlineMs, { clock: this.#clock, what: "insert" });
    } catch (error) {
      if (error instanceof DeadlineExceeded) return null;
      throw error;
    }
  }

  /** The driver asks again over a broken connection what was asked of it before: so it is thrown away. */
  #renew(failed: Connection): void {
    if (this.#connections[failed.server] !== failed) return;
    this.#connections[failed.server] = this.#open(failed.server);
    failed.sql.end({ timeout: 0 }).catch(() => {
      // Thrown away: however it ends, nobody uses it any more.
    });
  }

  #open(server: number): Connection {
    const place = this.#servers[server];
    if (place === undefined) throw new Error(`there is no server ${server}`);
    return { server, serial: this.#nextSerial(), sql: connect(place, this.#password) };
  }

  #at(server: number): Connection {
    const found = this.#connections[server];
    if (found === undefined) throw new Error(`there is no connection to server ${server}`);
    return found;
  }
}

/** The role, the database and the table of the writers. Over the primary's Unix socket, as its superuser. */
export async function createLedger(primary: RivalServer, password: string): Promise<void> {
  const superuser = (database: string): postgres.Sql =>
    postgres({ host: primary.socketDirectory, port: primary.port, username: "postgres", database, max: 1 });
  const sql = superuser("postgres");
  try {
    await sql.unsafe(`create role ${BENCH_USER} login in role pg_monitor`);
    // A utility statement takes no parameters; the password is of this process's own making and needs no quoting.
    await sql.unsafe(`alter role ${BENCH_USER} password '${password}'`);
    await sql.unsafe(`create database ${BENCH_USER} owner ${BENCH_USER}`);
  } finally {
    await sql.end({ timeout: 1 });
  }
  const own = connect(primary, password);
  try {
    await own`create table ledger (row bigint primary key, written_at timestamptz not null default now())`;
  } finally {
    await own.end({ timeout: 1 });
  }
}

export function connect(server: RivalServer, password: string): postgres.Sql {
  return postgres({
    host: server.host,
    port: server.port,
    username: BENCH_USER,
    password,
    database: BENCH_USER,
    max: 1,
    connect_timeout: 1,
    backoff: () => 0.01,
    idle_timeout: 0,
    max_lifetime: null,
    fetch_types: false,
    onnotice: () => {},
  });
}

function isReadOnly(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === "25006";
}
