import postgres from "postgres";
import type { Clock } from "../base/clock.ts";
import type { CatalogFailure, CatalogStatement, ObservedCatalog } from "../cluster/catalog.ts";
import { CATALOG_QUERY, type CatalogRow, FINGERPRINT_QUERY, parseCatalogRow } from "./catalog-query.ts";
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

/** The catalogs of roles and databases, read and written as the superuser over the Unix socket. */
export class Catalog {
  readonly #options: CatalogOptions;
  #sql: postgres.Sql | null = null;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  /** Equal as long as no role, membership, setting or database was added, changed or taken out. Rejects if it cannot be asked. */
  async fingerprint(): Promise<string> {
    const [row] = await this.#within((sql) =>
      sql.unsafe<{ fingerprint: string }[]>(FINGERPRINT_QUERY, [], { prepare: true }),
    );
    if (row === undefined) throw new Error("the fingerprint query answers with no row");
    return row.fingerprint;
  }

  /** All of it. Rejects if it cannot be read. */
  async read(): Promise<ObservedCatalog> {
    const [row] = await this.#within((sql) => sql.unsafe<CatalogRow[]>(CATALOG_QUERY));
    if (row === undefined) throw new Error("the catalog query answers with no row");
    return parseCatalogRow(row);
  }

  /**
   * Carries statements out in their order, many to a commit; one that fails takes none of the others along.
   *
   * @returns for each why it failed, or null. Rejects if the connection was lost: some may have been carried out.
   */
  async run(statements: readonly CatalogStatement[]): Promise<readonly (CatalogFailure | null)[]> {
    const results: (CatalogFailure | null)[] = [];
    for (let at = 0; at < statements.length; ) {
      const isApart = isOfOneRole(statements[at]);
      const end = statements.findIndex((each, index) => index > at && isOfOneRole(each) !== isApart);
      const group = statements.slice(at, end === -1 ? statements.length : end);
      results.push(...(await this.#runGroup(group, isApart ? LANES : 1)));
      at += group.length;
    }
    return results;
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

  async #attempt(text: string): Promise<CatalogFailure | null> {
    try {
      await this.#within((sql) => sql.unsafe(text).simple());
      return null;
    } catch (error) {
      if (!(error instanceof postgres.PostgresError)) throw error;
      const { code, message, detail, hint } = error;
      const said = [message, detail, hint].filter((each) => each !== undefined && each !== "").join(". ");
      return { isPassing: PASSING.test(code), message: said.replace(VERIFIER, "***").slice(0, 1_000) };
    }
  }

  async #within<T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    this.#sql ??= this.#connect();
    const sql = this.#sql;
    const timer = new AbortController();
    const timeout = clock.sleep(DEADLINE_MS, timer.signal).then(
      () => {
        throw new Error(`PostgreSQL has not answered within ${DEADLINE_MS} ms`);
      },
      // Aborted: the answer came first.
      () => new Promise<never>(() => undefined),
    );
    try {
      return await Promise.race([work(sql), timeout]);
    } catch (error) {
      if (!(error instanceof postgres.PostgresError) && this.#sql === sql) {
        this.#sql = null;
        sql.end({ timeout: 0 }).catch(() => undefined);
      }
      // What the driver hangs on to an error is the statement.
      throw error instanceof postgres.PostgresError
        ? error
        : new Error(messageOf(error).replace(VERIFIER, "***"));
    } finally {
      timer.abort();
    }
  }

  #connect(): postgres.Sql {
    const { socketDirectory, port, user, database } = this.#options;
    return postgres({
      host: socketDirectory,
      port,
      user,
      database,
      max: LANES,
      idle_timeout: 30,
      max_lifetime: null,
      connect_timeout: 5,
      backoff: () => 0,
      fetch_types: false,
      onnotice: () => undefined,
      connection: { application_name: "guacamole", ...SESSION },
    });
  }
}

/** Whatever order such statements come in, each does the same. */
function isOfOneRole(statement: CatalogStatement | undefined): boolean {
  return statement?.kind === "create-role" || statement?.kind === "alter-role";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
