/** What the name of a parameter alone says about who may set it, and where. */

/**
 * Parameters that are guacamole's, and where what they say is asked for instead. A test holds this list to what
 * `postgres/render-config.ts` writes.
 */
const OWNED: Readonly<Record<string, string>> = {
  synchronous_standby_names: "PATCH /v1/topology (durability) says which standbys acknowledge",
  synchronous_commit: "PATCH /v1/topology (durability) says what is acknowledged; a session may ask for less",
  primary_conninfo: "members follow the primary by themselves: POST /v1/switchover changes it",
  primary_slot_name: "members follow the primary by themselves",
  recovery_min_apply_delay: "a standby that replays late could not take over in time",
  restore_command: "members rejoin by rewinding and cloning, and from no archive",
  listen_addresses: "it is of the host: [postgres] listen in guacamole.toml",
  port: "it is of the host: [postgres] listen in guacamole.toml",
  unix_socket_directories: "it is of the host: [postgres] socket-dir in guacamole.toml",
  data_directory: "it is of the host: [postgres] data-dir in guacamole.toml",
  cluster_name: "it is the member's name",
  config_file: "guacamole writes it",
  hba_file: "guacamole writes it",
  ident_file: "guacamole writes it",
  ssl: "members authenticate each other by certificate",
  ssl_ca_file: "members authenticate each other by certificate",
  ssl_cert_file: "members authenticate each other by certificate",
  ssl_key_file: "members authenticate each other by certificate",
  hot_standby: "every server starts as a standby that is read from",
  fsync: "no acknowledged commit may be lost",
  full_page_writes: "no acknowledged commit may be lost",
  wal_log_hints: "a fallen primary is rewound",
  restart_after_crash: "a primary that crashed must not open itself again",
  promote_trigger_file: "only an appointment promotes",
  wal_receiver_status_interval: "it belongs to the detection of failures",
  wal_receiver_timeout: "it belongs to the detection of failures",
  wal_sender_timeout: "it belongs to the detection of failures",
  wal_retrieve_retry_interval: "it belongs to the detection of failures",
  wal_receiver_create_temp_slot: "standbys follow without slots",
  recovery_target_timeline: "a standby follows the history that counts",
};

/** A standby with one of these would stop somewhere of its own. */
const RECOVERY_TARGET = /^recovery_target(_|$)/;

/** Where what this parameter says is asked for instead; null: it may be set. */
export function ownerOf(name: string): string | null {
  const owner = Object.hasOwn(OWNED, name) ? OWNED[name] : undefined;
  if (owner !== undefined) return owner;
  return RECOVERY_TARGET.test(name) ? "a standby follows the primary to the end" : null;
}

/** What runs programs, loads code, writes files of any name, lets damage pass, or could lock the member out. */
const GUARDED: ReadonlySet<string> = new Set([
  "allow_system_table_mods",
  "archive_cleanup_command",
  "archive_command",
  "archive_library",
  "data_sync_retry",
  "dynamic_library_path",
  "extension_control_path",
  "external_pid_file",
  "ignore_checksum_failure",
  "ignore_invalid_pages",
  "ignore_system_indexes",
  "jit_provider",
  "krb_server_keyfile",
  "local_preload_libraries",
  "log_directory",
  "log_filename",
  "oauth_validator_libraries",
  "recovery_end_command",
  "session_preload_libraries",
  "shared_preload_libraries",
  "ssl_passphrase_command",
  "ssl_passphrase_command_supports_reload",
  "unix_socket_group",
  "unix_socket_permissions",
  "zero_damaged_pages",
]);

/** Of extensions: words that mean the same. */
const GUARDED_WORD = /\..*(?:command|program|librar(?:y|ies)|on_init|on_\w+_init|start_proc|init_proc)$/;

/** Whether only `admin` may change it. */
export function isGuarded(name: string): boolean {
  return GUARDED.has(name) || GUARDED_WORD.test(name);
}

/** A server that starts as a standby refuses to with less of these than its primary had; each server here starts as one. */
export const STANDBY_LIMITS = [
  "max_connections",
  "max_locks_per_transaction",
  "max_prepared_transactions",
  "max_wal_senders",
  "max_worker_processes",
] as const;

export type StandbyLimit = (typeof STANDBY_LIMITS)[number];

/** Whether it is one that no standby may have less of than its primary. */
export function isStandbyLimit(name: string): name is StandbyLimit {
  return (STANDBY_LIMITS as readonly string[]).includes(name);
}
