import { Elysia, t } from "elysia";
import { formatIpNetwork, parseIpAddress, parseIpNetwork } from "../base/ip-network.ts";
import { SCRAM_SALT_BYTES, scramVerifier } from "../base/scram.ts";
import {
  BREAK_GLASS_PREFIX,
  type BreakGlassGrant,
  breakGlassPolicyOf,
  expiresAtMs,
} from "../cluster/break-glass.ts";
import type { Change } from "../cluster/command.ts";
import type { Member } from "../cluster/member.ts";
import {
  type BreakGlassDocument,
  BreakGlassExtensionSchema,
  BreakGlassRequestSchema,
  BreakGlassSchema,
  NewBreakGlassSchema,
} from "./break-glass-documents.ts";
import { idempotent } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { toInstant } from "./describe.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { isUnreachable, look, type Sight, statusOf } from "./sight.ts";
import { requireUnderstood, submit, wishOf } from "./submit.ts";

const params = t.Object({ id: t.String({ maxLength: 64, description: "Id of a grant" }) });

/** A superuser for a person, for a while. */
export function breakGlassRoutes(ports: ApiPorts) {
  const change = async (
    request: Request,
    key: string | null,
    wished: Change & { readonly grantId: string },
  ) => {
    const wish = wishOf(ports, callerOf(request), `${wished.kind} ${wished.grantId}`, key);
    await submit(ports, wish, wished);
    return describeGrant(look(ports), wished.grantId);
  };
  return new Elysia({ normalize: false })
    .get(
      "/v1/access/break-glass",
      async ({ query }) => {
        const sight = await lookWith(ports, query);
        return (sight.state.breakGlass ?? []).map(({ id }) => describeGrant(sight, id));
      },
      {
        query: consistencyQuery,
        response: { 200: t.Array(BreakGlassSchema) },
        detail: describeRoute(
          "viewer",
          "access",
          "Superusers for a while: those that stand, and the latest that have ended",
        ),
      },
    )
    .post(
      "/v1/access/break-glass",
      async ({ body, request, set }) => {
        const { state } = look(ports);
        const { durationMsDefault } = breakGlassPolicyOf(state.spec);
        const id = ports.newId();
        const password = ports.newSecret();
        const change = {
          kind: "request-break-glass",
          grantId: id,
          role: `${BREAK_GLASS_PREFIX}${ports.newId().replaceAll("-", "").slice(0, 12).toLowerCase()}`,
          verifier: await scramVerifier(password, saltOf(ports.newSecret())),
          reason: body.reason.trim(),
          address: addressOf(body.address),
          durationMs: body.durationSeconds === undefined ? durationMsDefault : body.durationSeconds * 1_000,
        } as const;
        requireUnderstood(state, change);
        // Never with the caller's Idempotency-Key: the password of the first answer is kept nowhere.
        await submit(ports, wishOf(ports, callerOf(request), "break-glass", null), change);
        set.status = 201;
        set.headers["location"] = "/v1/access/break-glass";
        set.headers["cache-control"] = "no-store";
        return { ...describeGrant(look(ports), id), password };
      },
      {
        body: BreakGlassRequestSchema,
        response: { 201: NewBreakGlassSchema },
        detail: describeRoute(
          "admin",
          "access",
          "Ask for a superuser for yourself, for a while",
          "The password is in this answer and nowhere else. Where the policy asks for approvals it is good once others gave them. It ends by itself, sessions included, on every member by that member's own clock.",
        ),
      },
    )
    .delete(
      "/v1/access/break-glass/:id",
      ({ params, request, headers }) =>
        change(request, headers["idempotency-key"] ?? null, {
          kind: "end-break-glass",
          grantId: params.id,
          why: "revoked",
        }),
      {
        params,
        headers: idempotent,
        response: { 200: BreakGlassSchema },
        detail: describeRoute(
          "admin",
          "access",
          "End it now",
          "Each member ends it once it knows: one that is cut off at its time at the latest.",
        ),
      },
    )
    .post(
      "/v1/access/break-glass/:id/approve",
      ({ params, request, headers }) =>
        change(request, headers["idempotency-key"] ?? null, {
          kind: "approve-break-glass",
          grantId: params.id,
        }),
      {
        params,
        headers: idempotent,
        response: { 200: BreakGlassSchema },
        detail: describeRoute(
          "admin",
          "access",
          "Approve it, as somebody else than who asked",
          "Neither the token that asked, nor one that it made or that was made since.",
        ),
      },
    )
    .post(
      "/v1/access/break-glass/:id/extend",
      ({ params, body, request, headers }) =>
        change(request, headers["idempotency-key"] ?? null, {
          kind: "extend-break-glass",
          grantId: params.id,
          durationMs: body.durationSeconds * 1_000,
        }),
      {
        params,
        body: BreakGlassExtensionSchema,
        headers: idempotent,
        response: { 200: BreakGlassSchema },
        detail: describeRoute(
          "admin",
          "access",
          "Let it last longer",
          "No longer in all than the policy allows; where it needed approvals, somebody else extends it. What is over stays over.",
        ),
      },
    );
}

/** @throws {ApiProblem} 422 where it is not one address. */
function addressOf(text: string): string {
  const network = parseIpAddress(text) === null ? null : parseIpNetwork(text);
  if (network?.ok === true) return formatIpNetwork(network.value);
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: "address: one IP address is wanted, as PostgreSQL sees it. Nothing was changed.",
    hint: "Behind a proxy or NAT it is the proxy's: a session of yours shows it as inet_client_addr().",
  });
}

/** From chance as text. */
function saltOf(secret: string): Uint8Array {
  return new Uint8Array(Buffer.from(secret, "base64url")).slice(0, SCRAM_SALT_BYTES);
}

/** @throws {ApiProblem} 404 where it was forgotten meanwhile. */
function describeGrant(sight: Sight, id: string): BreakGlassDocument {
  const { state } = sight;
  const grant = (state.breakGlass ?? []).find((each) => each.id === id);
  if (grant === undefined)
    throw new ApiProblem({ status: 404, code: "break-glass-unknown", detail: "There is no such grant." });
  const { role, reason, by, address, approvalsNeeded, ended, openedAtMs } = grant;
  const until = expiresAtMs(grant);
  return {
    id,
    state: ended !== null ? "ended" : openedAtMs === null ? "waiting" : "open",
    role,
    reason,
    by,
    byName: state.tokens.find((token) => token.id === by)?.name ?? null,
    address,
    requestedAt: toInstant(grant.requestedAtMs),
    durationSeconds: grant.durationMs / 1_000,
    approvalsNeeded,
    approvals: grant.approvals.map((approval) => ({ by: approval.by, at: toInstant(approval.atMs) })),
    extensions: grant.extensions.map((each) => ({
      by: each.by,
      at: toInstant(each.atMs),
      durationSeconds: each.durationMs / 1_000,
    })),
    openedAt: openedAtMs === null ? null : toInstant(openedAtMs),
    expiresAt: until === null ? null : toInstant(until),
    ended: ended === null ? null : { by: ended.by, at: toInstant(ended.atMs), why: ended.why },
    members: state.members
      .filter(({ kind }) => kind === "data")
      .map((member) => ({ name: member.name, ...onMember(sight, member, grant) })),
  };
}

function onMember(
  sight: Sight,
  { id }: Member,
  grant: BreakGlassGrant,
): Omit<BreakGlassDocument["members"][number], "name"> {
  const status = statusOf(sight, id);
  if (status === null || isUnreachable(sight, id))
    return { state: "unknown", remainingSeconds: null, problem: "nothing is heard of it" };
  const problem = status.breakGlass?.problem ?? null;
  const held = status.breakGlass?.grants.find((each) => each.id === grant.id);
  if (held === undefined) {
    const state = grant.ended === null && grant.openedAtMs !== null ? "pending" : "over";
    return { state, remainingSeconds: null, problem };
  }
  const { remainingMs } = held;
  return remainingMs === null
    ? { state: "over", remainingSeconds: null, problem }
    : { state: "open", remainingSeconds: Math.ceil(remainingMs / 1_000), problem };
}
