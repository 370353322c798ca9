import type {
  ObservedCatalog,
  ObservedDatabase,
  ObservedInside,
  ObservedMembership,
  ObservedObject,
  ObservedPrivileges,
  ObservedRole,
} from "../cluster/catalog.ts";
import type { MadeKind, ObjectKind } from "../cluster/grants.ts";

const INSTANT = `'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'`;
const NOW = `to_char(clock_timestamp() AT TIME ZONE 'UTC', ${INSTANT}) AS now`;

/**
 * Changes with every row that is added, changed or taken out of the catalogs of roles and databases, and costs milliseconds for
 * ten thousand of them. Rows are known by their place and the transaction that wrote them.
 */
export const GLANCE_QUERY = `
  SELECT ${NOW}, concat_ws(' ',
    (SELECT count(*) || ':' || coalesce(sum(hashint8((oid::bigint << 32) # xmin::text::bigint)), 0) FROM pg_authid),
    (SELECT count(*) || ':' || coalesce(sum(hashtext(ctid::text) # hashint8(xmin::text::bigint)), 0) FROM pg_auth_members),
    (SELECT count(*) || ':' || coalesce(sum(hashtext(ctid::text) # hashint8(xmin::text::bigint)), 0) FROM pg_db_role_setting),
    (SELECT count(*) || ':' || coalesce(sum(hashint8((oid::bigint << 32) # xmin::text::bigint)), 0) FROM pg_database)
  ) AS fingerprint`;

/** Everything that declarations of roles are held against, in one row. */
export const CATALOG_QUERY = `
  SELECT ${NOW},
    current_setting('server_version_num')::int / 10000 AS major,
    (SELECT json_agg(json_build_array(
        datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datconnlimit,
        (SELECT json_agg(json_build_array(
            CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee) END, lower(privilege_type)))
          FROM aclexplode(coalesce(datacl, acldefault('d', datdba))))))
      FROM pg_database) AS databases,
    (SELECT json_agg(json_build_array(
        rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit, rolconnlimit,
        CASE WHEN isfinite(rolvaliduntil)
          THEN to_char(rolvaliduntil AT TIME ZONE 'UTC', ${INSTANT}) END,
        rolpassword))
      FROM pg_authid) AS roles,
    (SELECT json_agg(json_build_array(
        pg_get_userbyid(member), pg_get_userbyid(roleid), admin_option, pg_get_userbyid(grantor)))
      FROM pg_auth_members) AS members,
    (SELECT json_agg(json_build_array(rolname, datname, setconfig))
      FROM pg_db_role_setting
        LEFT JOIN pg_authid ON pg_authid.oid = setrole
        LEFT JOIN pg_database ON pg_database.oid = setdatabase) AS settings`;

type RoleRow = readonly [
  name: string,
  login: boolean,
  superuser: boolean,
  createdb: boolean,
  createrole: boolean,
  replication: boolean,
  bypassrls: boolean,
  inherit: boolean,
  connectionLimit: number,
  validUntil: string | null,
  password: string | null,
];

type PrivilegeRows = readonly (readonly [role: string, privilege: string])[] | null;

type DatabaseRow = readonly [
  name: string,
  owner: string,
  encoding: string,
  locale: string,
  connectionLimit: number,
  privileges: PrivilegeRows,
];

/** Roles and what they have, as rows. */
const privilegesIn = (acl: string) => `
  (SELECT json_agg(json_build_array(
      CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee) END, lower(privilege_type)))
    FROM aclexplode(${acl}))`;

const namesIn = (parameter: string) => `(SELECT json_array_elements_text(${parameter}::text::json))`;

/** What is in the database that is connected to, in one row, as far as an `InsideQuestion` asks: by its four parts. */
export const INSIDE_QUERY = `
  SELECT
    (SELECT json_agg(json_build_array(extname, extversion, nspname))
      FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace) AS extensions,
    (SELECT json_agg(json_build_array(name, trusted))
      FROM (SELECT name, bool_or(trusted) AS trusted FROM pg_available_extension_versions
        WHERE name IN ${namesIn("$1")} GROUP BY name) AS each) AS available,
    (SELECT json_agg(json_build_array(
        nspname, pg_get_userbyid(nspowner), ${privilegesIn("coalesce(nspacl, acldefault('n', nspowner))")}))
      FROM pg_namespace WHERE nspname !~ '^pg_') AS schemas,
    (SELECT json_agg(json_build_array(schema, kind, name, detail, owner, dangerous, privileges))
      FROM (
        SELECT nspname AS schema, CASE WHEN relkind = 'S' THEN 'sequences' ELSE 'tables' END AS kind,
          relname AS name, NULL::text AS detail, pg_get_userbyid(relowner) AS owner, false AS dangerous,
          ${privilegesIn(`coalesce(relacl,
            acldefault(CASE WHEN relkind = 'S' THEN 's'::"char" ELSE 'r'::"char" END, relowner))`)} AS privileges
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname IN ${namesIn("$2")}
        UNION ALL
        SELECT nspname, 'functions', proname, oidvectortypes(proargtypes), pg_get_userbyid(proowner),
          prosecdef OR NOT lanpltrusted, ${privilegesIn("coalesce(proacl, acldefault('f', proowner))")}
        FROM pg_proc
          JOIN pg_namespace ON pg_namespace.oid = pronamespace
          JOIN pg_language ON pg_language.oid = prolang
        WHERE nspname IN ${namesIn("$2")}
        UNION ALL
        -- Of what others bring along (rows of tables, arrays, multiranges), nothing is granted by itself.
        SELECT nspname, 'types', typname, NULL, pg_get_userbyid(typowner), false,
          ${privilegesIn("coalesce(typacl, acldefault('T', typowner))")}
        FROM pg_type
          JOIN pg_namespace ON pg_namespace.oid = typnamespace
          LEFT JOIN pg_class ON pg_class.oid = typrelid
        WHERE nspname IN ${namesIn("$2")} AND typtype IN ('b', 'c', 'd', 'e', 'r')
          AND (relkind IS NULL OR relkind = 'c')
          AND NOT EXISTS (SELECT FROM pg_type AS element WHERE element.typarray = pg_type.oid)
        UNION ALL
        SELECT nspname, 'columns', relname, attname, pg_get_userbyid(relowner), false,
          ${privilegesIn("attacl")}
        FROM pg_attribute
          JOIN pg_class ON pg_class.oid = attrelid
          JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname IN ${namesIn("$4")} AND relkind IN ('r', 'p', 'v', 'm', 'f')
          AND attnum > 0 AND NOT attisdropped
      ) AS each) AS objects,
    (SELECT json_agg(json_build_array(creator, schema, kind, privileges))
      FROM (
        SELECT rolname AS creator, NULL::name AS schema, kind,
          ${privilegesIn("coalesce(defaclacl, acldefault(code, pg_authid.oid))")} AS privileges
        FROM pg_authid
          CROSS JOIN (VALUES
            ('tables', 'r'::"char", 'r'::"char"),
            ('sequences', 'S'::"char", 's'::"char"),
            ('functions', 'f'::"char", 'f'::"char"),
            ('types', 'T'::"char", 'T'::"char")) AS kinds (kind, objtype, code)
          LEFT JOIN pg_default_acl
            ON defaclrole = pg_authid.oid AND defaclnamespace = 0 AND defaclobjtype = objtype
        WHERE rolname IN ${namesIn("$3")}
        UNION ALL
        SELECT rolname, nspname,
          CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' ELSE 'types' END,
          ${privilegesIn("defaclacl")}
        FROM pg_default_acl
          JOIN pg_authid ON pg_authid.oid = defaclrole
          JOIN pg_namespace ON pg_namespace.oid = defaclnamespace
        WHERE defaclobjtype IN ('r', 'S', 'f', 'T') AND rolname IN ${namesIn("$3")}
      ) AS each) AS defaults`;

/** The row of `INSIDE_QUERY`. */
export interface InsideRow {
  readonly extensions: readonly (readonly [name: string, version: string, schema: string])[] | null;
  readonly available: readonly (readonly [name: string, isTrusted: boolean])[] | null;
  readonly schemas: readonly (readonly [name: string, owner: string, privileges: PrivilegeRows])[] | null;
  readonly objects:
    | readonly (readonly [
        schema: string,
        kind: ObjectKind,
        name: string,
        detail: string | null,
        owner: string,
        isDangerous: boolean,
        privileges: PrivilegeRows,
      ])[]
    | null;
  readonly defaults:
    | readonly (readonly [
        creator: string,
        schema: string | null,
        kind: MadeKind,
        privileges: PrivilegeRows,
      ])[]
    | null;
}

/** What is in a database, from that row. */
export function parseInsideRow({ extensions, available, schemas, ...rest }: InsideRow): ObservedInside {
  return {
    extensions: new Map((extensions ?? []).map(([name, version, schema]) => [name, { version, schema }])),
    available: new Map((available ?? []).map(([name, isTrusted]) => [name, { isTrusted }])),
    schemas: new Map(
      (schemas ?? []).map(([name, owner, rows]) => [name, { owner, privileges: parsePrivileges(rows) }]),
    ),
    objects: parseObjects(rest.objects ?? []),
    defaults: parseDefaults(rest.defaults ?? []),
  };
}

function parseObjects(rows: NonNullable<InsideRow["objects"]>): ObservedInside["objects"] {
  const schemas = new Map<string, Record<ObjectKind, ObservedObject[]>>();
  for (const [schema, kind, name, detail, owner, isDangerous, privileges] of rows) {
    const all = schemas.get(schema) ?? { tables: [], sequences: [], functions: [], types: [], columns: [] };
    all[kind].push({ name, detail, owner, isDangerous, privileges: parsePrivileges(privileges) });
    schemas.set(schema, all);
  }
  return schemas;
}

function parseDefaults(rows: NonNullable<InsideRow["defaults"]>): ObservedInside["defaults"] {
  const none: ObservedPrivileges = new Map();
  const creators = new Map<
    string,
    {
      everywhere: Record<MadeKind, ObservedPrivileges>;
      schemas: Map<string, Partial<Record<MadeKind, ObservedPrivileges>>>;
    }
  >();
  for (const [creator, schema, kind, privileges] of rows) {
    const all = creators.get(creator) ?? {
      everywhere: { tables: none, sequences: none, functions: none, types: none },
      schemas: new Map<string, Partial<Record<MadeKind, ObservedPrivileges>>>(),
    };
    const parsed = parsePrivileges(privileges);
    if (schema === null) all.everywhere[kind] = parsed;
    else all.schemas.set(schema, { ...all.schemas.get(schema), [kind]: parsed });
    creators.set(creator, all);
  }
  return creators;
}

function parsePrivileges(rows: PrivilegeRows): ObservedPrivileges {
  const privileges = new Map<string, Set<string>>();
  for (const [role, privilege] of rows ?? []) {
    const all = privileges.get(role) ?? new Set();
    privileges.set(role, all.add(privilege));
  }
  return privileges;
}

/** The row of `CATALOG_QUERY`. */
export interface CatalogRow {
  readonly now: string;
  readonly major: number;
  readonly databases: readonly DatabaseRow[];
  readonly roles: readonly RoleRow[];
  readonly members:
    | readonly (readonly [member: string, role: string, isAdmin: boolean, grantor: string])[]
    | null;
  readonly settings:
    | readonly (readonly [role: string | null, database: string | null, lines: readonly string[]])[]
    | null;
}

/** What the catalogs say, from that row. */
export function parseCatalogRow(row: CatalogRow): ObservedCatalog {
  const memberOf = new Map<string, ObservedMembership[]>();
  for (const [member, role, isAdmin, grantor] of row.members ?? []) {
    const all = memberOf.get(member) ?? [];
    all.push({ role, isAdmin, grantor });
    memberOf.set(member, all);
  }
  const settings = new Map<string, Map<string | null, ReadonlyMap<string, string>>>();
  const ofDatabases = new Map<string, ReadonlyMap<string, string>>();
  for (const [role, database, lines] of row.settings ?? []) {
    if (role === null && database !== null) ofDatabases.set(database, parseSettings(lines));
    if (role === null) continue;
    const all = settings.get(role) ?? new Map<string | null, ReadonlyMap<string, string>>();
    all.set(database, parseSettings(lines));
    settings.set(role, all);
  }
  const roles = new Map<string, ObservedRole>();
  for (const [
    name,
    login,
    superuser,
    createdb,
    createrole,
    replication,
    bypassrls,
    inherit,
    ...rest
  ] of row.roles) {
    const [connectionLimit, validUntil, password] = rest;
    const flags = { login, superuser, createdb, createrole, replication, bypassrls, inherit };
    const own = settings.get(name);
    roles.set(name, {
      ...flags,
      connectionLimit,
      validUntil,
      password,
      memberOf: memberOf.get(name) ?? [],
      settings: own?.get(null) ?? NO_SETTINGS,
      databaseSettings: own === undefined ? NO_DATABASES : inDatabases(own),
    });
  }
  const databases = new Map<string, ObservedDatabase>();
  for (const [name, owner, encoding, locale, connectionLimit, privileges] of row.databases)
    databases.set(name, {
      owner,
      encoding,
      locale,
      connectionLimit,
      settings: ofDatabases.get(name) ?? NO_SETTINGS,
      privileges: parsePrivileges(privileges),
      inside: null,
    });
  return { now: row.now, major: row.major, roles, databases };
}

const NO_SETTINGS: ReadonlyMap<string, string> = new Map();
const NO_DATABASES: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map();

function inDatabases(
  all: ReadonlyMap<string | null, ReadonlyMap<string, string>>,
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  return new Map(
    [...all].flatMap(([database, each]) => (database === null ? [] : [[database, each] as const])),
  );
}

/** `name=value` lines; names are written as the server has them (`DateStyle`). */
function parseSettings(lines: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    lines.map((line) => {
      const at = line.indexOf("=");
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1)] as const;
    }),
  );
}
