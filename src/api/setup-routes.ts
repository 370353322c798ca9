import { Elysia } from "elysia";
import { DEFAULT_TAGS } from "../cluster/member.ts";
import { featureLevelOf } from "../cluster/state.ts";
import { certificateFingerprint, parseJoinToken, secretMatches } from "./credential.ts";
import {
  AdmissionSchema,
  AdmitRequestSchema,
  FormedSchema,
  FormRequestSchema,
  JoinedSchema,
  JoinRequestSchema,
} from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, refusalProblem } from "./problem.ts";
import { FEATURE_LEVEL_HEADER } from "./request-admission.ts";
import { callerOf, describeRoute } from "./route-context.ts";
import { look } from "./sight.ts";

/** How a member becomes part of a control plane: on its own host by its owner, and by join token across the network. */
export function setupRoutes(ports: ApiPorts) {
  return new Elysia({ normalize: false })
    .post(
      "/v1/form",
      async ({ body, request, set }) => {
        refuseIfFormed(ports);
        const { asked } = callerOf(request);
        const formed = await ports.form({ clusterName: body.name ?? "main", asked });
        if (!formed.ok) throw refusalProblem(formed.error);
        set.status = 201;
        const { clusterId, memberId, token, caPem } = formed.value;
        return { clusterId, memberId, token, caPem };
      },
      {
        body: FormRequestSchema,
        response: { 201: FormedSchema },
        detail: describeRoute("local", "setup", "Make this member the first of a new control plane"),
      },
    )
    .post(
      "/v1/join",
      async ({ body, set }) => {
        refuseIfFormed(ports);
        const token = parseJoinToken(body.token);
        if (!token.ok) {
          throw new ApiProblem({
            status: 422,
            code: "invalid-request",
            detail: `token: ${token.error}`,
            errors: [{ field: "token", message: token.error }],
          });
        }
        const joined = await ports.join({
          address: body.address,
          token: body.token,
          expectedName: body.expectedName ?? null,
        });
        if (!joined.ok) throw refusalProblem(joined.error);
        set.status = 201;
        const { clusterId, clusterName, memberId } = joined.value;
        return { clusterId, clusterName, memberId };
      },
      {
        body: JoinRequestSchema,
        response: { 201: JoinedSchema },
        detail: describeRoute("local", "setup", "Make this member part of an existing control plane"),
      },
    )
    .get(
      "/v1/ca",
      () => {
        const { name, authority } = look(ports).state;
        const pem = authority.certificatePem;
        return new Response(pem, {
          headers: {
            "content-type": "application/x-pem-file",
            "x-guacamole-cluster": encodeURIComponent(name),
            "x-guacamole-fingerprint": certificateFingerprint(pem),
          },
        });
      },
      {
        detail: describeRoute(
          "none",
          "setup",
          "The cluster CA's certificate (PEM)",
          "For a joiner, which compares it with the fingerprint in its join token.",
        ),
      },
    )
    .post(
      "/v1/members/join",
      async ({ body, request, set }) => {
        const { state } = look(ports);
        const featureLevel = Number(request.headers.get(FEATURE_LEVEL_HEADER) ?? 1);
        const token = state.joinTokens.find(({ id }) => id === body.tokenId);
        if (token === undefined || !secretMatches(body.secret, token.secretHash)) {
          throw new ApiProblem({
            status: 401,
            code: "join-token-unknown",
            detail: "The join token is not valid here.",
            hint: "'guacamole member add' on a member makes a new one.",
            headers: { "www-authenticate": 'Bearer realm="guacamole"' },
          });
        }
        if (!(featureLevel >= featureLevelOf(state))) throw tooOldProblem(ports.version);
        const admission = await ports.admit({
          tokenId: body.tokenId,
          secret: body.secret,
          csrPem: body.csrPem,
          name: body.name,
          hosts: body.hosts,
          addresses: body.addresses,
          kind: body.kind,
          tags: { ...DEFAULT_TAGS, ...body.tags },
          asked: callerOf(request).asked,
        });
        if (!admission.ok) throw refusalProblem(admission.error);
        set.status = 201;
        return { ...admission.value, peers: admission.value.peers.map((peer) => ({ ...peer })) };
      },
      {
        body: AdmitRequestSchema,
        response: { 201: AdmissionSchema },
        detail: describeRoute(
          "none",
          "setup",
          "Admit a new member and sign its certificate",
          "Asked by a joining member; the join token's secret is what lets it in.",
        ),
      },
    );
}

/** Before its token is spent: it could not apply what stands in the log. */
function tooOldProblem(version: string): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "release-too-old",
    detail:
      "The release of the joining member is older than what this cluster has agreed on; it was not let in.",
    hint: `Install the release that the cluster runs (this member runs ${version}), and join again with the same token.`,
  });
}

function refuseIfFormed(ports: ApiPorts): void {
  if (ports.memberId() === null) return;
  throw new ApiProblem({
    status: 409,
    code: "already-formed",
    detail: "This member belongs to a cluster already.",
    hint: "'guacamole status' shows it.",
  });
}
