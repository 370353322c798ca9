import { createHash } from "node:crypto";
import { MEMBER_NAME_PREFIX } from "../cluster/common-name.ts";
import { DEFAULT_RULES, OWN_RULES, REPLICATION_ROLE } from "../cluster/hba-own.ts";
import { renderRuleLine } from "../cluster/hba-text.ts";
import type { AccessLines, ManagedSettings } from "../cluster/managed-settings.ts";
import { renderSynchronousStandbyNames } from "../cluster/synchronous-standby-names.ts";
import { renderConninfo } from "./conninfo.ts";

/**
 * PostgreSQL's configuration, as far as guacamole owns it, from what was agreed: pure text from values.
 *
 * Our `postgresql.conf` lies outside the data directory. It sets defaults, includes the base file (the data directory's
 * own `postgresql.conf`, left alone) and then sets what is ours. What must not be overridden by ALTER SYSTEM and needs a
 * restart anyway goes on the command line; what must be changeable by a reload is taken out of `postgresql.auto.conf`.
 */

/** Where the files are that the configuration names. */
export interface ConfigPlaces {
  readonly dataDirectory: string;
  readonly configFile: string;
  readonly hbaFile: string;
  readonly identFile: string;
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Where the walreceiver's key is reached: a name of its own, so that a pledge can take it away. */
  readonly upstreamKeyFile: string;
  readonly major: number;
  /** The system users that may be PostgreSQL's superuser over the Unix socket. */
  readonly superuserSystemUsers: readonly string[];
}

/** Changes whenever the same settings render to other files. */
const RENDER_VERSION = 2;

/** Names the settings a configuration was rendered from. */
export function hashSettings(settings: ManagedSettings): string {
  const { memberName, clusterId, listenAddresses, port, socketDirectory, upstream, synchronousStandbyNames } =
    settings;
  const { access } = settings;
  const others = JSON.stringify([
    RENDER_VERSION,
    memberName,
    clusterId,
    listenAddresses,
    port,
    socketDirectory,
    upstream === null ? null : [upstream.host, upstream.port],
    synchronousStandbyNames === null ? null : [synchronousStandbyNames.k, synchronousStandbyNames.names],
    // Without any it stays the hash that a supervisor of an older release makes.
    ...(settings.parameters === undefined ? [] : [["parameters", sortedParameters(settings)]]),
  ]);
  // Absent in releases that knew no rules: the same settings keep the same name.
  const canonical = access === undefined ? others : `${others.slice(0, -1)},${accessText(access)}]`;
  return createHash("sha256").update(canonical).digest("hex").slice(0, 16);
}

const accessTexts = new WeakMap<AccessLines, string>();

/** Of thousands of lines the text is made once: a name is asked for at each look. */
function accessText(access: AccessLines): string {
  const known = accessTexts.get(access);
  if (known !== undefined) return known;
  const text = JSON.stringify(["access", access.revision, access.hba, access.identMaps]);
  accessTexts.set(access, text);
  return text;
}

/** What operators want, in the order of its names. */
function sortedParameters({ parameters = {} }: ManagedSettings): readonly (readonly [string, string])[] {
  return Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Settings that a reload may change. Ours: taken out of `postgresql.auto.conf`. */
function reloadableSettings(
  settings: ManagedSettings,
  places: ConfigPlaces,
): readonly (readonly [string, string])[] {
  const conninfo =
    settings.upstream === null
      ? ""
      : renderConninfo({
          ...settings.upstream,
          applicationName: settings.memberName,
          caFile: places.caFile,
          certificateFile: places.certificateFile,
          keyFile: places.upstreamKeyFile,
          database: null,
        });
  return [
    ["primary_conninfo", conninfo],
    ["primary_slot_name", ""],
    ["restore_command", ""],
    ["recovery_target_timeline", "latest"],
    ["recovery_min_apply_delay", "0"],
    ["synchronous_standby_names", renderRule(settings.synchronousStandbyNames)],
    ["synchronous_commit", "on"],
    ["full_page_writes", "on"],
    ["fsync", "on"],
    // A crashed primary must not open itself again: commits that nobody acknowledged would become visible.
    ["restart_after_crash", "off"],
    ["wal_receiver_status_interval", "1s"],
    // After half of it the receiver asks for a sign of life: a stream that is silent for longer has no living upstream.
    ["wal_receiver_timeout", "1500ms"],
    ["wal_receiver_create_temp_slot", "off"],
    ["wal_sender_timeout", "10s"],
    // Each try is a line in the log. With nobody to ask there is no hurry; a reload wakes it at once.
    ["wal_retrieve_retry_interval", settings.upstream === null ? "5s" : "100ms"],
    ...(places.major < 16 ? ([["promote_trigger_file", ""]] as const) : []),
  ];
}

/** Settings that need a restart: fixed on the command line, where ALTER SYSTEM does not reach. */
function commandLineSettings(
  settings: ManagedSettings,
  places: ConfigPlaces,
): readonly (readonly [string, string])[] {
  return [
    ["config_file", places.configFile],
    ["hba_file", places.hbaFile],
    ["ident_file", places.identFile],
    ["cluster_name", settings.memberName],
    ["listen_addresses", settings.listenAddresses],
    ["port", String(settings.port)],
    ["unix_socket_directories", settings.socketDirectory],
    ["hot_standby", "on"],
    ["wal_log_hints", "on"],
    ["ssl", "on"],
    ["ssl_ca_file", places.caFile],
    ["ssl_cert_file", places.certificateFile],
    ["ssl_key_file", places.keyFile],
    ["fsync", "on"],
    ["full_page_writes", "on"],
  ];
}

/** What the base file may change: it is included after these. */
const DEFAULTS: readonly (readonly [string, string])[] = [
  ["wal_level", "replica"],
  ["max_wal_senders", "10"],
  ["max_replication_slots", "10"],
  ["wal_keep_size", "512MB"],
  ["max_slot_wal_keep_size", "4GB"],
  ["password_encryption", "scram-sha-256"],
];

/** Every setting that is ours, by its name in lower case. */
export function ownedSettings(settings: ManagedSettings, places: ConfigPlaces): ReadonlySet<string> {
  return new Set(
    [
      ...reloadableSettings(settings, places),
      ...commandLineSettings(settings, places),
      ["data_directory"] as const,
    ].map(([name]) => name),
  );
}

/** What `postgresql.auto.conf` must not say: what is ours, and what operators want of guacamole. */
export function settledSettings(settings: ManagedSettings, places: ConfigPlaces): ReadonlySet<string> {
  return new Set([...ownedSettings(settings, places), ...Object.keys(settings.parameters ?? {})]);
}

/** Arguments for `postgres`, without the program's name. */
export function renderCommandLine(settings: ManagedSettings, places: ConfigPlaces): readonly string[] {
  return [
    "-D",
    places.dataDirectory,
    ...commandLineSettings(settings, places).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
}

/** The text of our `postgresql.conf`. */
export function renderPostgresqlConf(settings: ManagedSettings, places: ConfigPlaces): string {
  const line = ([name, value]: readonly [string, string]): string => `${name} = ${quoteSetting(value)}`;
  const parameters = sortedParameters(settings);
  return [
    "# Written by guacamole. Changes made here are lost: use the API, or the base file that is included below.",
    "",
    "# Defaults: the base file may change them.",
    ...DEFAULTS.map(line),
    "",
    `include_if_exists = ${quoteSetting(`${places.dataDirectory}/postgresql.conf`)}`,
    "",
    ...(parameters.length === 0
      ? []
      : [
          "# As wanted of the cluster, the role and the member: 'guacamole config show'.",
          ...parameters.map(line),
          "",
        ]),
    "# Guacamole's own.",
    line(["data_directory", places.dataDirectory]),
    line(["hba_file", places.hbaFile]),
    line(["ident_file", places.identFile]),
    ...reloadableSettings(settings, places).map(line),
    "",
  ].join("\n");
}

/**
 * Who may connect: the superuser from this host, members by certificate, who is let in for a while, and then whoever the rules
 * let in.
 */
export function renderHba(
  access: Pick<AccessLines, "hba"> | null,
  glassRules: readonly string[] = [],
): string {
  return [
    "# Written by guacamole. Changes made here are lost.",
    ...OWN_RULES.map(renderRuleLine),
    ...(glassRules.length === 0 ? [] : ["# Break-glass access.", ...glassRules]),
    "",
    ...(access === null ? DEFAULT_RULES.map(renderRuleLine) : access.hba),
    "",
  ].join("\n");
}

/** The text of `pg_ident.conf`: system users that are the superuser, and certificates that are members. */
export function renderIdent(
  superuserSystemUsers: readonly string[],
  access: Pick<AccessLines, "identMaps"> | null,
): string {
  return [
    "# Written by guacamole. Changes made here are lost.",
    ...[...new Set(superuserSystemUsers)].map((user) => `guacamole          "${user}"  postgres`),
    `guacamole_members  /^${MEMBER_NAME_PREFIX}[0-9a-f-]+$  ${REPLICATION_ROLE}`,
    ...(access?.identMaps ?? []),
    "",
  ].join("\n");
}

function renderRule(rule: ManagedSettings["synchronousStandbyNames"]): string {
  return rule === null ? "" : renderSynchronousStandbyNames(rule.k, rule.names);
}

/** A value for `postgresql.conf`. */
function quoteSetting(value: string): string {
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
