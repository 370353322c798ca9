import { Elysia, t } from "elysia";
import { acceptedOperation, namedMember } from "./cluster-routes.ts";
import { certificateFingerprint, formatJoinToken, formatToken, hashSecret } from "./credential.ts";
import { describeMember, toInstant } from "./describe.ts";
import {
  EmptyRequestSchema,
  JoinTokenRequestSchema,
  JoinTokenSchema,
  MemberSchema,
  NewTokenSchema,
  OperationSchema,
  TokenRequestSchema,
  TokenSchema,
} from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look } from "./sight.ts";
import { submit, wishOf } from "./submit.ts";

const nameParam = t.Object({ name: t.String({ description: "Name of a member" }) });

export function memberRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .get(
      "/v1/members",
      () => {
        const sight = look(ports);
        return sight.state.members.map((member) => describeMember(sight, member));
      },
      { response: { 200: t.Array(MemberSchema) }, detail: describeRoute("viewer", "members", "All members") },
    )
    .post(
      "/v1/members",
      async ({ body, request, set }) => {
        const { state, selfId } = look(ports);
        const id = ports.newId();
        const secret = ports.newSecret();
        const expiresAtMs = ports.clock.wallMs() + (body.ttlSeconds ?? 3600) * 1000;
        // Never with the caller's Idempotency-Key: a repeated request shall get a token that works, so a new one.
        await submit(ports, wishOf(ports, callerOf(request), "join-token", null), {
          kind: "create-join-token",
          tokenId: id,
          secretHash: hashSecret(secret),
          expiresAtMs,
        });
        const caFingerprint = certificateFingerprint(state.authority.certificatePem);
        const token = formatJoinToken({ id, secret, caFingerprint });
        const address = state.members.find((member) => member.id === selfId)?.apiAddress ?? "ADDRESS";
        set.status = 201;
        return {
          id,
          token,
          expiresAt: toInstant(expiresAtMs),
          command: `guacamole join ${address} --token ${token}`,
        };
      },
      {
        body: JoinTokenRequestSchema,
        response: { 201: JoinTokenSchema },
        detail: describeRoute("admin", "members", "Make a join token, which admits one new member once"),
      },
    )
    .get(
      "/v1/members/:name",
      ({ params }) => {
        const sight = look(ports);
        const member = sight.state.members.find(({ name }) => name === params.name);
        if (member === undefined) throw memberNotFound(sight.state.members.map(({ name }) => name));
        return describeMember(sight, member);
      },
      {
        params: nameParam,
        response: { 200: MemberSchema },
        detail: describeRoute("viewer", "members", "One member"),
      },
    )
    .post(
      "/v1/members/:name/reinitialize",
      async ({ params, request, headers, set }) => {
        const route = `reinitialize ${params.name}`;
        const wish = wishOf(ports, callerOf(request), route, headers["idempotency-key"] ?? null);
        const member = namedMember(look(ports).state, params.name);
        await submit(ports, wish, {
          kind: "reinitialize-member",
          memberId: member.id,
          operationId: wish.commandId,
        });
        return acceptedOperation(ports, wish, set);
      },
      {
        params: nameParam,
        body: EmptyRequestSchema,
        headers: t.Object({
          "idempotency-key": t.Optional(
            t.String({ description: "Repeating a request with the same key takes effect once" }),
          ),
        }),
        response: { 202: OperationSchema },
        detail: describeRoute(
          "operator",
          "members",
          "Build a standby anew from the primary",
          "What its data directory holds is replaced. Refused for the primary.",
        ),
      },
    )
    .get(
      "/v1/tokens",
      () =>
        look(ports).state.tokens.map(({ id, scope, createdAtMs }) => ({
          id,
          scope,
          createdAt: toInstant(createdAtMs),
        })),
      {
        response: { 200: t.Array(TokenSchema) },
        detail: describeRoute("admin", "access", "All API tokens, without their secrets"),
      },
    )
    .post(
      "/v1/tokens",
      async ({ body, request, set }) => {
        const id = ports.newId();
        const secret = ports.newSecret();
        await submit(ports, wishOf(ports, callerOf(request), "token", null), {
          kind: "create-token",
          tokenId: id,
          secretHash: hashSecret(secret),
          scope: body.scope,
        });
        set.status = 201;
        return { id, scope: body.scope, token: formatToken({ id, secret }) };
      },
      {
        body: TokenRequestSchema,
        response: { 201: NewTokenSchema },
        detail: describeRoute("admin", "access", "Make an API token"),
      },
    );
}

function memberNotFound(names: readonly string[]): ApiProblem {
  return new ApiProblem({
    status: 404,
    code: "member-unknown",
    detail: "No member has this name.",
    hint: `Members are: ${names.join(", ")}.`,
  });
}
