import { REPLICATION_ROLE } from "../cluster/hba-own.ts";

/** More are not told: one is enough to look. */
const UNGUARDED_MAX = 10;

/**
 * All that is asked of a server, in one statement and one round trip. Functions that fail in the other role stand behind
 * a CASE on `pg_is_in_recovery()`.
 *
 * The timeline of a standby: while it receives, that of its walreceiver. Otherwise the newest of three witnesses: the
 * control file's two lag behind until the next restart point or flush, so the names of the WAL files on disk, which
 * were received on that timeline, are asked as well.
 *
 * A walreceiver shows no row in `pg_stat_wal_receiver` before it is connected, but it is there, and may be about to
 * acknowledge: `pg_stat_activity` tells.
 */
export const LOOK_QUERY = `
  WITH receiver AS MATERIALIZED (
    SELECT status, sender_host, sender_port, received_tli,
      extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 * 1000 AS silent_ms
    FROM pg_stat_wal_receiver
  ), control AS MATERIALIZED (
    SELECT timeline_id FROM pg_control_checkpoint()
  ), recovery AS MATERIALIZED (
    SELECT pg_is_in_recovery() AS is_standby
  )
  SELECT
    is_standby,
    (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
    (SELECT timeline_id FROM control) AS checkpoint_timeline,
    CASE
      WHEN NOT is_standby THEN
        ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
      WHEN EXISTS (SELECT FROM receiver) THEN (SELECT received_tli FROM receiver)
      ELSE greatest(
        (SELECT timeline_id FROM control),
        (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
        (SELECT max(('x' || substr(name, 1, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')
      )
    END AS timeline,
    CASE WHEN is_standby THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END AS received_lsn,
    CASE WHEN is_standby THEN pg_last_wal_replay_lsn()::text END AS replayed_lsn,
    CASE WHEN NOT is_standby THEN pg_current_wal_flush_lsn()::text END AS written_lsn,
    (SELECT status FROM receiver) AS receiver_status,
    (SELECT silent_ms FROM receiver) AS receiver_silent_ms,
    (SELECT sender_host || ':' || sender_port FROM receiver) AS receiver_upstream,
    is_standby AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walreceiver') AS has_receiver,
    current_setting('synchronous_standby_names') AS synchronous_standby_names,
    CASE WHEN NOT is_standby THEN (
      SELECT json_agg(json_build_object(
        'name', application_name, 'state', state, 'flushed', flush_lsn::text, 'replayed', replay_lsn::text,
        'sync', sync_state) ORDER BY application_name, pid)
      FROM pg_stat_replication
    ) END AS standbys,
    CASE WHEN NOT is_standby THEN (
      SELECT json_agg(pid || '.' || extract(epoch FROM query_start))
      FROM pg_stat_activity WHERE wait_event_type = 'IPC' AND wait_event = 'SyncRep'
    ) END AS waiting_commits,
    CASE WHEN NOT is_standby THEN (
      SELECT json_agg(whose) FROM (
        SELECT concat_ws(' in ', 'role ' || quote_ident(rolname), 'database ' || quote_ident(datname)) AS whose
        FROM pg_db_role_setting AS setting
          CROSS JOIN unnest(setconfig) AS line
          LEFT JOIN pg_roles ON pg_roles.oid = setrole
          LEFT JOIN pg_database ON pg_database.oid = setdatabase
        WHERE line ~* '^synchronous_commit=' AND line !~* '=(on|true|yes|1|remote_apply)$'
        ORDER BY whose
        LIMIT ${UNGUARDED_MAX}
      ) AS unguarded
    ) END AS unguarded,
    CASE WHEN is_standby OR NOT EXISTS (
      SELECT FROM pg_roles WHERE rolname = '${REPLICATION_ROLE}' AND rolreplication AND rolcanlogin
    ) THEN false ELSE
      has_function_privilege('${REPLICATION_ROLE}', 'pg_ls_dir(text,boolean,boolean)', 'execute')
      AND has_function_privilege('${REPLICATION_ROLE}', 'pg_stat_file(text,boolean)', 'execute')
      AND has_function_privilege('${REPLICATION_ROLE}', 'pg_read_binary_file(text)', 'execute')
      AND has_function_privilege('${REPLICATION_ROLE}', 'pg_read_binary_file(text,bigint,bigint,boolean)', 'execute')
    END AS is_provisioned
  FROM recovery`;

/**
 * What members need of each other's servers: a role that may replicate, and may read files as `pg_rewind` does. Local
 * commit: this must not wait for standbys that cannot log in before it is done.
 */
export const PROVISION_STATEMENTS: readonly string[] = [
  "SET LOCAL synchronous_commit = local",
  `DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${REPLICATION_ROLE}') THEN
      CREATE ROLE ${REPLICATION_ROLE};
    END IF;
  END $$`,
  `ALTER ROLE ${REPLICATION_ROLE} LOGIN REPLICATION NOSUPERUSER PASSWORD NULL`,
  `GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
    pg_read_binary_file(text, bigint, bigint, boolean) TO ${REPLICATION_ROLE}`,
];

/**
 * A little WAL, flushed to this server's disk before the answer: a message for nobody. It waits for no standby (what waits for
 * those is told apart).
 *
 * @see https://www.postgresql.org/docs/current/functions-admin.html (`pg_logical_emit_message`)
 */
export const WRITE_STATEMENTS = {
  local: "SET LOCAL synchronous_commit = local",
  flushed: "SELECT pg_current_wal_flush_lsn()::text AS lsn",
  write: "SELECT pg_logical_emit_message(true, 'guacamole', '')",
} as const;

/** One row of `LOOK_QUERY`. */
export interface LookRow {
  readonly is_standby: boolean;
  readonly system_identifier: string;
  readonly checkpoint_timeline: number;
  readonly timeline: number;
  readonly received_lsn: string | null;
  readonly replayed_lsn: string | null;
  readonly written_lsn: string | null;
  readonly receiver_status: string | null;
  readonly receiver_upstream: string | null;
  readonly receiver_silent_ms: number | null;
  readonly has_receiver: boolean;
  readonly synchronous_standby_names: string;
  readonly standbys: readonly StandbyRow[] | null;
  readonly waiting_commits: readonly string[] | null;
  readonly unguarded: readonly string[] | null;
  readonly is_provisioned: boolean;
}

export interface StandbyRow {
  readonly name: string;
  readonly state: string | null;
  readonly flushed: string | null;
  readonly replayed: string | null;
  readonly sync: string | null;
}
