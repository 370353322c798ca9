import { Elysia, t } from "elysia";
import type { ClusterSpec } from "../cluster/spec.ts";
import { changesBetween, type SpecVersion, specAt, versionsOf } from "../cluster/spec-history.ts";
import type { ClusterState } from "../cluster/state.ts";
import { changeWanted } from "./change-wanted.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeBlame, describeChanges, describeVersion } from "./describe-versions.ts";
import { hiddenFrom } from "./hidden-from.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { provenSpec } from "./prove-spec.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, type Sight, statusOf } from "./sight.ts";
import { describeSpec, SpecBodySchema } from "./spec-body.ts";
import {
  SpecAppliedSchema,
  SpecAtSchema,
  SpecBlameSchema,
  SpecDiffSchema,
  type SpecDocument,
  SpecHistorySchema,
  SpecSchema,
} from "./spec-documents.ts";
import { targetOf, targetOfVersion } from "./spec-target.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";
import { requireUnderstood } from "./submit.ts";

const generationOf = (description: string) => t.Integer({ minimum: 1, description });

/** The versions of what operators want: who changed what and why, and the way back (`roadmap/0010-spec-history.md`). */
export function specRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false }).use(wholeSpec(ports)).use(versions(ports));
}

function wholeSpec(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/spec",
      async ({ query, request, set }) => {
        const sight = await lookWith(ports, query);
        const { state } = sight;
        set.headers["etag"] = etagOf(state);
        const { spec, generation, specHistory } = state;
        const checksum = specHistory?.at(-1)?.checksum ?? null;
        return {
          generation,
          spec: describeSpec(state, spec, hiddenFrom(callerOf(request))),
          checksum,
          members: describeInForce(sight),
        };
      },
      {
        query: consistencyQuery,
        response: { 200: SpecSchema },
        detail: describeRoute(
          "viewer",
          "cluster",
          "What operators want of the cluster",
          "All of it, as it may be sent back. Secrets are masked, and stay what they are where the mask is sent back. Commands, into which a secret may be written, are shown to `admin` only.",
        ),
      },
    )
    .put(
      "/v1/spec",
      async ({ body, query, request, headers, set }) => {
        const caller = callerOf(request);
        const isDryRun = query.dryRun === "true";
        const told = await changeWanted(ports, { caller, headers, route: "spec" }, async (sight) => {
          const { state } = sight;
          const proven = await provenSpec(ports, sight, caller, targetOf(state, caller, body));
          const { change, after, notices, tried } = proven;
          if (change !== null && isDryRun) requireUnderstood(state, change);
          const changes = describeChanges(state, changesBetween(state.spec, after), hiddenFrom(caller));
          return { change: isDryRun ? null : change, told: { state, changes, notices: [...notices], tried } };
        });
        const { state: seen, ...rest } = told ?? { state: null, changes: [], notices: [], tried: [] };
        const now = isDryRun && seen !== null ? seen : look(ports).state;
        set.headers["etag"] = etagOf(now);
        return { generation: now.generation, isDryRun, ...rest };
      },
      {
        body: SpecBodySchema,
        query: t.Object({
          dryRun: t.Optional(
            t.Union([t.Literal("true"), t.Literal("false")], {
              description: "Check all of it, say what it would change, and change nothing",
            }),
          ),
        }),
        headers: specChangeHeaders,
        response: { 200: SpecAppliedSchema },
        detail: describeRoute(
          "viewer",
          "cluster",
          "Want all of this, as one change or not at all",
          "A section that is absent stays as it is; one that is there is all that is wanted of it. Through the checks of the single routes, and with their scopes: what differs decides. durability, failover, timing and postgres need `operator`, access and declared `access`, the rest `admin`, and so does whatever needs it on its own route.",
        ),
      },
    );
}

function versions(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/spec/history",
      async ({ query, request, set }) => {
        const { state } = await lookWith(ports, query);
        set.headers["etag"] = etagOf(state);
        const hides = hiddenFrom(callerOf(request));
        const { limit = 50, before = Number.POSITIVE_INFINITY } = query;
        const older = requireChain(state)
          .toReversed()
          .filter(({ generation }) => generation < before);
        const versions = older.slice(0, limit).map((version) => describeVersion(state, version, hides));
        const next = older.length > limit ? (versions.at(-1)?.generation ?? null) : null;
        return { generation: state.generation, versions, next };
      },
      {
        query: t.Composite([
          consistencyQuery,
          t.Object({
            limit: t.Optional(t.Integer({ minimum: 1, maximum: 200, default: 50 })),
            before: t.Optional(generationOf("Older ones than this: `next` of the page before")),
          }),
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
      async ({ params, query, request }) => {
        const { state } = await lookWith(ports, query);
        const spec = requireVersion(state, params.generation);
        return {
          generation: params.generation,
          spec: describeSpec(state, spec, hiddenFrom(callerOf(request))),
        };
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
      async ({ query, request }) => {
        const { state } = await lookWith(ports, query);
        const to = query.to ?? state.generation;
        const changes = changesBetween(requireVersion(state, query.from), requireVersion(state, to));
        return {
          from: query.from,
          to,
          changes: describeChanges(state, changes, hiddenFrom(callerOf(request))),
        };
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
      async ({ query, request }) => {
        const { state } = await lookWith(ports, query);
        requireChain(state);
        return describeBlame(state, query.path ?? "", hiddenFrom(callerOf(request)));
      },
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
        const reason = caller.asked.reason ?? `back to generation ${params.generation}`;
        const asker = { ...caller, asked: { ...caller.asked, reason } };
        await changeWanted(ports, { caller: asker, headers, route }, async (sight) => {
          const target = targetOfVersion(sight.state, requireVersion(sight.state, params.generation));
          const { change } = await provenSpec(ports, sight, caller, target);
          return { change, told: null };
        });
        const now = look(ports).state;
        set.headers["etag"] = etagOf(now);
        const versions = (now.specHistory ?? []).slice(-1);
        return {
          generation: now.generation,
          versions: versions.map((version) => describeVersion(now, version, hiddenFrom(caller))),
          next: null,
        };
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

/** @throws {ApiProblem} 500 where the chain does not hold. */
function requireChain(state: ClusterState): readonly SpecVersion[] {
  const versions = versionsOf(state);
  if (versions.ok) return versions.value;
  throw new ApiProblem({
    status: 500,
    code: "internal-error",
    detail: "The versions that are kept do not fit their checksums, or not the present settings.",
  });
}

/** Which members have the present version. */
function describeInForce(sight: Sight): SpecDocument["members"] {
  const { generation, specHistory, members } = sight.state;
  const checksum = specHistory?.at(-1)?.checksum ?? null;
  return members.map(({ id, name }) => {
    const said = isUnreachable(sight, id) ? undefined : statusOf(sight, id)?.spec;
    // One that is ahead of who is asked has all of this, too.
    if (said === undefined) return { name, state: "unknown" as const, generation: null };
    if (said.generation < generation) return { name, state: "behind" as const, generation: said.generation };
    const isSame = said.generation > generation || said.checksum === checksum;
    return {
      name,
      state: isSame ? ("in-force" as const) : ("different" as const),
      generation: said.generation,
    };
  });
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
