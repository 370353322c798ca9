/** Whether a database may be declared so, as far as that can be said without a server. */
import { flawOfDefaults, flawOfGrantees, flawOfOwner, flawOfSchemaGrants } from "./check-grants.ts";
import { flawOfName, flawOfSettings, guardedSettings, mergedMap } from "./check-role.ts";
import { type DatabaseWish, OWN_DATABASES, type SchemaWish } from "./declared.ts";
import { mergedGrants, OBJECT_KINDS } from "./grants.ts";

type Wish = Omit<DatabaseWish, "since">;

const ENCODING = /^[A-Za-z0-9_-]{1,32}$/;
const LOCALE = /^[A-Za-z0-9_.@-]{1,64}$/;
const CONNECTIONS_MAX = 262_143;
const ENTRIES_MAX = 200;

/** Why no database of this name can be declared, in a sentence; null: it can. */
export function flawOfDatabaseName(name: string): string | null {
  if (name === "template0") return "it is what other databases are made of, and stays as PostgreSQL made it";
  return flawOfName(name);
}

/** What is wrong with a wish, in a sentence; null: nothing that can be told without a server. */
export function flawOfDatabase(name: string, wish: Wish): string | null {
  const { isAbsent, isTrusted: _, connectionLimit = -1, encoding = "UTF8", locale = "C", ...rest } = wish;
  if (isAbsent === true) {
    if (OWN_DATABASES.has(name)) return "guacamole, or every new database, needs it";
    return Object.values(rest).every((value) => value === undefined)
      ? null
      : "what is to be absent has nothing else";
  }
  if (!Number.isInteger(connectionLimit) || connectionLimit < -1 || connectionLimit > CONNECTIONS_MAX)
    return `connectionLimit is -1 (none) to ${CONNECTIONS_MAX}`;
  if (!ENCODING.test(encoding)) return "encoding is a name such as UTF8";
  if (!LOCALE.test(locale)) return "locale is a name such as C.UTF-8";
  const owner = wish.owner === undefined ? null : flawOfOwner(wish.owner);
  if (owner !== null) return `owner: ${owner}`;
  return (
    flawOfSettings(wish.settings ?? {}) ??
    flawOfGrantees(wish.privileges) ??
    flawOfInside(wish) ??
    flawOfDefaults(wish.defaultPrivileges)
  );
}

function flawOfInside({ extensions = {}, schemas = {} }: Wish): string | null {
  const names = [...Object.keys(extensions), ...Object.keys(schemas)];
  if (names.length > ENTRIES_MAX) return `extensions and schemas have more than ${ENTRIES_MAX} entries`;
  for (const [name, wish] of Object.entries(extensions)) {
    const flaw =
      flawOfName(name) ?? (wish?.schema === undefined ? null : flawOfSchemaName(wish.schema, true));
    if (flaw !== null) return `extension '${name.slice(0, 80)}': ${flaw}`;
  }
  for (const [name, wish] of Object.entries(schemas)) {
    const flaw =
      flawOfSchemaName(name) ??
      (wish?.owner === undefined ? null : flawOfOwner(wish.owner)) ??
      flawOfGrantees(wish?.privileges) ??
      (wish === null ? null : flawOfSchemaGrants(wish));
    if (flaw !== null) return `schema '${name.slice(0, 80)}': ${flaw}`;
  }
  return null;
}

function flawOfSchemaName(name: string, isForExtension = false): string | null {
  if (isForExtension && name === "pg_catalog") return null;
  if (name.startsWith("pg_") || name === "information_schema") return "it is PostgreSQL's own";
  return flawOfName(name);
}

/** What of a wish only `admin` may say, as far as its own words tell; empty: nothing. */
export function guardedDatabaseParts(name: string, wish: Wish): readonly string[] {
  return [...(OWN_DATABASES.has(name) ? ["this database"] : []), ...guardedSettings([wish.settings ?? {}])];
}

/** What a change to a wish names replaces; of maps, entry by entry. What it does not name stays. */
export function mergedDatabase(present: Wish | null, change: Wish): Wish {
  if (change.isAbsent === true || present === null || present.isAbsent === true) return change;
  const { isTrusted: _, settings, extensions, schemas, privileges, defaultPrivileges, ...kept } = present;
  const defaults = mergedGrants(defaultPrivileges, change.defaultPrivileges);
  return {
    ...kept,
    ...change,
    ...mergedMap("settings", settings, change.settings),
    ...mergedMap("extensions", extensions, change.extensions),
    ...mergedMap("privileges", privileges, change.privileges),
    ...mergedMap("schemas", schemas, mergedSchemas(schemas, change.schemas)),
    ...(defaults === undefined ? {} : { defaultPrivileges: defaults }),
  };
}

function mergedSchemas(present: Wish["schemas"] = {}, change: Wish["schemas"] = {}): Wish["schemas"] {
  const entries = Object.entries(change).map(([name, wish]): readonly [string, SchemaWish | null] => {
    const before = Object.hasOwn(present, name) ? (present[name] ?? null) : null;
    if (wish === null || before === null) return [name, wish];
    const grants = [...OBJECT_KINDS, "defaultPrivileges" as const].flatMap((key) => {
      const merged = mergedGrants<object>(before[key], wish[key]);
      return merged === undefined ? [] : [[key, merged] as const];
    });
    return [
      name,
      {
        ...before,
        ...wish,
        ...mergedMap("privileges", before.privileges, wish.privileges),
        ...Object.fromEntries(grants),
      },
    ];
  });
  return Object.fromEntries(entries);
}
