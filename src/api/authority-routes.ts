import { Elysia } from "elysia";
import { AuthorityRequestSchema, AuthoritySchema } from "./authority-documents.ts";
import { acceptedOperation, begunBy, idempotent } from "./cluster-routes.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { certificateFingerprint } from "./credential.ts";
import { describeAuthority } from "./describe-authority.ts";
import { EmptyRequestSchema, OperationSchema } from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look } from "./sight.ts";
import { requireUnderstood, submit, wishOf } from "./submit.ts";

/** The cluster's certificate authority, and another one in its place (`roadmap/0012-certificates.md`). */
export function authorityRoutes(ports: ApiPorts) {
  const steer = async (request: Request, key: string | null, word: "hold" | "resume" | "cancel") => {
    const wish = wishOf(ports, callerOf(request), `authority ${word}`, key);
    const operationId = look(ports).state.authorityChange?.operationId;
    if (operationId === undefined) throw nothingUnderWay();
    await submit(ports, wish, { kind: "steer-authority", operationId, wish: word });
    return describeAuthority(look(ports), ports.clock.wallMs());
  };
  return new Elysia({ normalize: false })
    .get(
      "/v1/certificates/authority",
      async ({ query }) => describeAuthority(await lookWith(ports, query), ports.clock.wallMs()),
      {
        query: consistencyQuery,
        response: { 200: AuthoritySchema },
        detail: describeRoute(
          "viewer",
          "certificates",
          "The cluster's certificate authority, and how far another one is from taking its place",
          "While there are two, clients that trust both are right at every moment of the change.",
        ),
      },
    )
    .post(
      "/v1/certificates/authority",
      async ({ body, request, headers, set }) => {
        const wish = wishOf(
          ports,
          callerOf(request),
          "authority replace",
          headers["idempotency-key"] ?? null,
        );
        const { state, selfId } = look(ports);
        if (begunBy(state, wish) !== null) return acceptedOperation(ports, wish, set);
        const authority = await ports.succeedAuthority(state);
        const presentPem = state.authority.certificatePem;
        const change = {
          kind: "replace-authority",
          operationId: wish.commandId,
          memberId: selfId,
          presentPem,
          presentFingerprint: certificateFingerprint(presentPem),
          authority,
          fingerprint: certificateFingerprint(authority.certificatePem),
          isHeld: body.hold ?? false,
        } as const;
        requireUnderstood(state, change);
        await submit(ports, wish, change);
        return acceptedOperation(ports, wish, set);
      },
      {
        body: AuthorityRequestSchema,
        headers: idempotent,
        response: { 202: OperationSchema },
        detail: describeRoute(
          "admin",
          "certificates",
          "Replace the cluster's certificate authority, without a restart and without a moment of distrust",
          "A new one is made. First every member trusts both; then members have their certificates signed by the new one; when none shows one of the former any more, that counts for nobody. A member that is away is waited for until it is back or removed. Join tokens that nobody used end when the new one begins to sign.",
        ),
      },
    )
    .post(
      "/v1/certificates/authority/hold",
      ({ request, headers }) => steer(request, headers["idempotency-key"] ?? null, "hold"),
      {
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 200: AuthoritySchema },
        detail: describeRoute(
          "admin",
          "certificates",
          "Hold the change of the authority: no further step is begun",
        ),
      },
    )
    .post(
      "/v1/certificates/authority/resume",
      ({ request, headers }) => steer(request, headers["idempotency-key"] ?? null, "resume"),
      {
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 200: AuthoritySchema },
        detail: describeRoute("admin", "certificates", "Let the change of the authority go on that was held"),
      },
    )
    .post(
      "/v1/certificates/authority/cancel",
      ({ request, headers }) => steer(request, headers["idempotency-key"] ?? null, "cancel"),
      {
        body: EmptyRequestSchema,
        headers: idempotent,
        response: { 200: AuthoritySchema },
        detail: describeRoute(
          "admin",
          "certificates",
          "End the change of the authority: the one from before stays",
          "At once where nothing was signed by the new one. Else members have their certificates signed by the one from before again, and the new one goes when none shows one of it any more; that cannot be cancelled.",
        ),
      },
    );
}

function nothingUnderWay(): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "stale-operation",
    detail: "The cluster's authority is not being replaced.",
    hint: "'guacamole certificates rotate-authority' begins it.",
  });
}
