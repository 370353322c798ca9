import postgres from "postgres";
import type { Clock } from "../base/clock.ts";
import type {
  CatalogFailure,
  CatalogGlance,
  CatalogStatement,
  ObservedCatalog,
  ObservedInside,
} from "../cluster/catalog.ts";
import type { InsideQuestion } from "../cluster/declared.ts";
import {
  CATALOG_QUERY,
  type CatalogRow,
  GLANCE_QUERY,
  INSIDE_QUERY,
  type InsideRow,
  parseCatalogRow,
  parseInsideRow,
} from "./catalog-query.ts";
import { renderCatalogStatement } from "./catalog-sql.ts";

export interface CatalogOptions {
  readonly socketDirectory: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly clock: Clock;
}

/**
 * What our sessions have whatever the configuration says. Verifiers stand in statements: nothing writes those down, neither the
 * server's log (if they work, fail or take long), nor `pg_stat_activity`, nor an extension.
 *
 * Commits wait for no standby: while one that must acknowledge is missing they would wait for ever. What a failover loses of
 * them the next primary's member finds missing, and does again.
 */
const SESSION: Readonly<Record<string, string>> = {
  synchronous_commit: "local",
  statement_timeout: "30s",
  lock_timeout: "2s",
  idle_session_timeout: "0",
  idle_in_transaction_session_timeout: "60s",
  default_transaction_read_only: "off",
  default_transaction_isolation: "read committed",
  search_path: "pg_catalog",
  role: "none",
  track_activities: "off",
  log_statement: "none",
  log_min_error_statement: "panic",
  log_min_duration_statement: "-1",
  log_min_duration_sample: "-1",
  log_transaction_sample_rate: "0",
  log_duration: "off",
  log_lock_waits: "off",
  log_parser_stats: "off",
  log_planner_stats: "off",
  log_executor_stats: "off",
  log_statement_stats: "off",
  debug_print_parse: "off",
  debug_print_rewritten: "off",
  debug_print_plan: "off",
  "pg_stat_statements.track": "none",
  "pg_stat_statements.track_utility": "off",
  "pgaudit.log": "none",
  "auto_explain.log_min_duration": "-1",
};

/** A verifier never leaves in what we say of an error, wherever the server put it. */
const VERIFIER = /SCRAM-SHA-256\$[^\s'"]*/g;

/** Classes and codes of SQLSTATE that say nothing of the statement itself. */
const PASSING = /^(?:08|53|57|40|58)|^25006$|^55P03$|^55006$|^XX000$/;

/** So many statements share a commit. */
const BATCH = 200;

/**
 * So many batches of single roles are under way at a time. PostgreSQL derives a key for each verifier that it is given, to see
 * that it is not that of an empty password: that takes milliseconds, and is nearly all that a role costs.
 */
const LANES = 4;

/** Nothing here may take longer than this altogether: the server may hang. */
const DEADLINE_MS = 60_000;
/** A database that is copied from a large one. */
const COPY_DEADLINE_MS = 1_800_000;

/** The catalogs of roles and databases, read and written as the superuser over the Unix socket. */
export class Catalog {
  readonly #options: CatalogOptions;
  #sql: postgres.Sql | null = null;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  /** Whether any role, membership, setting or database was added, changed or taken out. Rejects if it cannot be asked. */
  async glance(): Promise<CatalogGlance> {
    const [row] = await this.#within((sql) =>
      sql.unsafe<CatalogGlance[]>(GLANCE_QUERY, [], { prepare: true }),
    );
    if (row === undefined) throw new Error("the query of a glance answers with no row");
    return row;
  }

  /**
   * All of it, and what is in the databases that are named. Rejects if it cannot be read.
   *
   * @param inside by database, what has to be known of what is in it.
   */
  async read(inside: ReadonlyMap<string, InsideQuestion> = new Map()): Promise<ObservedCatalog> {
    const [row] = await this.#within((sql) => sql.unsafe<CatalogRow[]>(CATALOG_QUERY));
    if (row === undefined) throw new Error("the catalog query answers with no row");
    const catalog = parseCatalogRow(row);
    const databases = new Map(catalog.databases);
    for (const [name, question] of inside) {
      const database = databases.get(name);
      if (database !== undefined)
        databases.set(name, { ...database, inside: await this.#look(name, question) });
    }
    return { ...catalog, databases };
  }

  /** Null: it takes no connections. */
  async #look(
    database: string,
    { extensions, schemas, creators, columnsIn }: InsideQuestion,
  ): Promise<ObservedInside | null> {
    const asked = [extensions, schemas, creators, columnsIn].map((names) => JSON.stringify(names));
    return this.#in(database, SESSION, async (sql) => {
      try {
        const work = sql.unsafe<InsideRow[]>(INSIDE_QUERY, asked);
        const [row] = await this.#race(work, DEADLINE_MS);
        return row === undefined ? null : parseInsideRow(row);
      } catch (error) {
        if (error instanceof postgres.PostgresError) return null;
        throw error;
      }
    });
  }

  /** Over a connection that ends with it: an open one would keep the database from being dropped. */
  async #in<T>(
    database: string,
    session: Readonly<Record<string, string>>,
    work: (sql: postgres.Sql) => Promise<T>,
  ): Promise<T> {
    const sql = this.#connect(database, session, 1);
    try {
      return await work(sql);
    } finally {
      await sql.end({ timeout: 0 }).catch(() => undefined);
    }
  }

  /**
   * Carries statements out in their order, many to a commit; one that fails takes none of the others along.
   *
   * @returns for each why it failed, or null. Rejects if the connection was lost: some may have been carried out.
   */
  async run(statements: readonly CatalogStatement[]): Promise<readonly (CatalogFailure | null)[]> {
    const results: (CatalogFailure | null)[] = [];
    for (let at = 0; at < statements.length; ) {
      const way = wayOf(statements[at]);
      const end = statements.findIndex((each, index) => index > at && wayOf(each) !== way);
      const group = statements.slice(at, end === -1 ? statements.length : end);
      results.push(...(await this.#runAs(way, group)));
      at += group.length;
    }
    return results;
  }

  #runAs(way: string, group: readonly CatalogStatement[]): Promise<readonly (CatalogFailure | null)[]> {
    if (way === "apart") return this.#runGroup(group, LANES);
    if (way === "together") return this.#runGroup(group, 1);
    const [first] = group;
    const database = first !== undefined && "inside" in first ? first.inside : this.#options.database;
    const isCopy = way === "copy";
    const session = isCopy ? { ...SESSION, statement_timeout: "0" } : SESSION;
    // Each by itself: what makes or drops a database is no part of a transaction, and an extension is a script of its own.
    return this.#in(database, session, async (sql) => {
      const results: (CatalogFailure | null)[] = [];
      for (const statement of group) {
        const work = () => sql.unsafe(renderCatalogStatement(statement)).simple();
        results.push(await failureOf(() => this.#race(work(), isCopy ? COPY_DEADLINE_MS : DEADLINE_MS)));
      }
      return results;
    });
  }

  async #runGroup(
    group: readonly CatalogStatement[],
    lanes: number,
  ): Promise<readonly (CatalogFailure | null)[]> {
    const batches: (readonly CatalogStatement[])[] = [];
    for (let at = 0; at < group.length; at += BATCH) batches.push(group.slice(at, at + BATCH));
    const results: (readonly (CatalogFailure | null)[])[] = [];
    let next = 0;
    const lane = async () => {
      for (let at = next++; at < batches.length; at = next++)
        results[at] = await this.#runBatch(batches[at] ?? []);
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return results.flat();
  }

  async close(): Promise<void> {
    const sql = this.#sql;
    this.#sql = null;
    await sql?.end({ timeout: 0 });
  }

  async #runBatch(batch: readonly CatalogStatement[]): Promise<readonly (CatalogFailure | null)[]> {
    const texts = batch.map(renderCatalogStatement);
    if (texts.length > 1) {
      // Several statements in one message are one transaction.
      const failure = await this.#attempt(texts.join(";\n"));
      if (failure === null) return texts.map(() => null);
    }
    const results: (CatalogFailure | null)[] = [];
    for (const text of texts) results.push(await this.#attempt(text));
    return results;
  }

  #attempt(text: string): Promise<CatalogFailure | null> {
    return failureOf(() => this.#within((sql) => sql.unsafe(text).simple()));
  }

  async #race<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
    const timer = new AbortController();
    const timeout = this.#options.clock.sleep(deadlineMs, timer.signal).then(
      () => {
        throw new Error(`PostgreSQL has not answered within ${deadlineMs} ms`);
      },
      // Aborted: the answer came first.
      () => new Promise<never>(() => undefined),
    );
    try {
      return await Promise.race([work, timeout]);
    } finally {
      timer.abort();
    }
  }

  async #within<T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
    this.#sql ??= this.#connect(this.#options.database, SESSION, LANES);
    const sql = this.#sql;
    try {
      return await this.#race(work(sql), DEADLINE_MS);
    } catch (error) {
      if (!(error instanceof postgres.PostgresError) && this.#sql === sql) {
        this.#sql = null;
        sql.end({ timeout: 0 }).catch(() => undefined);
      }
      // What the driver hangs on to an error is the statement.
      throw error instanceof postgres.PostgresError
        ? error
        : new Error(messageOf(error).replace(VERIFIER, "***"));
    }
  }

  #connect(database: string, session: Readonly<Record<string, string>>, connections: number): postgres.Sql {
    const { socketDirectory, port, user } = this.#options;
    return postgres({
      host: socketDirectory,
      port,
      user,
      database,
      max: connections,
      idle_timeout: 30,
      max_lifetime: null,
      connect_timeout: 5,
      backoff: () => 0,
      fetch_types: false,
      onnotice: () => undefined,
      connection: { application_name: "guacamole", ...session },
    });
  }
}

/** How a statement is carried out, and so with which others; `inside …` names the database. */
function wayOf(statement: CatalogStatement | undefined): string {
  if (statement === undefined) return "together";
  if ("inside" in statement) return `inside ${statement.inside}`;
  switch (statement.kind) {
    case "create-role":
    case "alter-role":
      // Whatever order such statements come in, each does the same.
      return "apart";
    case "create-database":
    case "drop-database":
      return "copy";
    default:
      return "together";
  }
}

/** Null: it was carried out. Rejects if the connection was lost. */
async function failureOf(work: () => Promise<unknown>): Promise<CatalogFailure | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (!(error instanceof postgres.PostgresError)) throw error;
    const { code, message, detail, hint } = error;
    const said = [message, detail, hint].filter((each) => each !== undefined && each !== "").join(". ");
    return { isPassing: PASSING.test(code), message: said.replace(VERIFIER, "***").slice(0, 1_000) };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
