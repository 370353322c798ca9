/** Whether a role may be declared so, as far as that can be said without a server. */
import { isScramVerifier } from "../base/scram.ts";
import { POWERFUL_ROLES, POWERS, ROLE_FLAGS, type RoleSettings, type RoleWish } from "./declared.ts";
import { REPLICATION_ROLE } from "./hba-own.ts";
import { isGuarded } from "./parameter-rules.ts";
import { flawOfText } from "./parameter-value.ts";
import { parseParameterName } from "./parameters.ts";

/** As PostgreSQL is built (NAMEDATALEN). */
const NAME_BYTES_MAX = 63;
const CONNECTIONS_MAX = 262_143;
const ENTRIES_MAX = 200;
/** Words that mean somebody else where a role is named. */
const RESERVED: ReadonlySet<string> = new Set([
  "public",
  "none",
  "current_role",
  "current_user",
  "session_user",
]);
/** Would make a session somebody else's at its beginning. */
const IDENTITIES: ReadonlySet<string> = new Set(["role", "session_authorization"]);

/** PostgreSQL's superuser, as which guacamole itself connects. */
export const SUPERUSER = "postgres";

/** Why no role of this name can be declared, in a sentence; null: it can. */
export function flawOfRoleName(name: string): string | null {
  if (name === SUPERUSER) return "it is the superuser as which guacamole itself connects";
  if (name === REPLICATION_ROLE || name.startsWith("guacamole"))
    return "names that begin with 'guacamole' are guacamole's own roles; members use them among themselves";
  if (name.startsWith("pg_")) return "names that begin with 'pg_' are PostgreSQL's own";
  if (RESERVED.has(name)) return "it is a word of SQL that means somebody else";
  return flawOfName(name);
}

/** Why PostgreSQL can have nothing of this name; null: it can. */
export function flawOfName(name: string): string | null {
  if (name === "" || name === "__proto__") return "nothing is called so";
  if (new TextEncoder().encode(name).length > NAME_BYTES_MAX)
    return `a name has at most ${NAME_BYTES_MAX} bytes`;
  return hasControls(name) ? "control characters are in it" : null;
}

/** What is wrong with a wish, in a sentence; null: nothing that can be told without a server. */
export function flawOfRole(wish: Omit<RoleWish, "since">): string | null {
  const { isAbsent, isTrusted: _, logins: __, password, connectionLimit = -1, ...rest } = wish;
  if (isAbsent === true) {
    const isAlone = password === undefined && wish.connectionLimit === undefined && isEmpty(rest);
    return isAlone ? null : "what is to be absent has no attributes";
  }
  if (password !== undefined && password !== null && !isScramVerifier(password))
    return "password: only a SCRAM-SHA-256 verifier is kept";
  if (!Number.isInteger(connectionLimit) || connectionLimit < -1 || connectionLimit > CONNECTIONS_MAX)
    return `connectionLimit is -1 (none) to ${CONNECTIONS_MAX}`;
  return flawOfMemberships(wish) ?? flawOfSettings(wish.settings ?? {}) ?? flawOfDatabaseSettings(wish);
}

function isEmpty(wish: object): boolean {
  return Object.values(wish).every((value) => value === undefined);
}

function flawOfMemberships({ memberOf = {} }: Omit<RoleWish, "since">): string | null {
  const names = Object.keys(memberOf);
  if (names.length > ENTRIES_MAX) return `memberOf has more than ${ENTRIES_MAX} entries`;
  for (const name of names) {
    if (memberOf[name] === "none") continue;
    // Those of PostgreSQL's own are there to be given.
    const flaw = name.startsWith("pg_") ? flawOfName(name) : flawOfRoleName(name);
    if (flaw !== null) return `memberOf '${name.slice(0, 80)}': ${flaw}`;
  }
  return null;
}

function flawOfDatabaseSettings({ databaseSettings = {} }: Omit<RoleWish, "since">): string | null {
  const databases = Object.keys(databaseSettings);
  if (databases.length > ENTRIES_MAX) return `databaseSettings has more than ${ENTRIES_MAX} entries`;
  for (const database of databases) {
    const flaw = flawOfName(database) ?? flawOfSettings(databaseSettings[database] ?? {});
    if (flaw !== null) return `databaseSettings '${database.slice(0, 80)}': ${flaw}`;
  }
  return null;
}

/** What is wrong with settings of a role or a database, in a sentence. */
export function flawOfSettings(settings: RoleSettings): string | null {
  const names = Object.keys(settings);
  if (names.length > ENTRIES_MAX) return `settings has more than ${ENTRIES_MAX} entries`;
  for (const name of names) {
    if (parseParameterName(name) !== name)
      return `settings: '${name.slice(0, 80)}' is no name of a parameter in lower case`;
    if (IDENTITIES.has(name))
      return `settings: ${name} would make sessions another role's; a membership says who may be whom`;
    const flaw = flawOfText(settings[name] ?? "");
    if (flaw !== null) return `settings: the value of ${name} ${flaw}`;
  }
  return null;
}

/** What of a wish only `admin` may say, as far as its own words tell; empty: nothing. */
export function guardedParts(wish: Omit<RoleWish, "since">): readonly string[] {
  const flags = POWERS.filter((flag) => wish[flag] === true);
  const roles = Object.entries(wish.memberOf ?? {}).flatMap(([name, membership]) =>
    membership !== "none" && POWERFUL_ROLES.has(name) ? [`memberOf ${name}`] : [],
  );
  const all = [wish.settings ?? {}, ...Object.values(wish.databaseSettings ?? {})];
  return [...flags, ...roles, ...guardedSettings(all)];
}

/** Which of these settings only `admin` may make: what runs programs, loads code or lets damage pass. */
export function guardedSettings(all: readonly RoleSettings[]): readonly string[] {
  const names = all.flatMap((settings) =>
    Object.keys(settings).filter((name) => settings[name] !== null && isGuarded(name)),
  );
  return [...new Set(names)].map((name) => `settings ${name}`);
}

/** What a change to a wish names replaces; of maps, entry by entry. What it does not name stays. */
export function mergedRole(
  present: Omit<RoleWish, "since"> | null,
  change: Omit<RoleWish, "since">,
): Omit<RoleWish, "since"> {
  if (change.isAbsent === true || present === null || present.isAbsent === true) return change;
  const databases = { ...present.databaseSettings };
  for (const [name, settings] of Object.entries(change.databaseSettings ?? {}))
    databases[name] = { ...databases[name], ...settings };
  const kept = Object.fromEntries(Object.entries(present).filter(([key]) => KEPT.has(key)));
  return {
    ...kept,
    ...change,
    ...mergedMap("memberOf", present.memberOf, change.memberOf),
    ...mergedMap("settings", present.settings, change.settings),
    ...(Object.keys(databases).length === 0 ? {} : { databaseSettings: databases }),
  };
}

const KEPT: ReadonlySet<string> = new Set([
  ...ROLE_FLAGS,
  "connectionLimit",
  "validUntil",
  "password",
  "rotation",
]);

/** Two maps as one, under their name; nothing where both are empty. */
export function mergedMap<T>(
  key: string,
  present: Readonly<Record<string, T>> | undefined,
  change: Readonly<Record<string, T>> | undefined,
): Readonly<Record<string, Readonly<Record<string, T>>>> {
  const merged = { ...present, ...change };
  return Object.keys(merged).length === 0 ? {} : { [key]: merged };
}

function hasControls(text: string): boolean {
  return [...text].some((character) => character < " " || character === "\u007f");
}
