import { Elysia } from "elysia";
import {
  flawOfProviders,
  IDENTITY_DEFAULTS,
  type IdentityProvider,
  identityWith,
  providersOf,
} from "../cluster/identity.ts";
import { changeWanted } from "./change-wanted.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { toInstant } from "./describe.ts";
import {
  type IdentityDocument,
  IdentityRequestSchema,
  IdentitySchema,
  type ProviderRequest,
  type TokenExplanationDocument,
  TokenExplanationSchema,
  TokenQuestionSchema,
} from "./identity-documents.ts";
import type { IdentityGate } from "./identity-gate.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";

const PATH = "/v1/access/identity-providers";

/** Who else vouches for callers of this API (`roadmap/0014-identity.md`). */
export function identityRoutes(ports: ApiPorts, gate: IdentityGate) {
  return new Elysia({ normalize: false })
    .get(
      PATH,
      async ({ query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describeIdentity(ports, sight, gate);
      },
      {
        query: consistencyQuery,
        response: { 200: IdentitySchema },
        detail: describeRoute("viewer", "access", "The identity providers that are trusted, and for what"),
      },
    )
    .put(
      PATH,
      async ({ body, request, headers, set }) => {
        const asked = { caller: callerOf(request), headers, route: "identity-providers" };
        const providers = providersFrom(body.providers);
        await changeWanted(ports, asked, async ({ state }, generation) => {
          const { identity: present, ...others } = state.spec;
          const identity = identityWith(providers, present?.clientCertificates);
          const spec = { ...others, ...(identity === null ? {} : { identity }) };
          return { change: { kind: "change-spec", generation, spec }, told: null };
        });
        const sight = look(ports);
        // Whether they answer is what whoever set them up wants to know next.
        await Promise.all(providersOf(sight.state.spec).map((provider) => gate.keys.look(provider)));
        set.headers["etag"] = etagOf(sight.state);
        return describeIdentity(ports, sight, gate);
      },
      {
        body: IdentityRequestSchema,
        headers: specChangeHeaders,
        response: { 200: IdentitySchema },
        detail: describeRoute(
          "admin",
          "access",
          "Trust these identity providers, and no others",
          "A request with a token that one of them signed (`Authorization: Bearer eyJ…`) has the scopes of the rules that fit it. Guacamole's own tokens go on as before. An issuer that cannot be reached is trusted all the same: `keys` says why.",
        ),
      },
    )
    .post(
      `${PATH}/explain`,
      async ({ body }): Promise<TokenExplanationDocument> => {
        const found = await gate.check(body.token);
        if (!found.ok) {
          const { by, why } = found.error;
          return { isGood: false, provider: null, by, name: null, scopes: [], why };
        }
        const { provider, by, name, scopes } = found.value;
        const isGood = scopes.length > 0;
        const why = isGood ? null : `no rule of ${provider} gives it a scope`;
        return { isGood, provider, by, name, scopes: [...scopes], why };
      },
      {
        body: TokenQuestionSchema,
        response: { 200: TokenExplanationSchema },
        detail: describeRoute(
          "admin",
          "access",
          "Why a signed token is let in or not, and what it may do",
          "Whoever is refused is told little; this tells all. It changes nothing.",
        ),
      },
    );
}

/**
 * As they are kept.
 *
 * @throws {ApiProblem} 422 for a place that keys are not fetched from, and for two that are the same.
 */
export function providersFrom(requests: readonly ProviderRequest[]): readonly IdentityProvider[] {
  const providers = requests.map(asProvider);
  const wrong = flawOfProviders(providers);
  if (wrong === null) return providers;
  const { field, flaw } = wrong;
  throw new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${field}: ${flaw}. Nothing was changed.`,
    errors: [{ field, message: flaw }],
  });
}

function asProvider(request: ProviderRequest): IdentityProvider {
  const { audiences, algorithms, scopes, blockedSubjects = [], ...rest } = request;
  return {
    ...IDENTITY_DEFAULTS,
    ...rest,
    audiences: [...new Set(audiences)],
    algorithms: [...new Set(algorithms ?? IDENTITY_DEFAULTS.algorithms)],
    scopes,
    ...(blockedSubjects.length === 0 ? {} : { blockedSubjects: [...new Set(blockedSubjects)] }),
  };
}

/** As they may be sent back. */
export function describeProvider(provider: IdentityProvider): ProviderRequest {
  const { audiences, algorithms, scopes, blockedSubjects, ...rest } = provider;
  return {
    ...rest,
    audiences: [...audiences],
    algorithms: [...algorithms],
    scopes: scopes.map((rule) => ({ ...rule })),
    ...(blockedSubjects === undefined ? {} : { blockedSubjects: [...blockedSubjects] }),
  };
}

function describeIdentity(ports: ApiPorts, { state }: Sight, gate: IdentityGate): IdentityDocument {
  return {
    generation: state.generation,
    answeredBy: ports.name,
    providers: providersOf(state.spec).map((provider) => {
      const { count, fetchedAtWallMs, problem } = gate.keys.statusOf(provider);
      const fetchedAt = fetchedAtWallMs === null ? null : toInstant(fetchedAtWallMs);
      return { ...describeProvider(provider), keys: { count, fetchedAt, problem } };
    }),
  };
}
