import { Elysia, t } from "elysia";
import { err } from "../base/result.ts";
import {
  type AskedServer,
  checkAgainstServers,
  checkNames,
  noticesOf,
  type ParameterIssue,
} from "../cluster/check-parameters.ts";
import type { Change } from "../cluster/command.ts";
import type { Member } from "../cluster/member.ts";
import { isGuarded, ownerOf } from "../cluster/parameter-rules.ts";
import {
  changedLayers,
  namesOf,
  type ParameterChanges,
  type ParameterLayers,
  type ParameterLayersChange,
  type ParameterRole,
  parametersOf,
  parseParameterName,
} from "../cluster/parameters.ts";
import { type Hides, MASK, mayCarrySecret } from "../cluster/secrets.ts";
import type { ClusterState } from "../cluster/state.ts";
import { type Caller, mayDo, scopesText } from "./access.ts";
import { changeWanted } from "./change-wanted.ts";
import { namedMember } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { type Answers, dataMembers, describeParameters, roleIn } from "./describe-parameters.ts";
import { type ParametersChange, ParametersChangeSchema, ParametersSchema } from "./parameter-documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";

/** PostgreSQL's parameters: what is wanted, what is in effect, and why (`roadmap/0004-postgres-configuration.md`). */
export function parameterRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/parameters",
      async ({ query, request, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        const names = query.name === undefined ? null : parseNames(query.name);
        const isAll = query.all === true && names === null;
        const wanted = namesOf(sight.state.spec.postgres?.parameters ?? {});
        const answers = await askAll(ports, sight, isAll ? null : (names ?? wanted));
        return describeParameters({
          state: sight.state,
          answers,
          names,
          notices: [],
          hides: maySee(callerOf(request)),
        });
      },
      {
        query: t.Composite([
          consistencyQuery,
          t.Object({
            name: t.Optional(t.String({ maxLength: 4_000, description: "These only, with commas" })),
            all: t.Optional(t.Boolean({ description: "Also what is as PostgreSQL has it by itself" })),
          }),
        ]),
        response: { 200: ParametersSchema },
        detail: describeRoute(
          "viewer",
          "postgres",
          "PostgreSQL's parameters: what is wanted, what is in effect on each member, and where it comes from",
          "Each member's server is asked. What may hold a secret (commands, connection strings) is shown to those who may set it. `pendingRestart`: another value waits for PostgreSQL to be started again. `isDrifting`: something else is in effect than what is wanted, and nothing that guacamole does will change it by itself.",
        ),
      },
    )
    .patch(
      "/v1/parameters",
      async ({ body, request, headers, set }) => {
        const caller = callerOf(request);
        const asked = { caller, headers, route: "parameters" };
        const names = namesOf(parseChange(look(ports).state, body));
        const told = await changeWanted(ports, asked, async (sight, generation) => {
          const { spec } = sight.state;
          const { after, notices } = await proveParameters(
            ports,
            sight,
            caller,
            parseChange(sight.state, body),
          );
          const isSame = JSON.stringify(after) === JSON.stringify(spec.postgres?.parameters ?? {});
          const postgres = { ...spec.postgres, parameters: after };
          const change: Change = { kind: "change-spec", generation, spec: { ...spec, postgres } };
          return { change: isSame ? null : change, told: notices };
        });
        const seen = look(ports).state;
        set.headers["etag"] = etagOf(seen);
        return describeParameters({
          state: seen,
          answers: await askAll(ports, look(ports), names),
          names,
          notices: told ?? [],
          hides: maySee(caller),
        });
      },
      {
        body: ParametersChangeSchema,
        headers: specChangeHeaders,
        response: { 200: ParametersSchema },
        detail: describeRoute(
          "operator",
          "postgres",
          "Change PostgreSQL's parameters, for the cluster, a role or a member",
          "Only what is named changes. Nothing is accepted that a server which can be reached would refuse: each is asked for its `pg_settings`, and tries the configuration aside. What runs programs or loads code needs the scope `admin`. The answer shows what is in effect at that moment: a reload takes a moment, and `notices` says what waits for a start.",
        ),
      },
    );
}

/**
 * Whether the servers would take a change of parameters: they are asked, and try it aside. Nothing is changed.
 *
 * @throws {ApiProblem} 403, 409, 422 or 503, saying why not.
 */
export async function proveParameters(
  ports: ApiPorts,
  sight: Sight,
  caller: Caller,
  change: ParameterLayersChange,
): Promise<{ readonly after: ParameterLayers; readonly notices: readonly string[] }> {
  const { state } = sight;
  refuseMasks(change);
  refuseUnlessAllowed(caller, change);
  refuseIssues(checkNames(change));
  if (state.reign === null) throw notInitialized();
  const ids = state.members.map(({ id }) => id);
  const after = changedLayers(state.spec.postgres?.parameters ?? {}, change, ids);
  const answers = await askAll(ports, sight, [...namesOf(change), "shared_preload_libraries"]);
  const servers = serversThatAnswered(state, answers);
  const isSet = wantsSomething(change);
  if (isSet) requireServers(state, change, servers, answers);
  refuseIssues(checkAgainstServers(change, after, servers));
  const untried = isSet ? await tryEverywhere(ports, state, after, servers) : [];
  const notices = [
    ...noticesOf(change, servers),
    ...unaskedNotices(state, answers),
    ...untried.map(
      ({ member, why }) =>
        `${member}: whether its PostgreSQL would start with this could not be tried (${why}).`,
    ),
  ];
  return { after, notices };
}

/** Who may say a value sees it; of what may hold a secret nobody else does. */
function maySee({ scopes }: Caller): Hides {
  const [isOperator, isAdmin] = [mayDo(scopes, "operator"), mayDo(scopes, "admin")];
  return (name) => {
    const needsAdmin = isGuarded(name) || ownerOf(name) !== null;
    return mayCarrySecret(name) && !(needsAdmin ? isAdmin : isOperator);
  };
}

/** Names in lower case. @throws {ApiProblem} 422 */
function parseNames(text: string): readonly string[] {
  return text.split(",").map((each) => requireName(each));
}

function requireName(text: string): string {
  const name = parseParameterName(text);
  if (name !== null) return name;
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail:
      "A name of a parameter has letters, digits and underscores; an extension's has a dot. Nothing was changed.",
  });
}

/** @throws {ApiProblem} 422 for a name that is none, 409 for a member that is none. */
export function parseChange(state: ClusterState, body: ParametersChange): ParameterLayersChange {
  const { cluster, primary, standby, members } = body;
  const byId = Object.entries(members ?? {}).map(([name, changes]) => {
    const member = namedMember(state, name);
    if (member.kind === "data") return [member.id, parseChanges(changes)] as const;
    throw new ApiProblem({
      status: 409,
      code: "member-unsuitable",
      detail: `${member.name} has no PostgreSQL. Nothing was changed.`,
    });
  });
  return {
    ...(cluster === undefined ? {} : { cluster: parseChanges(cluster) }),
    ...(primary === undefined ? {} : { primary: parseChanges(primary) }),
    ...(standby === undefined ? {} : { standby: parseChanges(standby) }),
    ...(members === undefined ? {} : { members: Object.fromEntries(byId) }),
  };
}

function parseChanges(changes: NonNullable<ParametersChange["cluster"]>): ParameterChanges {
  return Object.fromEntries(
    Object.entries(changes).map(([name, value]) => [requireName(name), textOf(value)]),
  );
}

function textOf(value: string | number | boolean | null): string | null {
  if (typeof value === "boolean") return value ? "on" : "off";
  return value === null ? null : String(value);
}

/** What was hidden from whoever sends it back is no value. @throws {ApiProblem} 422 */
function refuseMasks({ cluster, primary, standby, members }: ParameterLayersChange): void {
  const layers = [cluster, primary, standby, ...Object.values(members ?? {})];
  const hidden = layers
    .flatMap((layer) => Object.entries(layer ?? {}))
    .find(([name, value]) => value === MASK && mayCarrySecret(name));
  if (hidden === undefined) return;
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${hidden[0]}: '${MASK}' stands for a value that is hidden. Nothing was changed.`,
    hint: "Send the value itself, or leave it out.",
  });
}

/** @throws {ApiProblem} 403 */
function refuseUnlessAllowed(caller: Caller, change: ParameterLayersChange): void {
  const guarded = namesOf(change).filter(isGuarded);
  if (guarded.length === 0 || mayDo(caller.scopes, "admin")) return;
  throw new ApiProblem({
    status: 403,
    code: "scope-insufficient",
    detail: `${guarded.join(", ")}: this runs programs, loads code, writes files or lets damage pass. It needs a token of scope 'admin'; this one has ${scopesText(caller)}. Nothing was changed.`,
  });
}

/** @throws {ApiProblem} 422 with all of them. */
function refuseIssues(issues: readonly ParameterIssue[]): void {
  const [first] = issues;
  if (first === undefined) return;
  throw new ApiProblem({
    status: 422,
    code: first.code,
    detail: `${issues.map(({ message }) => message).join(" ")} Nothing was changed.`,
    errors: issues.map(({ name, message }) => ({ field: name, message })),
    hint: `'guacamole config show ${first.name}' says what is in effect, and what values it takes.`,
  });
}

function notInitialized(): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "not-initialized",
    detail: "There is no PostgreSQL yet that could say whether it takes this. Nothing was changed.",
    hint: "'guacamole init' builds the PostgreSQL cluster.",
  });
}

/** Every data member's server, at once. */
async function askAll(ports: ApiPorts, sight: Sight, names: readonly string[] | null): Promise<Answers> {
  const answers = await Promise.all(
    dataMembers(sight.state).map(async ({ id }) => {
      const answer = isUnreachable(sight, id)
        ? err("it cannot be reached")
        : await ports.serverSettings(id, names);
      return [id, answer] as const;
    }),
  );
  return new Map(answers);
}

function serversThatAnswered(state: ClusterState, answers: Answers): readonly AskedServer[] {
  return dataMembers(state).flatMap(({ id, name }) => {
    const answer = answers.get(id);
    if (answer?.ok !== true) return [];
    return [
      { memberId: id, memberName: name, isPrimary: state.reign?.primaryId === id, answer: answer.value },
    ];
  });
}

function wantsSomething({ cluster, primary, standby, members }: ParameterLayersChange): boolean {
  const layers = [cluster, primary, standby, ...Object.values(members ?? {})];
  return layers.some((layer) => Object.values(layer ?? {}).some((value) => value !== null));
}

/**
 * Nothing is accepted unheard: the primary's server speaks for the cluster, and each member's for itself.
 *
 * @throws {ApiProblem} 503
 */
function requireServers(
  state: ClusterState,
  { cluster, primary, standby, members }: ParameterLayersChange,
  servers: readonly AskedServer[],
  answers: Answers,
): void {
  const isForAll = cluster !== undefined || primary !== undefined || standby !== undefined;
  const needed = dataMembers(state).filter(
    ({ id }) => (isForAll && state.reign?.primaryId === id) || members?.[id] !== undefined,
  );
  const missing = needed.find(({ id }) => !servers.some(({ memberId }) => memberId === id));
  if (missing === undefined) return;
  throw new ApiProblem({
    status: 503,
    code: "member-unreachable",
    detail: `The PostgreSQL of ${missing.name} does not say whether it takes this (${whyNot(answers, missing)}). Nothing was changed.`,
    hint: "Ask again once it is up: 'guacamole status'.",
    headers: { "retry-after": "1" },
  });
}

function whyNot(answers: Answers, { id }: Member): string {
  const answer = answers.get(id);
  return answer === undefined || answer.ok ? "it was not asked" : answer.error;
}

function unaskedNotices(state: ClusterState, answers: Answers): readonly string[] {
  return dataMembers(state).flatMap((member) =>
    answers.get(member.id)?.ok === true
      ? []
      : [
          `${member.name}: its PostgreSQL was not asked (${whyNot(answers, member)}); it takes this over when it is back.`,
        ],
  );
}

/**
 * Has each server try what it would have, as the standby that it starts as and as the primary that it may become.
 *
 * @returns those that could not try it.
 * @throws {ApiProblem} 422 with PostgreSQL's own words.
 */
async function tryEverywhere(
  ports: ApiPorts,
  state: ClusterState,
  after: ParameterLayers,
  servers: readonly AskedServer[],
): Promise<readonly { readonly member: string; readonly why: string }[]> {
  const tried = await Promise.all(
    servers.map(async ({ memberId, memberName }) => {
      const roles: readonly ParameterRole[] = ["standby", "primary"];
      const wanted = roles.map((role) => parametersOf(after, memberId, role) ?? {});
      const different = [...new Map(wanted.map((each) => [JSON.stringify(each), each])).values()];
      const results = await Promise.all(different.map((each) => ports.tryParameters(memberId, each)));
      return results.map((result) => ({ memberId, member: memberName, result }));
    }),
  );
  const results = tried.flat();
  for (const { member, result } of results) {
    if (result.kind !== "refused") continue;
    throw new ApiProblem({
      status: 422,
      code: "parameter-refused",
      detail: `The PostgreSQL of ${member} would not start with this: ${result.why}. Nothing was changed.`,
    });
  }
  const unknown = results.flatMap(({ memberId, member, result }) =>
    result.kind === "unknown" ? [{ memberId, member, why: result.why }] : [],
  );
  const primary = unknown.find(({ memberId }) => roleIn(state, memberId) === "primary");
  if (primary === undefined) return unknown;
  throw new ApiProblem({
    status: 503,
    code: "member-unreachable",
    detail: `Whether the PostgreSQL of ${primary.member} would start with this could not be tried: ${primary.why}. Nothing was changed.`,
    hint: "A supervisor of an older release does not know how: it is replaced when PostgreSQL's host is started again.",
  });
}
