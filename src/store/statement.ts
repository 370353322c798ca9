/**
 * Statements for the hot path: Drizzle writes the SQL from the schema once, SQLite runs it with the values as they are.
 * (Drizzle's own prepared statements take seven times as long, most of it in filling in the values.)
 */
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { Param, Placeholder } from "drizzle-orm";
import { assert } from "../base/assert.ts";

interface Query {
  toSQL(): { readonly sql: string; readonly params: readonly unknown[] };
}

/**
 * Prepares what Drizzle wrote. Rows come back with the names of the *columns*.
 *
 * @param names the placeholders in the order in which the values will be given.
 */
export function hotStatement<Values extends SQLQueryBindings[], Row = never>(
  raw: Database,
  query: Query,
  names: { readonly [Place in keyof Values]: string },
): Statement<Row, Values> {
  const { sql, params } = query.toSQL();
  const found = params.map((param) => placeName(param));
  assert(found.join() === names.join(), `the values of a statement are named in its own order (${found})`);
  return raw.prepare<Row, Values>(sql) as Statement<Row, Values>;
}

function placeName(param: unknown): string {
  const value = param instanceof Param ? param.value : param;
  assert(value instanceof Placeholder, "a hot statement has placeholders only");
  return value.name as string;
}
