import postgres from "postgres";
import { BREAK_GLASS_PREFIX, type BreakGlassRole } from "../cluster/break-glass.ts";

export interface BreakGlassRolesOptions {
  readonly socketDirectory: string;
  readonly port: number;
}

/** What stands in no log and no table of statements: a verifier is no password, and nobody need have it either. */
const QUIET: readonly string[] = [
  "SET log_statement = 'none'",
  "SET log_min_duration_statement = -1",
  "SET log_min_duration_sample = -1",
  "SET log_transaction_sample_rate = 0",
  "SET log_min_error_statement = 'panic'",
  "SET track_activities = off",
  // Of extensions that may be loaded; of one that is not it is a name like any other.
  "SET pg_stat_statements.track = 'none'",
  "SET pgaudit.log = 'none'",
];
/** What is changed here must not wait for standbys of which too few may be left. */
const LOCAL: readonly string[] = [
  "SET synchronous_commit = local",
  "SET lock_timeout = '5s'",
  "SET statement_timeout = '30s'",
  "SET idle_in_transaction_session_timeout = 0",
];
const CONNECT_SECONDS = 5;

const LOOK = `SELECT rolname AS name, rolcanlogin AND rolsuper AS "isOpen",
    (extract(epoch FROM rolvaliduntil) * 1000)::float8 AS "validUntilMs"
  FROM pg_roles WHERE starts_with(rolname, $1) ORDER BY rolname`;

/**
 * The roles of break-glass access on the local primary, over the Unix socket. A connection for each piece of work: it is
 * seldom. Roles and verifiers are ours, made of letters that need no quoting; what could be anything is quoted.
 */
export class BreakGlassRoles {
  readonly #options: BreakGlassRolesOptions;

  constructor(options: BreakGlassRolesOptions) {
    this.#options = options;
  }

  /** Every role of our prefix. Rejects where PostgreSQL does not answer. */
  look(): Promise<readonly BreakGlassRole[]> {
    return this.#with("postgres", async (sql) => {
      await sql.unsafe("SET statement_timeout = '5s'");
      return [...(await sql.unsafe<BreakGlassRole[]>(LOOK, [BREAK_GLASS_PREFIX]))];
    });
  }

  /** Makes the role, or makes it what it is to be. */
  open(role: string, verifier: string, validUntilMs: number): Promise<void> {
    return this.#with("postgres", async (sql) => {
      for (const statement of [...QUIET, ...LOCAL]) await sql.unsafe(statement);
      const name = identifier(role);
      await sql.begin(async (transaction) => {
        const found = await transaction.unsafe("SELECT FROM pg_roles WHERE rolname = $1", [role]);
        if (found.length === 0) await transaction.unsafe(`CREATE ROLE ${name} NOLOGIN`);
        const until = literal(new Date(validUntilMs).toISOString());
        await transaction.unsafe(
          `ALTER ROLE ${name} LOGIN SUPERUSER PASSWORD ${literal(verifier)} VALID UNTIL ${until}`,
        );
        await transaction.unsafe(`ALTER ROLE ${name} SET log_statement = 'all'`);
      });
    });
  }

  /**
   * First it is nobody who could log in or do anything; then its sessions end, what it owns goes to the superuser, what it was
   * granted is taken back, in each database, and it is dropped. Rejects with what stands in the way of the last.
   */
  async close(role: string): Promise<void> {
    const name = identifier(role);
    const databases = await this.#with("postgres", async (sql) => {
      for (const statement of LOCAL) await sql.unsafe(statement);
      await sql.unsafe(
        `ALTER ROLE ${name} NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD NULL`,
      );
      await sql.unsafe("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", [role]);
      if (await dropped(sql, name)) return [];
      const rows = await sql.unsafe<{ datname: string }[]>(
        "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname",
      );
      return rows.map(({ datname }) => datname);
    });
    if (databases.length === 0) return;
    for (const database of databases) {
      await this.#with(database, async (sql) => {
        for (const statement of LOCAL) await sql.unsafe(statement);
        await sql.unsafe(`REASSIGN OWNED BY ${name} TO postgres`);
        await sql.unsafe(`DROP OWNED BY ${name}`);
      });
    }
    await this.#with("postgres", async (sql) => {
      for (const statement of LOCAL) await sql.unsafe(statement);
      await sql.unsafe(`DROP ROLE IF EXISTS ${name}`);
    });
  }

  async #with<T>(database: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
    const { socketDirectory, port } = this.#options;
    const sql = postgres({
      host: socketDirectory,
      port,
      user: "postgres",
      database,
      max: 1,
      connect_timeout: CONNECT_SECONDS,
      fetch_types: false,
      onnotice: () => undefined,
      connection: { application_name: "guacamole" },
    });
    try {
      return await work(sql);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

/** False: something depends on it. */
async function dropped(sql: postgres.Sql, name: string): Promise<boolean> {
  try {
    await sql.unsafe(`DROP ROLE IF EXISTS ${name}`);
    return true;
  } catch (error) {
    const isDependedOn = error instanceof postgres.PostgresError && error.code === "2BP01";
    if (isDependedOn) return false;
    throw error;
  }
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
