import { X509Certificate } from "node:crypto";
import { Elysia } from "elysia";
import { type ClientCertificates, identityWith, PEM_CERTIFICATES, providersOf } from "../cluster/identity.ts";
import { changeWanted } from "./change-wanted.ts";
import {
  type ClientCertificatesDocument,
  type ClientCertificatesRequest,
  ClientCertificatesRequestSchema,
  ClientCertificatesSchema,
} from "./client-certificate-documents.ts";
import { consistencyQuery, lookWith } from "./consistency.ts";
import { toInstant } from "./describe.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { type Asker, callerOf, describeRoute } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { etagOf, specChangeHeaders } from "./spec-version.ts";

const PATH = "/v1/access/client-certificates";

/** Who is believed by a TLS client certificate (`roadmap/0014-identity.md`). */
export function clientCertificateRoutes(ports: ApiPorts) {
  const change = async (
    caller: Asker,
    headers: Parameters<typeof changeWanted>[1]["headers"],
    wanted: ClientCertificates | undefined,
  ): Promise<Sight> => {
    await changeWanted(
      ports,
      { caller, headers, route: "client-certificates" },
      async ({ state }, generation) => {
        const { identity: _, ...others } = state.spec;
        const identity = identityWith(providersOf(state.spec), wanted);
        const spec = { ...others, ...(identity === null ? {} : { identity }) };
        return { change: { kind: "change-spec", generation, spec }, told: null };
      },
    );
    return look(ports);
  };

  return new Elysia({ normalize: false })
    .get(
      PATH,
      async ({ query, set }) => {
        const sight = await lookWith(ports, query);
        set.headers["etag"] = etagOf(sight.state);
        return describe(ports, sight);
      },
      {
        query: consistencyQuery,
        response: { 200: ClientCertificatesSchema },
        detail: describeRoute(
          "viewer",
          "access",
          "Who is believed by a client certificate, and what they may do",
        ),
      },
    )
    .put(
      PATH,
      async ({ body, request, headers, set }) => {
        const sight = await change(callerOf(request), headers, clientCertificatesFrom(body));
        set.headers["etag"] = etagOf(sight.state);
        return describe(ports, sight);
      },
      {
        body: ClientCertificatesRequestSchema,
        headers: specChangeHeaders,
        response: { 200: ClientCertificatesSchema },
        detail: describeRoute(
          "admin",
          "access",
          "Believe certificates that these authorities signed, and no others",
          "A member takes them on a port of its own (`[api] certificate-listen` in its file), which asks every client for one. A request without a token has the scopes of the rules that fit its connection's certificate; one with a token is that token's. Connections that stand are ended by each change of the authorities.",
        ),
      },
    )
    .delete(
      PATH,
      async ({ request, headers, set }) => {
        const sight = await change(callerOf(request), headers, undefined);
        set.headers["etag"] = etagOf(sight.state);
        return describe(ports, sight);
      },
      {
        headers: specChangeHeaders,
        response: { 200: ClientCertificatesSchema },
        detail: describeRoute("admin", "access", "Believe nobody by a client certificate any more"),
      },
    );
}

/**
 * As it is kept.
 *
 * @throws {ApiProblem} 422 where a certificate cannot be read, or is no authority's.
 */
export function clientCertificatesFrom({
  authorities,
  scopes,
  blocked = [],
}: ClientCertificatesRequest): ClientCertificates {
  const flaw = flawOfAuthorities(authorities);
  if (flaw !== null) {
    throw new ApiProblem({
      status: 422,
      code: "invalid-request",
      detail: `authorities: ${flaw}. Nothing was changed.`,
      errors: [{ field: "authorities", message: flaw }],
    });
  }
  return {
    authorities,
    scopes,
    ...(blocked.length === 0 ? {} : { blocked: [...new Set(blocked)] }),
  };
}

/** As they may be sent back. */
export function describeClientCertificates({
  authorities,
  scopes,
  blocked,
}: ClientCertificates): ClientCertificatesRequest {
  return {
    authorities,
    scopes: scopes.map((rule) => ({ ...rule })),
    ...(blocked === undefined ? {} : { blocked: [...blocked] }),
  };
}

function flawOfAuthorities(pems: string): string | null {
  if (!PEM_CERTIFICATES.test(pems)) return "it is one or more certificates in PEM, and nothing else";
  try {
    const other = certificatesOf(pems).find(({ ca }) => !ca);
    return other === undefined
      ? null
      : `'${subjectOf(other)}' is no authority's certificate: it may sign none`;
  } catch {
    return "one of them is no certificate";
  }
}

function certificatesOf(pems: string): readonly X509Certificate[] {
  return pems
    .split(/(?<=-----END CERTIFICATE-----)/)
    .filter((each) => each.trim() !== "")
    .map((each) => new X509Certificate(each));
}

function subjectOf({ subject }: X509Certificate): string {
  return (subject ?? "").replaceAll("\n", ", ");
}

function describe(ports: ApiPorts, { state }: Sight): ClientCertificatesDocument {
  const present = state.spec.identity?.clientCertificates;
  return {
    generation: state.generation,
    answeredBy: ports.name,
    ...ports.certificateListener(),
    wanted: present === undefined ? null : describeClientCertificates(present),
    authorities: (present === undefined ? [] : certificatesOf(present.authorities)).map((each) => ({
      subject: subjectOf(each),
      sha256: each.fingerprint256.replaceAll(":", "").toLowerCase(),
      expiresAt: toInstant(Date.parse(each.validTo)),
    })),
  };
}
