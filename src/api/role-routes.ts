import { Elysia, t } from "elysia";
import { isScramVerifier, SCRAM_ITERATIONS, SCRAM_SALT_BYTES, scramVerifier } from "../base/scram.ts";
import { flawOfRole, flawOfRoleName, guardedParts, mergedRole } from "../cluster/check-role.ts";
import { type DeclaredChanges, type LoginPair, type RoleWish, wishOfRole } from "../cluster/declared.ts";
import { flawOfRotation, loginName, previousState, withLogins } from "../cluster/login-pair.ts";
import type { ClusterState } from "../cluster/state.ts";
import { type Caller, mayDo } from "./access.ts";
import type { Asked } from "./change-wanted.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { declare, invalidWish, shownSettings, textsOf, tooPowerful } from "./declare.ts";
import { askReport, statesIn } from "./declared-state.ts";
import { toInstant } from "./describe.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import {
  type RoleDocument,
  type RoleRequest,
  RoleRequestSchema,
  RoleSchema,
  type RolesDocument,
  RolesRequestSchema,
  RolesSchema,
} from "./role-documents.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";

const roleName = t.Object({ name: t.String({ minLength: 1, maxLength: 200 }) });

/** Roles that are as they are said to be (`roadmap/0007-declared-roles.md`). */
export function roleRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false }).use(manyRoles(ports)).use(oneRole(ports));
}

function manyRoles(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/access/roles",
      async ({ query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeRoles(ports, sight);
      },
      {
        query: consistencyQuery,
        response: { 200: RolesSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "The roles that are declared, and whether the primary has them so",
          "Roles that nobody declared are not shown, and never touched. Of a password only that there is one is shown.",
        ),
      },
    )
    .patch(
      "/v1/access/roles",
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "roles" };
        const { drift, roles = {} } = body;
        await declareRoles(ports, asked, {
          isWhole: false,
          roles,
          ...(drift === undefined ? {} : { drift }),
        });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeRoles(ports, sight);
      },
      {
        body: RolesRequestSchema,
        headers: specChangeHeaders,
        response: { 200: RolesSchema },
        detail: describeRoute(
          "access",
          "access",
          "Change the declarations of several roles at once",
          "Of each, what is named replaces what was declared, entry by entry; the rest stays. Null stops declaring a role.",
        ),
      },
    )
    .put(
      "/v1/access/roles",
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "roles-all" };
        const { drift, roles = {} } = body;
        await declareRoles(ports, asked, { isWhole: true, roles, ...(drift === undefined ? {} : { drift }) });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeRoles(ports, sight);
      },
      {
        body: RolesRequestSchema,
        headers: specChangeHeaders,
        response: { 200: RolesSchema },
        detail: describeRoute(
          "access",
          "access",
          "Declare these roles, and no others",
          "Roles that are not in it are not declared any more, and stay as they are on the server.",
        ),
      },
    );
}

function oneRole(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/access/roles/:name",
      async ({ params, query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, params.name);
      },
      {
        params: roleName,
        query: consistencyQuery,
        response: { 200: RoleSchema },
        detail: describeRoute("viewer", "access", "One declared role, and whether the primary has it so"),
      },
    )
    .put(
      "/v1/access/roles/:name",
      async ({ params, body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `role-put ${params.name}` };
        await declareRoles(ports, asked, {
          isWhole: false,
          isReplaced: true,
          roles: { [params.name]: body },
        });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, params.name);
      },
      {
        params: roleName,
        body: RoleRequestSchema,
        headers: specChangeHeaders,
        response: { 200: RoleSchema },
        detail: describeRoute(
          "access",
          "access",
          "Declare a role: this, and nothing that was declared of it before",
          "It is made where it is missing. What is not named stays as it is on the server, its password, too.",
        ),
      },
    )
    .patch(
      "/v1/access/roles/:name",
      async ({ params, body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: `role ${params.name}` };
        await declareRoles(ports, asked, { isWhole: false, roles: { [params.name]: body } });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeOne(ports, sight, params.name);
      },
      {
        params: roleName,
        body: RoleRequestSchema,
        headers: specChangeHeaders,
        response: { 200: RoleSchema },
        detail: describeRoute(
          "access",
          "access",
          "Change what is declared of a role",
          "What is named replaces what was declared, entry by entry. What makes a role as powerful as a superuser needs the scope `admin`.",
        ),
      },
    )
    .delete(
      "/v1/access/roles/:name",
      async ({ params, query, request, headers, set }) => {
        const { name } = params;
        const isDrop = query.drop === "true";
        const asked = { caller: callerOf(request), headers, route: `role-delete ${name} ${isDrop}` };
        const { state } = look(ports);
        if (!isDrop && wishOfRole(state.spec.declared, name) === null) throw notDeclared(name);
        await declareRoles(ports, asked, {
          isWhole: false,
          roles: { [name]: isDrop ? { state: "absent" } : null },
        });
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeRoles(ports, sight);
      },
      {
        params: roleName,
        query: t.Object({
          drop: t.Optional(
            t.Union([t.Literal("true"), t.Literal("false")], {
              description: "Drop it, and see to it that it stays away: it is declared to be absent",
            }),
          ),
        }),
        headers: specChangeHeaders,
        response: { 200: RolesSchema },
        detail: describeRoute(
          "access",
          "access",
          "Stop declaring a role, or drop it",
          "Without `drop` it stays as it is on the server. A role that owns something is not dropped: its state says what to do.",
        ),
      },
    );
}

interface Declaration {
  /** What is not named is not declared any more. */
  readonly isWhole: boolean;
  /** Nothing of what was declared of the named ones stays. */
  readonly isReplaced?: boolean;
  readonly drift?: "correct" | "report";
  readonly roles: Readonly<Record<string, RoleRequest | null>>;
}

function declareRoles(ports: ApiPorts, asked: Asked, declaration: Declaration): Promise<void> {
  return declare(ports, asked, async ({ state }): Promise<DeclaredChanges> => {
    const { drift, isWhole, roles } = declaration;
    const named = await wishedRoles(ports, asked.caller, state, declaration);
    const gone = isWhole
      ? Object.keys(state.spec.declared?.roles ?? {}).filter((name) => !Object.hasOwn(roles, name))
      : [];
    return {
      roles: { ...Object.fromEntries(gone.map((name) => [name, null])), ...Object.fromEntries(named) },
      ...(drift === undefined ? {} : { drift }),
    };
  });
}

type Wish = Omit<RoleWish, "since">;

async function wishedRoles(
  ports: ApiPorts,
  caller: Caller,
  state: ClusterState,
  { isWhole, isReplaced = isWhole, roles }: Declaration,
): Promise<readonly (readonly [string, Wish | null])[]> {
  const entries = Object.entries(roles);
  const isHashing = entries.some(([, each]) => isPlain(each?.password));
  const iterations = isHashing ? await scramIterations(ports, state) : SCRAM_ITERATIONS;
  const wished: (readonly [string, Wish | null])[] = [];
  for (const [name, request] of entries) {
    const badName = flawOfRoleName(name);
    if (badName !== null) throw invalidWish("role", name, `${badName}`);
    if (request === null) {
      wished.push([name, null]);
      continue;
    }
    const { password } = request;
    const verifier =
      password === undefined ? {} : { password: await asVerifier(ports, name, password, iterations) };
    const change = { ...asWish(name, request), ...verifier };
    const present = wishOfRole(state.spec.declared, name);
    const merged = withLogins(present, mergedRole(isReplaced ? null : present, change));
    requireRole(caller, name, merged);
    wished.push([name, mayDo(caller.scopes, "admin") ? { ...merged, isTrusted: true } : merged]);
  }
  return wished;
}

/** @throws {ApiProblem} 422 where it cannot be declared so, 403 where it gives what is only `admin`'s to give. */
export function requireRole(caller: Caller, name: string, wish: Wish): void {
  const flaw = flawOfRoleName(name) ?? flawOfRole(wish) ?? flawOfRotation(name, wish);
  if (flaw !== null) throw invalidWish("role", name, flaw);
  const guarded = guardedParts(wish);
  if (guarded.length > 0 && !mayDo(caller.scopes, "admin")) throw tooPowerful(name, guarded, caller);
}

function isPlain(password: string | null | undefined): password is string {
  return typeof password === "string" && !isScramVerifier(password);
}

/** What is asked for, without its password. @throws {ApiProblem} 422 for a time that is none. */
export function asWish(name: string, request: RoleRequest): Wish {
  const { state, validUntil, password: _, settings, databaseSettings, ...rest } = request;
  const databases = Object.entries(databaseSettings ?? {}).map(
    ([database, each]) => [database, textsOf(each)] as const,
  );
  return {
    ...rest,
    ...(state === "absent" ? { isAbsent: true } : {}),
    ...(validUntil === undefined
      ? {}
      : { validUntil: validUntil === null ? null : instant(name, validUntil) }),
    ...(settings === undefined ? {} : { settings: textsOf(settings) }),
    ...(databaseSettings === undefined ? {} : { databaseSettings: Object.fromEntries(databases) }),
  };
}

/** As it is kept. @throws {ApiProblem} 422 for one that nobody can send. */
export async function verifierOf(ports: ApiPorts, state: ClusterState, name: string, password: string) {
  const iterations = isPlain(password) ? await scramIterations(ports, state) : SCRAM_ITERATIONS;
  return asVerifier(ports, name, password, iterations);
}

async function asVerifier<P extends string | null>(
  ports: ApiPorts,
  name: string,
  password: P,
  iterations: number,
): Promise<P | string> {
  if (!isPlain(password)) return password;
  if (password.includes("\u0000"))
    throw invalidWish("role", name, "no client can send a password with a NUL in it");
  return scramVerifier(password, ports.newSalt(SCRAM_SALT_BYTES), iterations);
}

/** As the server would hash it; what it takes by default where it does not say. */
async function scramIterations(ports: ApiPorts, { reign }: ClusterState): Promise<number> {
  if (reign === null) return SCRAM_ITERATIONS;
  const answer = await ports.serverSettings(reign.primaryId, ["scram_iterations"]);
  const setting = answer.ok
    ? answer.value.settings.find(({ name }) => name === "scram_iterations")
    : undefined;
  return setting === undefined ? SCRAM_ITERATIONS : Number(setting.setting);
}

function instant(name: string, text: string): string {
  const isZoned = /(?:Z|[+-]\d\d:?\d\d)$/i.test(text);
  const atMs = isZoned ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(atMs)) throw invalidWish("role", name, "validUntil is a time as ISO 8601 with its zone");
  return new Date(atMs).toISOString();
}

export function notDeclared(name: string): ApiProblem {
  return new ApiProblem({
    status: 404,
    code: "role-unknown",
    detail: `No role '${name.slice(0, 80)}' is declared.`,
    hint: "'guacamole role list' shows those that are; others are left alone.",
  });
}

async function describeRoles(ports: ApiPorts, sight: Sight): Promise<RolesDocument> {
  const { declared } = sight.state.spec;
  const report = await askReport(ports, sight);
  const stateOf = statesIn(report);
  const roles = Object.entries(declared?.roles ?? {});
  const corrected = report.ok ? report.value.corrected.filter(({ kind }) => kind === "role") : [];
  return {
    generation: sight.state.generation,
    drift: declared?.drift ?? "correct",
    detail: report.ok ? null : report.error,
    roles: roles.map(([name, wish]) => describeRole(name, wish, stateOf, toInstant(ports.clock.wallMs()))),
    corrected: corrected.map(({ name, what, atMs }) => ({ name, what, at: toInstant(atMs) })),
  };
}

/** @throws {ApiProblem} 404 where nobody declared it. */
export async function describeOne(ports: ApiPorts, sight: Sight, name: string): Promise<RoleDocument> {
  const wish = wishOfRole(sight.state.spec.declared, name);
  if (wish === null) throw notDeclared(name);
  return describeRole(name, wish, statesIn(await askReport(ports, sight)), toInstant(ports.clock.wallMs()));
}

function describeRole(
  name: string,
  wish: RoleWish,
  stateOf: ReturnType<typeof statesIn>,
  now: string,
): RoleDocument {
  const { since, isTrusted: _, isAbsent, password, memberOf, settings, databaseSettings, ...others } = wish;
  const { logins, rotation, ...rest } = others;
  const databases = Object.entries(databaseSettings ?? {}).map(
    ([each, own]) => [each, shownSettings(own)] as const,
  );
  return {
    name,
    ...stateOf({ kind: "role", name }, since),
    generation: since,
    wish: {
      state: isAbsent === true ? "absent" : "present",
      ...rest,
      ...(password === undefined ? {} : { password: password === null ? "none" : "scram-sha-256" }),
      ...(memberOf === undefined ? {} : { memberOf: { ...memberOf } }),
      ...(settings === undefined ? {} : { settings: shownSettings(settings) }),
      ...(databaseSettings === undefined ? {} : { databaseSettings: Object.fromEntries(databases) }),
      ...(rotation === undefined ? {} : { rotation: { ...rotation } }),
    },
    ...(logins === undefined || isAbsent === true ? {} : { logins: describeLogins(name, logins, now) }),
  };
}

function describeLogins(role: string, logins: LoginPair, now: string): NonNullable<RoleDocument["logins"]> {
  const { newest, previous } = logins;
  return {
    newest: loginName(role, newest),
    previous: {
      login: loginName(role, previous.login),
      until: previous.until,
      state: previousState(logins, now),
    },
  };
}
