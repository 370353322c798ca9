import { parse, TomlError } from "smol-toml";
import { parseMemberName } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { DEFAULT_TAGS, type MemberTags, ZONE } from "../cluster/member.ts";
import { defaultSocketPath } from "../supervisor/supervise.ts";
import { parseWatchdogMode, WATCHDOG_MODES, type WatchdogMode } from "../supervisor/watchdog.ts";
import { findKeyLine, nearest } from "./config-diagnostics.ts";
import { formatHostPort, type HostPort, parseHostPort } from "./host-port.ts";
import { FACILITIES, parseSyslogTarget, type SyslogConfig } from "./syslog-target.ts";

/** What one member's own file says. What belongs to the cluster stands in the replicated spec, never here. */
export interface MemberConfig {
  readonly name: string;
  /** SQLite, certificates, sockets. Absolute. */
  readonly dataDir: string;
  /** Only people begin or enter a cluster in this version. */
  readonly init: "manual";
  readonly api: Endpoint;
  /** Where the API takes client certificates. Null: nowhere. */
  readonly certificateListen: HostPort | null;
  /** Where health checks are answered without TLS. Null: nowhere. */
  readonly healthListen: HostPort | null;
  /** Shown by the API instead of one of the cluster's authority. Null: there is none. */
  readonly apiCertificate: CertificateFiles | null;
  readonly peer: Endpoint;
  /** Null on a witness: it has no PostgreSQL. */
  readonly postgres: PostgresConfig | null;
  readonly supervisorSocket: string;
  readonly watchdog: WatchdogConfig;
  /** Null: there are none. */
  readonly hooks: HooksConfig | null;
  /** Where entries of the audit trail are sent. Null: nowhere. */
  readonly syslog: SyslogConfig | null;
  readonly tags: MemberTags;
  /** Not wrong, but worth a line in the log: environment variables that look like ours and are none. */
  readonly warnings: readonly string[];
}

/** PEM, at absolute paths. */
export interface CertificateFiles {
  /** The certificate first, then those that lead to its authority. */
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Where a member listens, and what it tells others to connect to. */
export interface Endpoint {
  readonly listen: HostPort;
  /** host:port */
  readonly advertise: string;
}

export interface PostgresConfig extends Endpoint {
  /** Null: to be found. */
  readonly binDir: string | null;
  readonly dataDir: string;
  readonly socketDir: string;
  /** The system user that PostgreSQL runs as. */
  readonly user: string;
}

/** The device that resets a host which cannot end PostgreSQL before its lease does. */
export interface WatchdogConfig {
  readonly mode: WatchdogMode;
  readonly device: string;
}

/** Programs that are run at turns, with the rights of PostgreSQL's system user. */
export interface HooksConfig {
  /** Absolute; null: none. */
  readonly onRoleChange: string | null;
  /** On the primary; one that fails refuses the switchover. */
  readonly beforeSwitchover: string | null;
  /** On every host that names one, once it is over, whatever came of it. */
  readonly afterSwitchover: string | null;
  /** The same after a change of the primary that was no switchover, once its successor takes writes. */
  readonly afterFailover: string | null;
  /** For each attempt. */
  readonly timeoutMs: number;
  /** How often one that fails is tried; what is asked before a switchover, once. */
  readonly attempts: number;
}

/** What the configuration falls back on, found out about this host by `hostFacts()`. */
export interface HostFacts {
  readonly hostName: string;
  /** The first address that others may reach, or null where there is only loopback. */
  readonly firstAddress: string | null;
}

export type Environment = Readonly<Record<string, string | undefined>>;

type Kind = "string" | "integer" | "boolean";
type Value = string | number | boolean;

const DEFAULT_DATA_DIR = "/var/lib/guacamole";

/** Every key there is, as `section.key`; sections have dots nowhere else. */
const KEYS: Readonly<Record<string, Kind>> = {
  name: "string",
  "data-dir": "string",
  init: "string",
  "api.listen": "string",
  "api.advertise": "string",
  "api.certificate-file": "string",
  "api.key-file": "string",
  "api.certificate-listen": "string",
  "api.health-listen": "string",
  "peer.listen": "string",
  "peer.advertise": "string",
  "postgres.bin-dir": "string",
  "postgres.data-dir": "string",
  "postgres.listen": "string",
  "postgres.advertise": "string",
  "postgres.socket-dir": "string",
  "postgres.user": "string",
  "supervisor.socket": "string",
  "watchdog.mode": "string",
  "watchdog.device": "string",
  "hooks.on-role-change": "string",
  "hooks.before-switchover": "string",
  "hooks.after-switchover": "string",
  "hooks.after-failover": "string",
  "hooks.timeout-seconds": "integer",
  "hooks.attempts": "integer",
  "audit.syslog": "string",
  "audit.syslog-facility": "string",
  "audit.syslog-ca-file": "string",
  "tags.witness": "boolean",
  "tags.failover-priority": "integer",
  "tags.no-failover": "boolean",
  "tags.no-sync": "boolean",
  "tags.clone-source": "boolean",
  "tags.zone": "string",
};

const SECTIONS = [
  ...new Set(Object.keys(KEYS).flatMap((key) => (key.includes(".") ? [key.split(".")[0] ?? ""] : []))),
];

/** Variables of ours that are not of this file: the command line reads them. */
const OTHER_VARIABLES = [
  ...["TOKEN", "CA", "SOCKET", "ENDPOINT", "JOIN_TOKEN", "CONFIG"],
  ...["CLIENT_CERTIFICATE", "CLIENT_KEY", "STAND_IN"],
].map((each) => `GUACAMOLE_${each}`);

/** `postgres.data-dir` is `GUACAMOLE_POSTGRES_DATA_DIR`. */
export function environmentName(key: string): string {
  return `GUACAMOLE_${key.replace(/[.-]/g, "_").toUpperCase()}`;
}

/**
 * Reads a member's configuration: the text of `guacamole.toml` (empty where there is none), overridden by the environment.
 *
 * @returns everything that is wrong at once, one sentence each, with the line where it stands if that is known.
 */
export function parseMemberConfig(
  text: string,
  env: Environment,
  facts: HostFacts,
): Result<MemberConfig, readonly string[]> {
  const tree = parseToml(text);
  if (!tree.ok) return err([tree.error]);
  const problems: string[] = [];
  const values = new Map<string, Value>();
  readFile(tree.value, text, values, problems);
  const warnings = readEnvironment(env, values, problems);
  const config = build(new Reader(values, problems), facts, warnings);
  return problems.length === 0 ? ok(config) : err(problems);
}

/** Only where the member keeps its things: for a command line that looks for the socket. */
export function readDataDir(text: string, env: Environment): Result<string, string> {
  const tree = parseToml(text);
  if (!tree.ok) return tree;
  const value = env[environmentName("data-dir")] ?? tree.value["data-dir"] ?? DEFAULT_DATA_DIR;
  return typeof value === "string" ? ok(value) : err("data-dir must be a string");
}

/** The API's Unix socket. */
export function apiSocketPath(dataDir: string): string {
  return `${dataDir}/api.sock`;
}

type Tree = Readonly<Record<string, unknown>>;

function parseToml(text: string): Result<Tree, string> {
  try {
    return ok(parse(text));
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [first = "cannot be read"] = error.message.split("\n");
    return err(
      `line ${error.line}, column ${error.column}: ${first.replace(/^Invalid TOML document: /, "")}`,
    );
  }
}

function readFile(tree: Tree, text: string, values: Map<string, Value>, problems: string[]): void {
  for (const [name, value] of Object.entries(tree)) {
    if (!SECTIONS.includes(name)) readKey(name, value, text, values, problems);
    else if (!isTable(value))
      problems.push(`${at(text, name)}'${name}' is a section: write [${name}] and its keys below`);
    else
      for (const [key, each] of Object.entries(value))
        readKey(`${name}.${key}`, each, text, values, problems);
  }
}

function readKey(
  key: string,
  value: unknown,
  text: string,
  values: Map<string, Value>,
  problems: string[],
): void {
  const kind = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
  if (kind === undefined) {
    const guess = nearest(key, [...Object.keys(KEYS), ...SECTIONS]);
    problems.push(
      `${at(text, key)}there is no key '${key}'${guess === null ? "" : `: did you mean '${guess}'?`}`,
    );
    return;
  }
  if (typeof value === "bigint" || !isOfKind(value, kind)) {
    problems.push(`${at(text, key)}'${key}' must be ${ARTICLES[kind]}, but is ${describeType(value)}`);
    return;
  }
  values.set(key, value);
}

const ARTICLES: Readonly<Record<Kind, string>> = {
  string: "a string",
  integer: "a whole number",
  boolean: "true or false",
};

function isOfKind(value: unknown, kind: Kind): value is Value {
  return kind === "integer" ? Number.isSafeInteger(value) : typeof value === kind;
}

function isTable(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function describeType(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (isTable(value)) return "a section";
  if (typeof value === "number")
    return Number.isInteger(value) ? "a whole number" : "a number with a fraction";
  return typeof value === "boolean" ? "true or false" : `a ${typeof value}`;
}

function at(text: string, key: string): string {
  const line = findKeyLine(text, key);
  return line === null ? "" : `line ${line}: `;
}

/** @returns variables that begin like ours and are none. */
function readEnvironment(
  env: Environment,
  values: Map<string, Value>,
  problems: string[],
): readonly string[] {
  const known = new Map(Object.entries(KEYS).map(([key, kind]) => [environmentName(key), { key, kind }]));
  const warnings: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith("GUACAMOLE_") || text === undefined) continue;
    const entry = known.get(name);
    if (entry === undefined) {
      // Kubernetes tells every pod about a service called guacamole in such variables.
      const isForeign = OTHER_VARIABLES.includes(name) || /_(SERVICE|PORT)(_|$)/.test(name);
      const guess = isForeign ? null : nearest(name, [...known.keys()]);
      if (guess !== null)
        warnings.push(`the environment variable ${name} is none of ours: did you mean ${guess}?`);
      continue;
    }
    const value = parseVariable(text, entry.kind);
    if (value === null) problems.push(`the environment variable ${name} must be ${ARTICLES[entry.kind]}`);
    else values.set(entry.key, value);
  }
  return warnings;
}

function parseVariable(text: string, kind: Kind): Value | null {
  if (kind === "string") return text;
  if (kind === "integer") return /^-?[0-9]{1,9}$/.test(text) ? Number(text) : null;
  if (text === "true" || text === "1") return true;
  return text === "false" || text === "0" ? false : null;
}

/** Typed access to what was read; notes what is wrong and goes on. */
class Reader {
  readonly #values: ReadonlyMap<string, Value>;
  readonly #problems: string[];

  constructor(values: ReadonlyMap<string, Value>, problems: string[]) {
    this.#values = values;
    this.#problems = problems;
  }

  fail(key: string, sentence: string): void {
    this.#problems.push(`'${key}' (${environmentName(key)}) ${sentence}`);
  }

  text(key: string): string | null {
    const value = this.#values.get(key);
    return typeof value === "string" ? value : null;
  }

  number(key: string, fallback: number): number {
    const value = this.#values.get(key);
    return typeof value === "number" ? value : fallback;
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#values.get(key);
    return typeof value === "boolean" ? value : fallback;
  }

  /** An absolute path without a slash at its end. */
  path(key: string, fallback: string): string {
    const value = this.text(key);
    if (value === null) return fallback;
    if (!value.startsWith("/")) this.fail(key, "must be an absolute path");
    return value.length > 1 ? value.replace(/\/+$/, "") : value;
  }

  /** Null: it is not said, or was said wrongly. */
  hostPort(key: string, example: string): HostPort | null {
    const given = this.text(key);
    if (given === null) return null;
    const parsed = parseHostPort(given);
    if (parsed === null) this.fail(key, `must be host:port, for instance ${example}`);
    return parsed;
  }

  endpoint(section: string, fallback: string, firstAddress: string | null): Endpoint {
    const listenKey = `${section}.listen`;
    const advertiseKey = `${section}.advertise`;
    const listen = parseHostPort(this.text(listenKey) ?? fallback);
    if (listen === null) {
      this.fail(listenKey, "must be host:port, for instance 0.0.0.0:8008 or [::]:8008");
      return { listen: { host: "127.0.0.1", port: 1 }, advertise: "" };
    }
    const given = this.text(advertiseKey);
    if (given !== null) {
      const advertised = parseHostPort(given);
      if (advertised === null) this.fail(advertiseKey, "must be host:port, for instance 10.0.0.1:8008");
      else if (isWildcard(advertised.host))
        this.fail(advertiseKey, "must be an address that others can connect to");
      return { listen, advertise: given };
    }
    if (!isWildcard(listen.host)) return { listen, advertise: formatHostPort(listen) };
    if (firstAddress === null) {
      this.fail(
        advertiseKey,
        "is needed: this host has no address but loopback, so others cannot be told one",
      );
      return { listen, advertise: "" };
    }
    return { listen, advertise: formatHostPort({ host: firstAddress, port: listen.port }) };
  }
}

function build(reader: Reader, facts: HostFacts, warnings: readonly string[]): MemberConfig {
  const dataDir = reader.path("data-dir", DEFAULT_DATA_DIR);
  const api = reader.endpoint("api", "0.0.0.0:8008", facts.firstAddress);
  const peer = reader.endpoint("peer", "0.0.0.0:8009", facts.firstAddress);
  const isWitness = reader.flag("tags.witness", false);
  const postgres = isWitness ? null : buildPostgres(reader, facts, dataDir);
  const certificateListen = reader.hostPort("api.certificate-listen", "0.0.0.0:8010");
  const healthListen = reader.hostPort("api.health-listen", "0.0.0.0:8007");
  refuseSharedPorts(reader, {
    "api.listen": api.listen,
    "peer.listen": peer.listen,
    ...(postgres === null ? {} : { "postgres.listen": postgres.listen }),
    ...(certificateListen === null ? {} : { "api.certificate-listen": certificateListen }),
    ...(healthListen === null ? {} : { "api.health-listen": healthListen }),
  });
  return {
    name: buildName(reader, facts),
    dataDir,
    init: buildInit(reader),
    api,
    certificateListen,
    healthListen,
    apiCertificate: buildApiCertificate(reader),
    peer,
    postgres,
    supervisorSocket: reader.path("supervisor.socket", supervisorSocketPath(dataDir, postgres)),
    watchdog: buildWatchdog(reader),
    hooks: buildHooks(reader),
    syslog: buildSyslog(reader),
    tags: buildTags(reader),
    warnings,
  };
}

function buildApiCertificate(reader: Reader): CertificateFiles | null {
  const [certificateKey, keyKey] = ["api.certificate-file", "api.key-file"] as const;
  const [hasCertificate, hasKey] = [reader.text(certificateKey) !== null, reader.text(keyKey) !== null];
  if (!hasCertificate && !hasKey) return null;
  if (!hasCertificate) reader.fail(certificateKey, `is needed where '${keyKey}' is given`);
  if (!hasKey) reader.fail(keyKey, `is needed where '${certificateKey}' is given`);
  return { certificateFile: reader.path(certificateKey, ""), keyFile: reader.path(keyKey, "") };
}

const HOOK_SECONDS = 10;
/** Whoever asks for a switchover waits for it. */
const HOOK_SECONDS_MAX = 20;
const HOOK_ATTEMPTS = 3;
const HOOK_ATTEMPTS_MAX = 10;

function buildHooks(reader: Reader): HooksConfig | null {
  const pathOrNull = (key: string) => (reader.text(key) === null ? null : reader.path(key, ""));
  const onRoleChange = pathOrNull("hooks.on-role-change");
  const beforeSwitchover = pathOrNull("hooks.before-switchover");
  const seconds = reader.number("hooks.timeout-seconds", HOOK_SECONDS);
  if (seconds < 1 || seconds > HOOK_SECONDS_MAX)
    reader.fail("hooks.timeout-seconds", `must be 1 to ${HOOK_SECONDS_MAX}`);
  const afterSwitchover = pathOrNull("hooks.after-switchover");
  const afterFailover = pathOrNull("hooks.after-failover");
  const attempts = reader.number("hooks.attempts", HOOK_ATTEMPTS);
  if (attempts < 1 || attempts > HOOK_ATTEMPTS_MAX)
    reader.fail("hooks.attempts", `must be 1 to ${HOOK_ATTEMPTS_MAX}`);
  const programs = { onRoleChange, beforeSwitchover, afterSwitchover, afterFailover };
  if (Object.values(programs).every((program) => program === null)) return null;
  return { ...programs, timeoutMs: seconds * 1_000, attempts };
}

const SYSLOG_EXAMPLES = "unix:/dev/log, udp://10.0.0.9:514, tcp://log.example:601, tls://log.example:6514";

function buildSyslog(reader: Reader): SyslogConfig | null {
  const given = reader.text("audit.syslog");
  const facilityName = reader.text("audit.syslog-facility") ?? "authpriv";
  const facility = Object.hasOwn(FACILITIES, facilityName) ? FACILITIES[facilityName] : undefined;
  const caFile =
    reader.text("audit.syslog-ca-file") === null ? null : reader.path("audit.syslog-ca-file", "");
  if (facility === undefined)
    reader.fail("audit.syslog-facility", `must be one of ${Object.keys(FACILITIES).join(", ")}`);
  const target = given === null ? null : parseSyslogTarget(given);
  if (given !== null && target === null)
    reader.fail("audit.syslog", `must say where the daemon listens, for instance ${SYSLOG_EXAMPLES}`);
  if (caFile !== null && target !== null && target.kind !== "tls")
    reader.fail("audit.syslog-ca-file", "is for 'audit.syslog' over tls:// only");
  return target === null || facility === undefined ? null : { target, facility, caFile };
}

/** What is not said stays absent: a member of an older release lets in only what it knows. */
function buildTags(reader: Reader): MemberTags {
  const zone = reader.text("tags.zone");
  if (zone !== null && !ZONE.test(zone))
    reader.fail("tags.zone", "must be 1 to 60 letters, digits, dots, dashes or underscores");
  return {
    failoverPriority: reader.number("tags.failover-priority", DEFAULT_TAGS.failoverPriority),
    isNoFailover: reader.flag("tags.no-failover", DEFAULT_TAGS.isNoFailover),
    ...(reader.flag("tags.no-sync", false) ? { isNoSync: true } : {}),
    ...(reader.flag("tags.clone-source", false) ? { isCloneSource: true } : {}),
    ...(zone === null ? {} : { zone }),
  };
}

function buildWatchdog(reader: Reader): WatchdogConfig {
  const mode = parseWatchdogMode(reader.text("watchdog.mode") ?? "off");
  if (mode === null) reader.fail("watchdog.mode", `must be one of ${WATCHDOG_MODES.join(", ")}`);
  return { mode: mode ?? "off", device: reader.path("watchdog.device", "/dev/watchdog") };
}

/** Beside PostgreSQL's data directory, where PostgreSQL's system user may write. */
function supervisorSocketPath(dataDir: string, postgres: PostgresConfig | null): string {
  return postgres === null ? `${dataDir}/supervisor.sock` : defaultSocketPath(postgres.dataDir);
}

function buildName(reader: Reader, { hostName }: HostFacts): string {
  const given = reader.text("name");
  const [label = ""] = hostName.toLowerCase().split(".");
  const name = parseMemberName(given ?? label);
  if (name.ok) return name.value;
  reader.fail(
    "name",
    given === null ? `is needed: the host's name cannot serve (${name.error})` : `is not good: ${name.error}`,
  );
  return "";
}

function buildInit(reader: Reader): "manual" {
  const init = reader.text("init");
  if (init === "auto") {
    reader.fail(
      "init",
      "cannot be \"auto\" in this version: start the member, then 'guacamole form' or 'guacamole join' says what it belongs to",
    );
  } else if (init !== null && init !== "manual") {
    reader.fail("init", 'must be "manual"');
  }
  return "manual";
}

function buildPostgres(reader: Reader, facts: HostFacts, memberDataDir: string): PostgresConfig {
  const dataDir = reader.path("postgres.data-dir", "");
  if (dataDir === "") {
    reader.fail(
      "postgres.data-dir",
      "is needed: where PostgreSQL's data is or shall be, for instance /var/lib/postgresql/18/main; a member without PostgreSQL says witness = true under [tags]",
    );
  }
  if (dataDir !== "" && (memberDataDir === dataDir || memberDataDir.startsWith(`${dataDir}/`))) {
    reader.fail(
      "postgres.data-dir",
      "must not hold the member's own data-dir: PostgreSQL's directory is replaced as a whole",
    );
  }
  const user = reader.text("postgres.user") ?? "postgres";
  if (!/^[a-z_][a-z0-9_.-]{0,31}$/.test(user))
    reader.fail("postgres.user", "is not the name of a system user");
  if (user === "root") reader.fail("postgres.user", "cannot be root: PostgreSQL refuses to run as root");
  return {
    ...reader.endpoint("postgres", "0.0.0.0:5432", facts.firstAddress),
    binDir: reader.text("postgres.bin-dir") === null ? null : reader.path("postgres.bin-dir", ""),
    dataDir,
    socketDir: reader.path("postgres.socket-dir", "/run/postgresql"),
    user,
  };
}

function refuseSharedPorts(reader: Reader, listens: Readonly<Record<string, HostPort>>): void {
  const taken: { readonly key: string; readonly listen: HostPort }[] = [];
  for (const [key, listen] of Object.entries(listens)) {
    const other = taken.find(
      (each) =>
        each.listen.port === listen.port &&
        (each.listen.host === listen.host || isWildcard(each.listen.host) || isWildcard(listen.host)),
    );
    // Port 1 stands where a listen could not be read: that was said already.
    if (other !== undefined && listen.port !== 1) {
      reader.fail(key, `uses port ${listen.port}, which '${other.key}' has already`);
    }
    taken.push({ key, listen });
  }
}

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
