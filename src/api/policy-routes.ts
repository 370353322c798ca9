import { Elysia, t } from "elysia";
import { breakGlassPolicyOf } from "../cluster/break-glass.ts";
import {
  type ClusterSpec,
  DEFAULT_ASYNC,
  DEFAULT_QUORUM,
  type Durability,
  failoverOf,
} from "../cluster/spec.ts";
import { type ClusterState, memberName } from "../cluster/state.ts";
import {
  BreakGlassPolicyChangeSchema,
  type BreakGlassPolicyDocument,
  BreakGlassPolicySchema,
} from "./break-glass-documents.ts";
import { changeWanted } from "./change-wanted.ts";
import { idempotent } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { describeCohort, describeMember, describeTags, roleOf, toInstant } from "./describe.ts";
import {
  PauseRequestSchema,
  type PausesDocument,
  PausesSchema,
  type TopologyChange,
  TopologyChangeSchema,
  type TopologyDocument,
  TopologySchema,
} from "./documents.ts";
import {
  changedBreakGlass,
  changedTiming,
  effectiveTiming,
  requireEnoughStandbys,
  requireSoundTiming,
} from "./policy-checks.ts";
import type { ApiPorts } from "./ports.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";
import { submit, wishOf } from "./submit.ts";

/** What operators want: how commits are kept, when a failover happens, and when it does not. */
export function policyRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/topology",
      async ({ query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeTopology(sight);
      },
      {
        query: consistencyQuery,
        response: { 200: TopologySchema },
        detail: describeRoute("viewer", "cluster", "Who follows whom, and how commits are kept"),
      },
    )
    .patch(
      "/v1/topology",
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "topology" };
        await changeWanted(ports, asked, async ({ state }, generation) => ({
          change: { kind: "change-spec", generation, spec: changedSpec(state, body) },
          told: null,
        }));
        const sight = look(ports);
        set.headers["etag"] = etagOf(sight.state);
        return describeTopology(sight);
      },
      {
        body: TopologyChangeSchema,
        headers: specChangeHeaders,
        response: { 200: TopologySchema },
        detail: describeRoute(
          "operator",
          "cluster",
          "Change how commits are kept, when a failover happens, and how fast",
          "Only what is named changes, and without If-Match it is made again where somebody else was faster. With `async` durability a failover may lose commits that were acknowledged: `notice` says how many.",
        ),
      },
    )
    .get(
      "/v1/access/break-glass/policy",
      async ({ query, set }) => {
        const { state } = await lookWith(ports, query);
        set.headers["etag"] = etagOf(state);
        return describeBreakGlassPolicy(state);
      },
      {
        query: consistencyQuery,
        response: { 200: BreakGlassPolicySchema },
        detail: describeRoute("viewer", "access", "What is asked of break-glass access"),
      },
    )
    .patch(
      "/v1/access/break-glass/policy",
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "break-glass-policy" };
        await changeWanted(ports, asked, async ({ state }, generation) => ({
          change: {
            kind: "change-spec",
            generation,
            spec: { ...state.spec, breakGlass: changedBreakGlass(state.spec, body) },
          },
          told: null,
        }));
        const now = look(ports).state;
        set.headers["etag"] = etagOf(now);
        return describeBreakGlassPolicy(now);
      },
      {
        body: BreakGlassPolicyChangeSchema,
        headers: specChangeHeaders,
        response: { 200: BreakGlassPolicySchema },
        detail: describeRoute(
          "admin",
          "access",
          "Change what is asked of break-glass access",
          "Only what is named changes, and only for what is asked for from then on.",
        ),
      },
    )
    .get("/v1/pause", async ({ query }) => describePauses((await lookWith(ports, query)).state), {
      query: consistencyQuery,
      response: { 200: PausesSchema },
      detail: describeRoute("viewer", "cluster", "Why no failover happens by itself; empty: it does"),
    })
    .post(
      "/v1/pause",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(ports, callerOf(request), "pause", headers["idempotency-key"] ?? null);
        await submit(ports, wish, { kind: "pause", reason: body.reason });
        set.status = 201;
        return describePauses(look(ports).state);
      },
      {
        body: PauseRequestSchema,
        headers: idempotent,
        response: { 201: PausesSchema },
        detail: describeRoute(
          "operator",
          "cluster",
          "Let no failover happen by itself, for a reason",
          "It lasts until every reason is taken back. What a person asks for still happens.",
        ),
      },
    )
    .delete(
      "/v1/pause",
      async ({ query, request, headers }) => {
        const wish = wishOf(ports, callerOf(request), "resume", headers["idempotency-key"] ?? null);
        await submit(ports, wish, { kind: "resume", reason: query.reason ?? null });
        return describePauses(look(ports).state);
      },
      {
        query: t.Object({
          reason: t.Optional(t.String({ maxLength: 200, description: "This one only; absent: all" })),
        }),
        headers: idempotent,
        response: { 200: PausesSchema },
        detail: describeRoute("operator", "cluster", "Take a reason back, or all of them"),
      },
    );
}

function describeBreakGlassPolicy({ spec, generation }: ClusterState): BreakGlassPolicyDocument {
  const { approvals, durationMsDefault, durationMsMax } = breakGlassPolicyOf(spec);
  return {
    generation,
    approvals,
    defaultSeconds: durationMsDefault / 1_000,
    maxSeconds: durationMsMax / 1_000,
  };
}

/** @throws {ApiProblem} 422 where the result would contradict itself, with the names that do. */
function changedSpec(state: ClusterState, change: TopologyChange): ClusterSpec {
  const { spec } = state;
  const timing = changedTiming(spec.timing, change.timing);
  requireSoundTiming(timing);
  const durability = changedDurability(spec.durability, change.durability);
  if (change.durability !== undefined) requireEnoughStandbys(state, durability);
  const failover = { ...failoverOf(spec), ...change.failover };
  return { ...spec, durability, timing, ...(change.failover === undefined ? {} : { failover }) };
}

/** What stands stays where a change does not speak of it; what another mode brings is as it comes. */
function changedDurability(present: Durability, change: TopologyChange["durability"]): Durability {
  if (change === undefined) return present;
  if (change.mode === "async") return { ...(present.mode === "async" ? present : DEFAULT_ASYNC), ...change };
  const { staleReads, ...rest } = {
    ...(present.mode === "quorum" ? present : DEFAULT_QUORUM),
    ...change,
  };
  return staleReads === "refuse" ? { ...rest, staleReads } : rest;
}

function describeTopology(sight: Sight): TopologyDocument {
  const { reign, spec, members, generation } = sight.state;
  return {
    generation,
    durability: { ...spec.durability },
    failover: { ...failoverOf(spec) },
    timing: effectiveTiming(sight.state),
    notice: noticeOf(spec.durability),
    primary: reign === null ? null : memberName(sight.state, reign.primaryId),
    cohort: reign === null ? null : describeCohort(sight, reign.cohort),
    members: members.map((member) => {
      const { upstream, isInCohort } = describeMember(sight, member);
      return {
        name: member.name,
        role: roleOf(sight, member),
        upstream,
        isInCohort,
        ...describeTags(member.tags),
      };
    }),
  };
}

/** What a durability costs, in words; null where no acknowledged commit is ever lost. */
function noticeOf(durability: Durability): string | null {
  if (durability.mode === "async") {
    return `A failover may lose commits that were acknowledged: whatever had not reached the successor. By itself no member is appointed that is known to lack more than ${durability.maxLagBytes} bytes of WAL.`;
  }
  const notices = [
    durability.onQuorumLoss === "degrade"
      ? "With too few standbys left, commits are acknowledged with fewer copies, and then no other member can take over without them."
      : "",
    durability.staleReads === "refuse"
      ? "A primary that hears of no majority ends before its lease does: then nothing is read from it either."
      : "",
  ].filter((notice) => notice !== "");
  return notices.length === 0 ? null : notices.join(" ");
}

function describePauses({ pauses = [] }: ClusterState): PausesDocument {
  return pauses.map(({ reason, by, atMs }) => ({ reason, by, since: toInstant(atMs) }));
}
