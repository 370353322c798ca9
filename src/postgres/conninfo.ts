import { REPLICATION_ROLE } from "../cluster/hba-own.ts";

/** How one member's PostgreSQL programs reach another's server: by certificate, with no password anywhere. */
export interface ReplicationConnection {
  readonly host: string;
  readonly port: number;
  readonly applicationName: string;
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  /** For `pg_rewind`, which runs SQL; null for the replication protocol. */
  readonly database: string | null;
}

/** libpq's `key='value' …`. */
export function renderConninfo(connection: ReplicationConnection): string {
  const fields: readonly (readonly [string, string])[] = [
    ["host", connection.host],
    ["port", String(connection.port)],
    ["user", REPLICATION_ROLE],
    ...(connection.database === null ? [] : [["dbname", connection.database] as const]),
    ["application_name", connection.applicationName],
    ["sslmode", "verify-ca"],
    ["sslrootcert", connection.caFile],
    ["sslcert", connection.certificateFile],
    ["sslkey", connection.keyFile],
    ["gssencmode", "disable"],
    // A peer that vanished without a word is noticed in seconds, not in the kernel's hours.
    ["connect_timeout", "3"],
    ["keepalives_idle", "2"],
    ["keepalives_interval", "1"],
    ["keepalives_count", "3"],
    ["tcp_user_timeout", "5000"],
  ];
  return fields.map(([key, value]) => `${key}=${quoteConninfoValue(value)}`).join(" ");
}

/** A value for a connection string, in quotes that it cannot leave. */
export function quoteConninfoValue(value: string): string {
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
