/** What roles may do with what is in schemas: words that declarations, catalogs and statements share. */

/** What somebody makes in a schema. Tables: views and foreign tables, too; functions: procedures and aggregates, too; types: domains, too. */
export const MADE_KINDS = ["tables", "sequences", "functions", "types"] as const;
export type MadeKind = (typeof MADE_KINDS)[number];

/** What lies in a schema. Columns after tables: what is taken back of a table, PostgreSQL takes back of its columns, too. */
export const OBJECT_KINDS = [...MADE_KINDS, "columns"] as const;
export type ObjectKind = (typeof OBJECT_KINDS)[number];

export const TABLE_PRIVILEGES = [
  "select",
  "insert",
  "update",
  "delete",
  "truncate",
  "references",
  "trigger",
  "maintain",
] as const;
export const SEQUENCE_PRIVILEGES = ["usage", "select", "update"] as const;
export const FUNCTION_PRIVILEGES = ["execute"] as const;
export const TYPE_PRIVILEGES = ["usage"] as const;
export const COLUMN_PRIVILEGES = ["select", "insert", "update", "references"] as const;

export type ObjectPrivilege =
  | (typeof TABLE_PRIVILEGES)[number]
  | (typeof SEQUENCE_PRIVILEGES)[number]
  | (typeof FUNCTION_PRIVILEGES)[number]
  | (typeof TYPE_PRIVILEGES)[number]
  | (typeof COLUMN_PRIVILEGES)[number];

/** By role (`public`: everybody): these, and no others. */
export type Grants = Readonly<Record<string, readonly ObjectPrivilege[]>>;

/**
 * By the name of an object; `*`: each that there is, but for roles of which something is said of that object by its name. A
 * function's name may say the types of its arguments (`total(integer, text)`); without, it is each of that name. A column is
 * called as a statement does it, `orders(total)`; `orders` is each column of that table.
 */
export type ObjectGrants = Readonly<Record<string, Grants>>;

/** What roles get of each object that is made from then on. */
export type DefaultGrants = Readonly<Partial<Record<MadeKind, Grants>>>;

/** Each object in the schema. */
export const EVERY_OBJECT = "*";

/** The name of a function with its types, or of a table with a column, written as PostgreSQL does it. */
export function detailedKey(text: string): string {
  return text
    .trim()
    .replace(/\s*\(\s*/, "(")
    .replace(/\s*,\s*/g, ", ")
    .replace(/\s*\)$/, ")");
}

type Tree = { readonly [key: string]: Tree | readonly string[] };

/** Grants as a change makes them: what it names replaces what was there, role by role. */
export function mergedGrants<T extends object>(present: T | undefined, change: T | undefined): T | undefined {
  if (present === undefined || change === undefined) return change ?? present;
  return merged(present as unknown as Tree, change as unknown as Tree) as unknown as T;
}

function merged(present: Tree, change: Tree): Tree {
  const entries = Object.entries(change).map(([key, value]) => {
    const before = Object.hasOwn(present, key) ? present[key] : undefined;
    return [key, isTree(before) && isTree(value) ? merged(before, value) : value] as const;
  });
  return { ...present, ...Object.fromEntries(entries) };
}

function isTree(value: Tree | readonly string[] | undefined): value is Tree {
  return value !== undefined && !Array.isArray(value);
}
