/** Statements on catalogs as SQL. Whatever comes from outside stands in quotes here and nowhere else. */
import { unreachable } from "../base/assert.ts";
import type {
  CatalogStatement,
  DatabaseStatement,
  InsideStatement,
  RoleAttributes,
} from "../cluster/catalog.ts";
import { EVERYBODY, ROLE_FLAGS, type RoleFlag } from "../cluster/declared.ts";
import type { ObjectKind } from "../cluster/grants.ts";
import { namesInSetting } from "../cluster/setting-list.ts";

const WORDS: Readonly<Record<RoleFlag, string>> = {
  login: "LOGIN",
  superuser: "SUPERUSER",
  createdb: "CREATEDB",
  createrole: "CREATEROLE",
  replication: "REPLICATION",
  bypassrls: "BYPASSRLS",
  inherit: "INHERIT",
};

/** One statement, without a semicolon. */
export function renderCatalogStatement(statement: CatalogStatement): string {
  switch (statement.kind) {
    case "create-role":
      return `CREATE ROLE ${identifier(statement.role)}${attributes(statement.attributes)}`;
    case "alter-role":
      return `ALTER ROLE ${identifier(statement.role)}${attributes(statement.attributes)}`;
    case "drop-role":
      return `DROP ROLE ${identifier(statement.role)}`;
    case "grant-role": {
      const option = statement.isAdmin ? " WITH ADMIN OPTION" : "";
      return `GRANT ${identifier(statement.role)} TO ${identifier(statement.member)}${option}`;
    }
    case "revoke-role": {
      const { role, member, grantor, isAdminOnly } = statement;
      const option = isAdminOnly ? "ADMIN OPTION FOR " : "";
      const by = grantor === null ? "" : ` GRANTED BY ${identifier(grantor)}`;
      return `REVOKE ${option}${identifier(role)} FROM ${identifier(member)}${by}`;
    }
    case "set-role": {
      const { role, database, name, value } = statement;
      const where = database === null ? "" : ` IN DATABASE ${identifier(database)}`;
      return `ALTER ROLE ${identifier(role)}${where} ${setting(name, value)}`;
    }
    default:
      return "inside" in statement ? renderInside(statement) : renderDatabase(statement);
  }
}

function renderDatabase(statement: DatabaseStatement): string {
  const database = identifier(statement.database);
  switch (statement.kind) {
    case "create-database": {
      const { owner, template, encoding, locale } = statement;
      const words = [
        ...(owner === undefined ? [] : [`OWNER ${identifier(owner)}`]),
        ...(template === undefined ? [] : [`TEMPLATE ${identifier(template)}`]),
        ...(encoding === undefined ? [] : [`ENCODING ${literal(encoding)}`]),
        ...(locale === undefined ? [] : [`LOCALE ${literal(locale)}`]),
      ];
      return [`CREATE DATABASE ${database}`, ...words].join(" ");
    }
    case "drop-database":
      return `DROP DATABASE ${database}`;
    case "own-database":
      return `ALTER DATABASE ${database} OWNER TO ${identifier(statement.owner)}`;
    case "limit-database":
      return `ALTER DATABASE ${database} CONNECTION LIMIT ${statement.connectionLimit}`;
    case "set-database":
      return `ALTER DATABASE ${database} ${setting(statement.name, statement.value)}`;
    case "grant-database":
      return `GRANT ${words(statement.privileges)} ON DATABASE ${database} TO ${grantee(statement.role)}`;
    case "revoke-database":
      return `REVOKE ${words(statement.privileges)} ON DATABASE ${database} FROM ${grantee(statement.role)}`;
    default:
      return unreachable(statement);
  }
}

function renderInside(statement: InsideStatement): string {
  switch (statement.kind) {
    case "create-schema": {
      const owner = statement.owner === null ? "" : ` AUTHORIZATION ${identifier(statement.owner)}`;
      return `CREATE SCHEMA ${identifier(statement.schema)}${owner}`;
    }
    case "own-schema":
      return `ALTER SCHEMA ${identifier(statement.schema)} OWNER TO ${identifier(statement.owner ?? "postgres")}`;
    case "drop-schema":
      return `DROP SCHEMA ${identifier(statement.schema)}`;
    case "grant-schema":
      return `GRANT ${words(statement.privileges)} ON SCHEMA ${identifier(statement.schema)} TO ${grantee(statement.role)}`;
    case "revoke-schema":
      return `REVOKE ${words(statement.privileges)} ON SCHEMA ${identifier(statement.schema)} FROM ${grantee(statement.role)}`;
    case "create-extension": {
      const { extension, schema, version } = statement;
      const where = schema === null ? "" : ` SCHEMA ${identifier(schema)}`;
      const which = version === null ? "" : ` VERSION ${literal(version)}`;
      return `CREATE EXTENSION ${identifier(extension)}${where}${which}`;
    }
    case "update-extension":
      return `ALTER EXTENSION ${identifier(statement.extension)} UPDATE TO ${literal(statement.version)}`;
    case "move-extension":
      return `ALTER EXTENSION ${identifier(statement.extension)} SET SCHEMA ${identifier(statement.schema)}`;
    case "drop-extension":
      return `DROP EXTENSION ${identifier(statement.extension)}`;
    case "grant-objects":
      return `GRANT ${onObjects(statement)} TO ${grantee(statement.role)}`;
    case "revoke-objects":
      return `REVOKE ${onObjects(statement)} FROM ${grantee(statement.role)}`;
    case "grant-default":
      return `${defaultsOf(statement)} GRANT ${words(statement.privileges)} ON ${statement.objects.toUpperCase()} TO ${grantee(statement.role)}`;
    case "revoke-default":
      return `${defaultsOf(statement)} REVOKE ${words(statement.privileges)} ON ${statement.objects.toUpperCase()} FROM ${grantee(statement.role)}`;
    default:
      return unreachable(statement);
  }
}

const OBJECT_WORDS: Readonly<Record<ObjectKind, string>> = {
  tables: "TABLE",
  sequences: "SEQUENCE",
  functions: "ROUTINE",
  types: "TYPE",
  columns: "TABLE",
};

type OfObjects = Extract<InsideStatement, { readonly names: unknown }>;

/** Which privileges, and on what. Types of arguments are as PostgreSQL wrote them, with quotes where they need some. */
function onObjects({ objects, schema, names, privileges }: OfObjects): string {
  const place = (name: string) => `${identifier(schema)}.${identifier(name)}`;
  if (objects === "columns") {
    const columns = names.map(({ detail }) => identifier(detail ?? "")).join(", ");
    const tables = [...new Set(names.map(({ name }) => place(name)))];
    const all = privileges.map((each) => `${words([each])} (${columns})`);
    return `${all.join(", ")} ON ${OBJECT_WORDS[objects]} ${tables.join(", ")}`;
  }
  const all = names.map(({ name, detail }) => `${place(name)}${detail === null ? "" : `(${detail})`}`);
  return `${words(privileges)} ON ${OBJECT_WORDS[objects]} ${all.join(", ")}`;
}

type OfDefaults = Extract<InsideStatement, { readonly creator: string }>;

function defaultsOf({ creator, schema }: OfDefaults): string {
  const where = schema === null ? "" : ` IN SCHEMA ${identifier(schema)}`;
  return `ALTER DEFAULT PRIVILEGES FOR ROLE ${identifier(creator)}${where}`;
}

/** Privileges come out of lists of ours; what is none of these words is refused by the server. */
function words(privileges: readonly string[]): string {
  return privileges.map((each) => each.toUpperCase().replace(/[^A-Z]/g, "")).join(", ");
}

function grantee(role: string): string {
  return role === EVERYBODY ? "PUBLIC" : identifier(role);
}

function attributes(wanted: RoleAttributes): string {
  const { connectionLimit, validUntil, password } = wanted;
  const words = ROLE_FLAGS.flatMap((flag) => {
    const value = wanted[flag];
    return value === undefined ? [] : [value ? WORDS[flag] : `NO${WORDS[flag]}`];
  });
  if (connectionLimit !== undefined) words.push(`CONNECTION LIMIT ${connectionLimit}`);
  if (validUntil !== undefined) words.push(`VALID UNTIL ${literal(validUntil ?? "infinity")}`);
  if (password !== undefined) words.push(`PASSWORD ${password === null ? "NULL" : literal(password)}`);
  return words.length === 0 ? "" : ` ${words.join(" ")}`;
}

function setting(name: string, value: string | null): string {
  const parameter = name.split(".").map(identifier).join(".");
  if (value === null) return `RESET ${parameter}`;
  const names = namesInSetting(name, value);
  // The grammar knows no empty list: it is one empty name.
  const words = names === null || names.length === 0 ? [value] : names;
  return `SET ${parameter} TO ${words.map(literal).join(", ")}`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The form with E, whatever `standard_conforming_strings` says. */
function literal(text: string): string {
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
