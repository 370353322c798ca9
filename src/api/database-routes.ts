import { Elysia, t } from "elysia";
import {
  flawOfDatabase,
  flawOfDatabaseName,
  guardedDatabaseParts,
  mergedDatabase,
} from "../cluster/check-database.ts";
import { type DatabaseWish, type DeclaredChanges, wishOfDatabase } from "../cluster/declared.ts";
import type { ClusterState } from "../cluster/state.ts";
import { type Caller, mayDo } from "./access.ts";
import type { Asked } from "./change-wanted.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import {
  type DatabaseDocument,
  type DatabaseRequest,
  DatabaseRequestSchema,
  DatabaseSchema,
  type DatabasesDocument,
  DatabasesRequestSchema,
  DatabasesSchema,
} from "./database-documents.ts";
import { declare, invalidWish, shownSettings, textsOf, tooPowerful } from "./declare.ts";
import { askReport, statesIn } from "./declared-state.ts";
import { toInstant } from "./describe.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";

const PATH = "/v1/access/databases";
const databaseName = t.Object({ name: t.String({ minLength: 1, maxLength: 200 }) });

/** Databases, and what is in them, that are as they are said to be (`roadmap/0007-declared-roles.md`). */
export function databaseRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false }).use(manyDatabases(ports)).use(oneDatabase(ports));
}

function manyDatabases(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      PATH,
      async ({ query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeDatabases(ports, sight);
      },
      {
        query: consistencyQuery,
        response: { 200: DatabasesSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "The databases that are declared, and whether the primary has them so",
          "Databases that nobody declared are not shown, and never touched.",
        ),
      },
    )
    .patch(
      PATH,
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "databases" };
        await declareDatabases(ports, asked, { databases: body.databases });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeDatabases(ports, sight);
      },
      {
        body: DatabasesRequestSchema,
        headers: specChangeHeaders,
        response: { 200: DatabasesSchema },
        detail: describeRoute(
          "access",
          "access",
          "Change the declarations of several databases at once",
          "Of each, what is named replaces what was declared, entry by entry; the rest stays. Null stops declaring one.",
        ),
      },
    )
    .put(
      PATH,
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "databases-all" };
        await declareDatabases(ports, asked, { databases: body.databases, isWhole: true, isReplaced: true });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeDatabases(ports, sight);
      },
      {
        body: DatabasesRequestSchema,
        headers: specChangeHeaders,
        response: { 200: DatabasesSchema },
        detail: describeRoute(
          "access",
          "access",
          "Declare these databases, and no others",
          "Databases that are not in it are not declared any more, and stay as they are on the server.",
        ),
      },
    );
}

function oneDatabase(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      `${PATH}/:name`,
      async ({ params, query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, params.name);
      },
      {
        params: databaseName,
        query: consistencyQuery,
        response: { 200: DatabaseSchema },
        detail: describeRoute("viewer", "access", "One declared database, and whether the primary has it so"),
      },
    )
    .put(
      `${PATH}/:name`,
      async ({ params, body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `database-put ${params.name}` };
        await declareDatabases(ports, asked, { databases: { [params.name]: body }, isReplaced: true });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, params.name);
      },
      {
        params: databaseName,
        body: DatabaseRequestSchema,
        headers: specChangeHeaders,
        response: { 200: DatabaseSchema },
        detail: describeRoute(
          "access",
          "access",
          "Declare a database: this, and nothing that was declared of it before",
          "It is made where it is missing. What is not named stays as it is on the server.",
        ),
      },
    )
    .patch(
      `${PATH}/:name`,
      async ({ params, body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `database ${params.name}` };
        await declareDatabases(ports, asked, { databases: { [params.name]: body } });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, params.name);
      },
      {
        params: databaseName,
        body: DatabaseRequestSchema,
        headers: specChangeHeaders,
        response: { 200: DatabaseSchema },
        detail: describeRoute(
          "access",
          "access",
          "Change what is declared of a database",
          "What is named replaces what was declared, entry by entry. The databases postgres and template1, and extensions that are not trusted, need the scope `admin`.",
        ),
      },
    )
    .delete(
      `${PATH}/:name`,
      async ({ params, query, request, headers, set }) => {
        const { name } = params;
        const isDrop = query.drop === "true";
        const asked = { caller: callerOf(request), headers, route: `database-delete ${name} ${isDrop}` };
        if (!isDrop && wishOfDatabase(look(ports).state.spec.declared, name) === null)
          throw notDeclared(name);
        const wish = isDrop ? { state: "absent" as const } : null;
        await declareDatabases(ports, asked, { databases: { [name]: wish } });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeDatabases(ports, sight);
      },
      {
        params: databaseName,
        query: t.Object({
          drop: t.Optional(
            t.Union([t.Literal("true"), t.Literal("false")], {
              description:
                "Drop it with everything in it, once nobody is connected: it is declared to be absent",
            }),
          ),
        }),
        headers: specChangeHeaders,
        response: { 200: DatabasesSchema },
        detail: describeRoute(
          "access",
          "access",
          "Stop declaring a database, or drop it",
          "Without `drop` it stays as it is on the server. Nobody's session is ended for a drop: it waits, and says so.",
        ),
      },
    );
}

interface Declaration {
  readonly databases: Readonly<Record<string, DatabaseRequest | null>>;
  /** What is not named is not declared any more. */
  readonly isWhole?: boolean;
  /** Nothing of what was declared of the named ones stays. */
  readonly isReplaced?: boolean;
}

type Wish = Omit<DatabaseWish, "since">;

function declareDatabases(
  ports: ApiPorts,
  asked: Asked,
  { databases, isWhole = false, isReplaced = false }: Declaration,
): Promise<void> {
  return declare(ports, asked, async ({ state }): Promise<DeclaredChanges> => {
    const named = Object.entries(databases).map(
      ([name, request]) => [name, wished(asked.caller, isReplaced ? null : state, name, request)] as const,
    );
    const gone = isWhole
      ? Object.keys(state.spec.declared?.databases ?? {}).filter((name) => !Object.hasOwn(databases, name))
      : [];
    const changes = { ...Object.fromEntries(gone.map((name) => [name, null])), ...Object.fromEntries(named) };
    return { databases: changes };
  });
}

/** @param before what stays where it is not named; null: nothing does. */
function wished(
  caller: Caller,
  before: ClusterState | null,
  name: string,
  request: DatabaseRequest | null,
): Wish | null {
  const badName = flawOfDatabaseName(name);
  if (badName !== null) throw invalidWish("database", name, badName);
  if (request === null) return null;
  const merged = mergedDatabase(wishOfDatabase(before?.spec.declared, name), asDatabaseWish(request));
  const { since: _, ...wish } = merged as DatabaseWish;
  requireDatabase(caller, name, wish);
  return mayDo(caller.scopes, "admin") ? { ...wish, isTrusted: true } : wish;
}

export function asDatabaseWish({ state, settings, ...rest }: DatabaseRequest): Wish {
  return {
    ...rest,
    ...(state === "absent" ? { isAbsent: true } : {}),
    ...(settings === undefined ? {} : { settings: textsOf(settings) }),
  };
}

/** @throws {ApiProblem} 422 where it cannot be declared so, 403 where it is only `admin`'s to say. */
export function requireDatabase(caller: Caller, name: string, wish: Wish): void {
  const flaw = flawOfDatabaseName(name) ?? flawOfDatabase(name, wish);
  if (flaw !== null) throw invalidWish("database", name, flaw);
  const guarded = guardedDatabaseParts(name, wish);
  if (guarded.length > 0 && !mayDo(caller.scopes, "admin")) throw tooPowerful(name, guarded, caller);
}

function notDeclared(name: string): ApiProblem {
  return new ApiProblem({
    status: 404,
    code: "database-unknown",
    detail: `No database '${name.slice(0, 80)}' is declared.`,
    hint: "'guacamole database list' shows those that are; others are left alone.",
  });
}

async function describeDatabases(ports: ApiPorts, sight: Sight): Promise<DatabasesDocument> {
  const report = await askReport(ports, sight);
  const stateOf = statesIn(report);
  const databases = Object.entries(sight.state.spec.declared?.databases ?? {});
  const corrected = report.ok ? report.value.corrected.filter(({ kind }) => kind === "database") : [];
  return {
    generation: sight.state.generation,
    detail: report.ok ? null : report.error,
    databases: databases.map(([name, wish]) => describeDatabase(name, wish, stateOf)),
    corrected: corrected.map(({ name, what, atMs }) => ({ name, what, at: toInstant(atMs) })),
  };
}

async function describeOne(ports: ApiPorts, sight: Sight, name: string): Promise<DatabaseDocument> {
  const wish = wishOfDatabase(sight.state.spec.declared, name);
  if (wish === null) throw notDeclared(name);
  return describeDatabase(name, wish, statesIn(await askReport(ports, sight)));
}

function describeDatabase(
  name: string,
  wish: DatabaseWish,
  stateOf: ReturnType<typeof statesIn>,
): DatabaseDocument {
  const { since, isTrusted: _, isAbsent, settings, ...rest } = wish;
  return {
    name,
    ...stateOf({ kind: "database", name }, since),
    generation: since,
    // What is agreed is never changed in place: the document may be a copy.
    wish: {
      state: isAbsent === true ? "absent" : "present",
      ...(structuredClone(rest) as DatabaseRequest),
      ...(settings === undefined ? {} : { settings: shownSettings(settings) }),
    },
  };
}
