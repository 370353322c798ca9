import { Elysia, t } from "elysia";
import { isExpired } from "../cluster/apply-tokens.ts";
import type { ApiToken } from "../cluster/state.ts";
import { idempotent } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { formatToken, hashSecret } from "./credential.ts";
import { toInstant } from "./describe.ts";
import { NewTokenSchema, type TokenDocument, TokenRequestSchema, TokenSchema } from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look } from "./sight.ts";
import { submit, wishOf } from "./submit.ts";
import type { TokenUse } from "./token-use.ts";

/** Tokens of this API: who may do what. */
export function tokenRoutes(ports: ApiPorts, tokenUse: TokenUse) {
  const describe = (token: ApiToken): TokenDocument => {
    const lastUsedAtMs = tokenUse.lastUsedAtMs(token);
    return {
      ...describeToken(token),
      isExpired: isExpired(token, ports.clock.wallMs()),
      lastUsedAt: lastUsedAtMs === null ? null : toInstant(lastUsedAtMs),
    };
  };
  return new Elysia({ normalize: false })
    .get("/v1/tokens", async ({ query }) => (await lookWith(ports, query)).state.tokens.map(describe), {
      query: consistencyQuery,
      response: { 200: t.Array(TokenSchema) },
      detail: describeRoute(
        "admin",
        "access",
        "All API tokens, without their secrets",
        "Tokens that have expired stand here until the next one is made.",
      ),
    })
    .post(
      "/v1/tokens",
      async ({ body, request, set }) => {
        const { scope, name } = body;
        const expiresAtMs = expiryOf(body, ports.clock.wallMs());
        const id = ports.newId();
        const secret = ports.newSecret();
        const caller = callerOf(request);
        // Never with the caller's Idempotency-Key: the secret of the first answer is kept nowhere.
        await submit(ports, wishOf(ports, caller, "token", null), {
          kind: "create-token",
          tokenId: id,
          secretHash: hashSecret(secret),
          scope,
          ...(name === undefined ? {} : { name }),
          ...(expiresAtMs === null ? {} : { expiresAtMs }),
        });
        const made = look(ports).state.tokens.find((token) => token.id === id);
        set.status = 201;
        set.headers["location"] = `/v1/tokens/${id}`;
        return {
          id,
          name: name ?? null,
          scope,
          createdAt: toInstant(made?.createdAtMs ?? ports.clock.wallMs()),
          by: caller.by,
          expiresAt: expiresAtMs === null ? null : toInstant(expiresAtMs),
          token: formatToken({ id, secret }),
        };
      },
      {
        body: TokenRequestSchema,
        response: { 201: NewTokenSchema },
        detail: describeRoute(
          "admin",
          "access",
          "Make an API token",
          "Its secret is in this answer and nowhere else. A name, an end and the scopes `health` and `access` need a cluster of which every member runs this release.",
        ),
      },
    )
    .delete(
      "/v1/tokens/:id",
      async ({ params, request, headers }) => {
        const route = `revoke ${params.id}`;
        const wish = wishOf(ports, callerOf(request), route, headers["idempotency-key"] ?? null);
        await submit(ports, wish, { kind: "revoke-token", tokenId: params.id });
        return look(ports).state.tokens.map(describe);
      },
      {
        params: t.Object({ id: t.String({ maxLength: 64, description: "Id of a token" }) }),
        headers: idempotent,
        response: { 200: t.Array(TokenSchema) },
        detail: describeRoute(
          "admin",
          "access",
          "Revoke an API token, and show those that are left",
          "Any, also the last one: on a member's own host its Unix socket always remains. Each member refuses it once it knows.",
        ),
      },
    );
}

function describeToken({ id, name, scope, createdAtMs, by, expiresAtMs }: ApiToken) {
  return {
    id,
    name: name ?? null,
    scope,
    createdAt: toInstant(createdAtMs),
    by: by ?? null,
    expiresAt: expiresAtMs === undefined ? null : toInstant(expiresAtMs),
  };
}

/** Null: never. @throws {ApiProblem} 422 for two ends, and for one that is over already. */
function expiryOf(
  { expiresIn, expiresAt }: { readonly expiresIn?: number; readonly expiresAt?: string },
  wallMs: number,
): number | null {
  if (expiresIn !== undefined && expiresAt !== undefined)
    throw invalid("expiresAt", "is said together with expiresIn; one of them is enough");
  if (expiresIn !== undefined) return wallMs + expiresIn * 1000;
  if (expiresAt === undefined) return null;
  const atMs = Date.parse(expiresAt);
  if (!Number.isFinite(atMs) || atMs <= wallMs) throw invalid("expiresAt", "must be a time to come");
  return atMs;
}

function invalid(field: string, message: string): ApiProblem {
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${field}: ${message}`,
    errors: [{ field, message }],
  });
}
