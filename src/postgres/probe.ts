import postgres from "postgres";
import type { Clock } from "../base/clock.ts";
import type { ServerLimits } from "../cluster/observation.ts";
import { STANDBY_LIMITS } from "../cluster/parameter-rules.ts";
import type { ServerSettings } from "../cluster/server-settings.ts";
import { LOOK_QUERY, type LookRow, PROVISION_STATEMENTS, WRITE_STATEMENTS } from "./probe-query.ts";
import { type ProbedServer, parseLookRow } from "./probe-row.ts";
import { PENDING_QUERY, type PendingRow, SETTINGS_QUERY, type SettingsRow } from "./settings-query.ts";

export interface ProbeOptions {
  readonly socketDirectory: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly clock: Clock;
}

/** As `agent/ports.ts` has it. */
export interface ProbeCheck {
  readonly connection: "works" | "failed" | "unknown";
  readonly write: "works" | "failed" | "unknown";
  readonly detail: string | null;
  readonly pendingRestart?: readonly string[];
  readonly limits?: ServerLimits;
}

export type ProbeResult =
  | ProbedServer
  /** It does not take connections (yet, or any more): starting, shutting down, or nobody listens. */
  | { readonly kind: "starting"; readonly detail: string }
  /** It should answer and does not, or answers with an error. */
  | { readonly kind: "unresponsive"; readonly detail: string };

/** Nobody listens, or the server said that it cannot take connections now. */
const NOT_ACCEPTING = new Set(["ENOENT", "ECONNREFUSED", "57P03"]);
/** A connection that ended under us: the next one tells how the server is. */
const STALE = new Set([
  "57P01",
  "57P02",
  "CONNECTION_CLOSED",
  "CONNECTION_ENDED",
  "CONNECTION_DESTROYED",
  "ECONNRESET",
  "EPIPE",
]);

/** What people want of their sessions must not end ours: a look that is cancelled would look like a server that hangs. */
const OWN_SESSION: Readonly<Record<string, string>> = {
  statement_timeout: "0",
  lock_timeout: "0",
  idle_session_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  default_transaction_read_only: "off",
};

/**
 * Planned once for each connection: planning takes five times as long as carrying out. Without parameters the driver takes the
 * simple protocol, which knows no prepared statements, unless it is told not to.
 */
const PREPARED = { prepare: true, simple: false };

class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}

/**
 * The SQL connection of a member to its own PostgreSQL, over the Unix socket.
 *
 * The driver never notices a backend that hangs: every query has a deadline here, and after one passed the connection is
 * thrown away.
 */
export class Probe {
  readonly #options: ProbeOptions;
  #looking: postgres.Sql | null = null;
  /** For what takes long: a checkpoint must not stand in the way of a look. */
  #working: postgres.Sql | null = null;
  /** Where WAL ended at the last check. */
  #flushedLsn: string | null = null;

  constructor(options: ProbeOptions) {
    this.#options = options;
  }

  /** Looks once, in one round trip. Never rejects: what cannot be seen is said with its reason. */
  async look(deadlineMs: number): Promise<ProbeResult> {
    const untilMs = this.#options.clock.nowMs() + deadlineMs;
    try {
      return await this.#lookOnce(untilMs);
    } catch (error) {
      this.#dropLooking();
      if (STALE.has(errorCode(error))) {
        try {
          return await this.#lookOnce(untilMs);
        } catch (second) {
          this.#dropLooking();
          return describeFailure(second, deadlineMs);
        }
      }
      return describeFailure(error, deadlineMs);
    }
  }

  /** Makes the role that members replicate and rewind with. Again is harmless. Rejects if it could not be done in time. */
  async provision(deadlineMs: number): Promise<void> {
    await this.#work(deadlineMs, async (sql) => {
      await sql.begin(async (transaction) => {
        for (const statement of PROVISION_STATEMENTS) await transaction.unsafe(statement);
      });
    });
  }

  /** Writes a checkpoint: from then on the control file shows the present timeline. Rejects if it took too long. */
  async checkpoint(deadlineMs: number): Promise<void> {
    await this.#work(deadlineMs, async (sql) => {
      await sql.unsafe("CHECKPOINT");
    });
  }

  /**
   * Opens a connection of its own, as a client does, and where `isPrimary` has a little WAL written unless others wrote some
   * since the check before; `withParameters` also asks what waits for a start. Never rejects. A server that answers with an error is there: what it says is not a failure.
   */
  async check(
    { isPrimary, withParameters }: { readonly isPrimary: boolean; readonly withParameters: boolean },
    deadlineMs: number,
  ): Promise<ProbeCheck> {
    const untilMs = this.#options.clock.nowMs() + deadlineMs;
    const sql = this.#connect(5);
    let connection: ProbeCheck["connection"] = "failed";
    try {
      const [row] = await this.#within(untilMs, flushedNow(sql, isPrimary));
      connection = "works";
      if (isPrimary && row !== undefined) {
        const isIdle = row.lsn === this.#flushedLsn;
        this.#flushedLsn = row.lsn;
        if (isIdle) await this.#within(untilMs, writeLittle(sql));
      }
      const write = isPrimary ? "works" : "unknown";
      const pending = withParameters ? await this.#pendingRestart(sql, untilMs) : {};
      return { connection, write, detail: null, ...pending };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      const isAnswer = error instanceof postgres.PostgresError || NOT_ACCEPTING.has(errorCode(error));
      if (isAnswer) return { connection: "unknown", write: "unknown", detail: null };
      return connection === "works"
        ? { connection, write: "failed", detail: `a write to WAL: ${detail}` }
        : { connection, write: "unknown", detail: `a new connection: ${detail}` };
    } finally {
      sql.end({ timeout: 0 }).catch(ignoreClosed);
    }
  }

  /** That it is not told is no failure of the server. */
  async #pendingRestart(
    sql: postgres.Sql,
    untilMs: number,
  ): Promise<Pick<ProbeCheck, "pendingRestart" | "limits">> {
    try {
      const asked = sql.unsafe<PendingRow[]>(PENDING_QUERY, [JSON.stringify(STANDBY_LIMITS)]);
      const [row] = await this.#within(untilMs, asked);
      return row === undefined ? {} : { pendingRestart: row.names, limits: row.limits };
    } catch {
      // The next check tells whether something is wrong.
      return {};
    }
  }

  /**
   * What the server says of its parameters: of `names` (in lower case; null: of all), and of whatever is not as PostgreSQL has
   * it by itself. Rejects if it does not answer in time.
   */
  async settings(
    names: readonly string[] | null,
    deadlineMs: number,
  ): Promise<Omit<ServerSettings, "takenOut">> {
    // As any session has them: only what would end it is put aside, and read from where a RESET would take it.
    const sql = this.#connect(5, {});
    try {
      const parameters = [names === null ? null : JSON.stringify(names)];
      const untilMs = this.#options.clock.nowMs() + deadlineMs;
      await this.#within(untilMs, sql.unsafe("SET statement_timeout = 0"));
      const [row] = await this.#within(untilMs, sql.unsafe<SettingsRow[]>(SETTINGS_QUERY, parameters));
      if (row === undefined) throw new Error("the query for settings answers with no row");
      return { settings: row.settings, prefixes: row.prefixes, fileErrors: row.file_errors };
    } finally {
      sql.end({ timeout: 0 }).catch(ignoreClosed);
    }
  }

  async close(): Promise<void> {
    const open = [this.#looking, this.#working].filter((sql) => sql !== null);
    this.#looking = null;
    this.#working = null;
    await Promise.all(open.map((sql) => sql.end({ timeout: 0 })));
  }

  async #lookOnce(untilMs: number): Promise<ProbedServer> {
    this.#looking ??= this.#connect(0);
    const rows = await this.#within(untilMs, this.#looking.unsafe<LookRow[]>(LOOK_QUERY, [], PREPARED));
    const row = rows[0];
    if (row === undefined) throw new Error("the look query answers with no row");
    return parseLookRow(row);
  }

  async #work(deadlineMs: number, work: (sql: postgres.Sql) => Promise<void>): Promise<void> {
    const sql = this.#connect(5);
    this.#working?.end({ timeout: 0 }).catch(ignoreClosed);
    this.#working = sql;
    try {
      await this.#within(this.#options.clock.nowMs() + deadlineMs, work(sql));
    } finally {
      if (this.#working === sql) this.#working = null;
      sql.end({ timeout: 0 }).catch(ignoreClosed);
    }
  }

  async #within<T>(untilMs: number, work: Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const timer = new AbortController();
    const timeout = clock.sleep(Math.max(0, untilMs - clock.nowMs()), timer.signal).then(
      () => {
        throw new DeadlinePassed("no answer in time");
      },
      // Aborted: the answer came first, and nobody waits for this any more.
      () => new Promise<never>(() => undefined),
    );
    try {
      return await Promise.race([work, timeout]);
    } finally {
      timer.abort();
    }
  }

  #dropLooking(): void {
    this.#looking?.end({ timeout: 0 }).catch(ignoreClosed);
    this.#looking = null;
  }

  /** @param own what this session has whatever the configuration says. */
  #connect(idleTimeoutSeconds: number, own: Readonly<Record<string, string>> = OWN_SESSION): postgres.Sql {
    const { socketDirectory, port, user, database } = this.#options;
    return postgres({
      host: socketDirectory,
      port,
      user,
      database,
      max: 1,
      idle_timeout: idleTimeoutSeconds,
      max_lifetime: null,
      connect_timeout: 5,
      // We try again ourselves, when there is a reason to: the driver shall not sit and wait.
      backoff: () => 0,
      fetch_types: false,
      onnotice: () => undefined,
      connection: { application_name: "guacamole", ...own },
    });
  }
}

function flushedNow(sql: postgres.Sql, isPrimary: boolean): Promise<{ lsn: string }[]> {
  const question = isPrimary ? WRITE_STATEMENTS.flushed : "SELECT '' AS lsn";
  return sql.unsafe<{ lsn: string }[]>(question);
}

async function writeLittle(sql: postgres.Sql): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction.unsafe(WRITE_STATEMENTS.local);
    await transaction.unsafe(WRITE_STATEMENTS.write);
  });
}

function describeFailure(error: unknown, deadlineMs: number): ProbeResult {
  if (error instanceof DeadlinePassed) {
    return { kind: "unresponsive", detail: `PostgreSQL does not answer a query within ${deadlineMs} ms` };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { kind: NOT_ACCEPTING.has(errorCode(error)) ? "starting" : "unresponsive", detail: message };
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** The connection is being thrown away: however it ends, it is gone. */
function ignoreClosed(): undefined {
  return undefined;
}
