/** Statements on catalogs as SQL. Whatever comes from outside stands in quotes here and nowhere else. */
import { unreachable } from "../base/assert.ts";
import type { CatalogStatement, RoleAttributes } from "../cluster/catalog.ts";
import { ROLE_FLAGS, type RoleFlag } from "../cluster/declared.ts";
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
      return unreachable(statement);
  }
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
