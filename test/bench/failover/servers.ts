/** The state of a rival's servers as PostgreSQL itself tells it: the same questions for every rival. */
import type postgres from "postgres";
import type { Clock } from "../../../src/base/clock.ts";
import { within } from "../../../src/base/within.ts";
import type { Mode, RivalServer } from "./rival.ts";
import { connect } from "./writers.ts";

interface ServerState {
  readonly isStandby: boolean;
  /** Of those that receive from it. */
  readonly streaming: number;
  readonly synchronous: number;
}

const ANSWER_MS_MAX = 1_000;

export class Servers {
  readonly #servers: readonly RivalServer[];
  readonly #password: string;
  readonly #clock: Clock;
  readonly #connections: (postgres.Sql | null)[];

  constructor(servers: readonly RivalServer[], password: string, clock: Clock) {
    this.#servers = servers;
    this.#password = password;
    this.#clock = clock;
    this.#connections = servers.map(() => null);
  }

  /** The one that takes writes; null: none, or more than one says so. */
  async primary(): Promise<number | null> {
    const states = await this.#states();
    const open = states.flatMap((state, index) => (state?.isStandby === false ? [index] : []));
    return open.length === 1 ? (open[0] ?? null) : null;
  }

  /** One primary, and all others stream from it, at least one of them synchronously where that is the mode. */
  async areWhole(mode: Mode): Promise<boolean> {
    const states = await this.#states();
    const primaries = states.filter((state) => state?.isStandby === false);
    const standbys = states.filter((state) => state?.isStandby === true);
    const [primary] = primaries;
    return (
      primaries.length === 1 &&
      standbys.length === this.#servers.length - 1 &&
      primary?.streaming === standbys.length &&
      (mode === "async" || primary.synchronous > 0)
    );
  }

  async close(): Promise<void> {
    for (const sql of this.#connections) await sql?.end({ timeout: 0 });
  }

  async #states(): Promise<readonly (ServerState | null)[]> {
    return Promise.all(this.#servers.map((server, index) => this.#stateOf(server, index)));
  }

  /** Null: it does not answer. */
  async #stateOf(server: RivalServer, index: number): Promise<ServerState | null> {
    const sql = this.#connections[index] ?? connect(server, this.#password);
    this.#connections[index] = sql;
    try {
      const asked = sql<{ standby: boolean; streaming: number; synchronous: number }[]>`
        select pg_is_in_recovery() as standby,
          count(*) filter (where state = 'streaming')::int as streaming,
          count(*) filter (where state = 'streaming' and sync_state in ('sync', 'quorum'))::int as synchronous
        from pg_stat_replication where application_name not like '%basebackup%'`;
      const [row] = await within(asked, ANSWER_MS_MAX, { clock: this.#clock, what: "state" });
      if (row === undefined) return null;
      return { isStandby: row.standby, streaming: row.streaming, synchronous: row.synchronous };
    } catch {
      // Not there: what the caller polls for. The next question goes over a new connection.
      this.#connections[index] = null;
      sql.end({ timeout: 0 }).catch(() => {
        // Thrown away: however it ends, nobody uses it any more.
      });
      return null;
    }
  }
}
