import { Elysia, t } from "elysia";
import { isSameParameters, layersChange } from "../cluster/parameters.ts";
import { withoutSecrets } from "../cluster/secrets.ts";
import type { ClusterSpec } from "../cluster/spec.ts";
import {
  blame,
  changesBetween,
  leavesOf,
  type SpecChange,
  type SpecVersion,
  specAt,
} from "../cluster/spec-history.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { Caller } from "./access.ts";
import { proveRules } from "./access-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { toInstant } from "./describe.ts";
import { proveParameters } from "./parameter-routes.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import {
  SpecAtSchema,
  type SpecBlameDocument,
  SpecBlameSchema,
  type SpecChangeDocument,
  SpecDiffSchema,
  SpecHistorySchema,
  type SpecVersionDocument,
} from "./spec-documents.ts";
import { etagOf, requireMatch, specChangeHeaders } from "./spec-version.ts";
import { submit, wishOf } from "./submit.ts";

const generationOf = (description: string) => t.Integer({ minimum: 1, description });
const BLAMED_MAX = 2_000;

/** The versions of what operators want: who changed what and why, and the way back (`roadmap/0010-spec-history.md`). */
export function specRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/spec/history",
      async ({ query, set }) => {
        const { state } = await lookWith(ports, query);
        set.headers["etag"] = etagOf(state);
        const versions = (state.specHistory ?? []).toReversed().slice(0, query.limit ?? 50);
        return { generation: state.generation, versions: versions.map(describeVersion) };
      },
      {
        query: t.Composite([
          consistencyQuery,
          t.Object({ limit: t.Optional(t.Integer({ minimum: 1, maximum: 200, default: 50 })) }),
        ]),
        response: { 200: SpecHistorySchema },
        detail: describeRoute(
          "viewer",
          "cluster",
          "The versions of what operators want, newest first: who changed what, and why",
          "A chain: each carries its parent's checksum. The latest two hundred are kept, fewer where much was changed at once. Secrets are masked.",
        ),
      },
    )
    .get(
      "/v1/spec/history/:generation",
      async ({ params, query }) => {
        const { state } = await lookWith(ports, query);
        const spec = requireVersion(state, params.generation);
        return { generation: params.generation, spec: withoutSecrets(spec) };
      },
      {
        params: t.Object({ generation: generationOf("A generation that is kept") }),
        query: consistencyQuery,
        response: { 200: SpecAtSchema },
        detail: describeRoute("viewer", "cluster", "All that operators wanted in one version"),
      },
    )
    .get(
      "/v1/spec/diff",
      async ({ query }) => {
        const { state } = await lookWith(ports, query);
        const to = query.to ?? state.generation;
        const changes = changesBetween(requireVersion(state, query.from), requireVersion(state, to));
        return { from: query.from, to, changes: changes.flatMap(describeChange) };
      },
      {
        query: t.Composite([
          consistencyQuery,
          t.Object({
            from: generationOf("A generation that is kept"),
            to: t.Optional(generationOf("Another; absent: the present one")),
          }),
        ]),
        response: { 200: SpecDiffSchema },
        detail: describeRoute("viewer", "cluster", "What two versions say differently"),
      },
    )
    .get(
      "/v1/spec/blame",
      async ({ query }) => describeBlame((await lookWith(ports, query)).state, query.path ?? ""),
      {
        query: t.Composite([
          consistencyQuery,
          t.Object({
            path: t.Optional(
              t.String({ maxLength: 200, description: "Only what begins so: `postgres.parameters`" }),
            ),
          }),
        ]),
        response: { 200: SpecBlameSchema },
        detail: describeRoute("viewer", "cluster", "For each value: which version said so, who and why"),
      },
    )
    .post(
      "/v1/spec/history/:generation/rollback",
      async ({ params, request, headers, set }) => {
        const caller = callerOf(request);
        const route = `spec-rollback ${params.generation}`;
        const wish = wishOf(ports, caller, route, headers["idempotency-key"] ?? null);
        const sight = look(ports);
        const { state } = sight;
        const generation = requireMatch(state, headers["if-match"] ?? null);
        const target = requireVersion(state, params.generation);
        const spec = await proven(ports, sight, caller, target);
        const reason = caller.asked.reason ?? `back to generation ${params.generation}`;
        const said = { ...wish, caller: { ...caller, asked: { ...caller.asked, reason } } };
        await submit(ports, said, { kind: "change-spec", generation, spec });
        const now = look(ports).state;
        set.headers["etag"] = etagOf(now);
        const versions = (now.specHistory ?? []).slice(-1);
        return { generation: now.generation, versions: versions.map(describeVersion) };
      },
      {
        params: t.Object({ generation: generationOf("Back to this one") }),
        headers: specChangeHeaders,
        response: { 200: SpecHistorySchema },
        detail: describeRoute(
          "admin",
          "cluster",
          "Want again what was wanted in an earlier version, as a new one",
          "Through the checks of every change: the servers that can be reached are asked whether they take its parameters and its rules for connections. Roles that were declared since stay on the server, and are declared no more.",
        ),
      },
    );
}

/** @throws {ApiProblem} 404 where it is not kept, 500 where the chain does not hold. */
function requireVersion(state: ClusterState, generation: number): ClusterSpec {
  const spec = specAt(state, generation);
  if (spec.ok) return spec.value;
  if (spec.error === "chain-broken") {
    throw new ApiProblem({
      status: 500,
      code: "internal-error",
      detail: `The versions between generation ${state.generation} and ${generation} do not fit each other's checksums.`,
    });
  }
  const kept = (state.specHistory ?? []).map((version) => version.generation);
  throw new ApiProblem({
    status: 404,
    code: "not-found",
    detail: `Generation ${generation} is not kept.`,
    hint:
      kept.length === 0
        ? "None is: the settings were not changed since versions are kept."
        : `Kept are ${kept[0]} to ${kept.at(-1)}; 'guacamole spec history' lists them.`,
  });
}

/**
 * An earlier spec as it may be wanted again: what differs is asked of the servers first.
 *
 * @throws {ApiProblem} what a change of the same things would be refused with.
 */
async function proven(
  ports: ApiPorts,
  sight: Sight,
  caller: Caller,
  target: ClusterSpec,
): Promise<ClusterSpec> {
  const { state } = sight;
  const revision = state.generation + 1;
  const { postgres, access, declared, ...others } = target;
  const present = state.spec.postgres?.parameters ?? {};
  const wanted = postgres?.parameters ?? {};
  const parameters = isSameParameters(present, wanted)
    ? present
    : (await proveParameters(ports, sight, caller, layersChange(present, wanted))).after;
  const isSameAccess = changesBetween(state.spec.access, access).length === 0;
  const rules = access === undefined || isSameAccess ? access : { ...access, revision };
  if (rules !== undefined && !isSameAccess) await proveRules(ports, sight, rules);
  const isSameDeclared = changesBetween(state.spec.declared, declared).length === 0;
  const roles = isSameDeclared ? state.spec.declared : declared && { ...declared, revision };
  return {
    ...others,
    ...(Object.keys(parameters).length === 0 ? {} : { postgres: { ...postgres, parameters } }),
    ...(rules === undefined ? {} : { access: isSameAccess ? (state.spec.access ?? rules) : rules }),
    ...(roles === undefined ? {} : { declared: roles }),
  };
}

function describeVersion(version: SpecVersion): SpecVersionDocument {
  const { generation, checksum, parent, by, byName, reason, request, atMs, changes } = version;
  const at = toInstant(atMs);
  return {
    generation,
    checksum,
    parent,
    at,
    by,
    byName,
    reason,
    request,
    changes: changes.flatMap(describeChange),
  };
}

/** Of what came or went as a whole, value by value. */
function describeChange({ path, at, before, after }: SpecChange): readonly SpecChangeDocument[] {
  if (before === undefined)
    return leavesOf(after, path).map((leaf) => described(leaf.path, null, undefined, leaf.value));
  if (after === undefined)
    return leavesOf(before, path).map((leaf) => described(leaf.path, null, leaf.value, undefined));
  return [described(path, at ?? null, before, after)];
}

function described(
  path: readonly string[],
  at: number | null,
  before: unknown,
  after: unknown,
): SpecChangeDocument {
  const name = path.at(-1) ?? "";
  return {
    path: pathText(path),
    at,
    before: withoutSecrets(before, name),
    after: withoutSecrets(after, name),
  };
}

function describeBlame(state: ClusterState, prefix: string): SpecBlameDocument {
  const all = blame(state).filter(({ path }) => pathText(path).startsWith(prefix));
  const values = all.slice(0, BLAMED_MAX).map(({ path, value, version }) => ({
    path: pathText(path),
    value: withoutSecrets(value, path.at(-1)),
    generation: version?.generation ?? null,
    at: version === null ? null : toInstant(version.atMs),
    by: version === null ? null : (version.byName ?? version.by),
    reason: version?.reason ?? null,
  }));
  return { generation: state.generation, values, untold: all.length - values.length };
}

function pathText(path: readonly string[]): string {
  return path.map((key) => (/^[^."]+$/.test(key) ? key : JSON.stringify(key))).join(".");
}
