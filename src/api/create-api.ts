import { Elysia } from "elysia";
import { authorize, type Need, NOBODY, type Origin } from "./access.ts";
import { accessRoutes } from "./access-routes.ts";
import { auditRoutes } from "./audit-routes.ts";
import { authorityRoutes } from "./authority-routes.ts";
import { breakGlassRoutes } from "./break-glass-routes.ts";
import { clientCertificateRoutes } from "./client-certificate-routes.ts";
import { clusterRoutes } from "./cluster-routes.ts";
import { consensusRoutes } from "./consensus-routes.ts";
import { databaseRoutes } from "./database-routes.ts";
import { failoverRoutes } from "./failover-routes.ts";
import { historyRoutes } from "./history-routes.ts";
import { IdentityGate } from "./identity-gate.ts";
import { identityRoutes } from "./identity-routes.ts";
import { explainInvalid } from "./invalid-request.ts";
import { memberRoutes } from "./member-routes.ts";
import { type Json, normalizeOpenApi } from "./openapi.ts";
import { parameterRoutes } from "./parameter-routes.ts";
import { policyRoutes } from "./policy-routes.ts";
import type { ApiPorts } from "./ports.ts";
import { isHealthCheck, probeRoutes } from "./probe-routes.ts";
import { ApiProblem, notReadyProblem, tlsRequired } from "./problem.ts";
import { readInTime } from "./request-body.ts";
import { targetOf } from "./request-target.ts";
import { type Attempt, attemptOf, RequestWatch } from "./request-watch.ts";
import { restartRoutes } from "./restart-routes.ts";
import { roleCertificateRoutes } from "./role-certificate-routes.ts";
import { roleRoutes } from "./role-routes.ts";
import { rotationRoutes } from "./rotation-routes.ts";
import { describeRoute, NEED_KEY, rememberCaller, TAKES_TEXT_KEY } from "./route-context.ts";
import { RouteTable } from "./route-table.ts";
import { setupRoutes } from "./setup-routes.ts";
import type { ShownCertificate } from "./shown-certificate.ts";
import { specRoutes } from "./spec-routes.ts";
import { suggestRoutes } from "./suggest-routes.ts";
import { swaggerRoutes } from "./swagger-routes.ts";
import { switchoverRoutes } from "./switchover-routes.ts";
import { tokenRoutes } from "./token-routes.ts";
import { TokenUse } from "./token-use.ts";

/** The HTTP API as a function from request to answer. `listenApi` puts it on sockets. */
export interface Api {
  /**
   * @param address IP address of whoever asks; null where there is none, as over a Unix socket.
   * @param shown the client certificate that the connection was made with, verified; null or absent: none.
   */
  handle(
    request: Request,
    origin: Origin,
    address?: string | null,
    shown?: ShownCertificate | null,
  ): Promise<Response>;
}

const RAW_DOCUMENT_PATH = "/internal/openapi";
const NEEDS: readonly Need[] = ["none", "local", "health", "viewer", "operator", "access", "admin"];

/** Never throws and never rejects: every fault is a problem document. */
export function createApi(ports: ApiPorts): Api {
  const tokenUse = new TokenUse(ports);
  const watch = new RequestWatch(ports);
  const gate = new IdentityGate(ports);
  const app = createRouter(ports, { tokenUse, watch, gate });
  const routes = new RouteTable(
    app.routes
      .filter(({ path }) => !path.startsWith("/internal/"))
      .map(({ method, path, hooks }) => ({ method, path, need: needOf(hooks), takesText: takesText(hooks) })),
  );

  async function answer(
    request: Request,
    origin: Origin,
    attempt: Attempt,
    shown: ShownCertificate | null,
  ): Promise<Response> {
    const url = targetOf(request);
    if (origin === "in-clear" && !isHealthCheck(request.method, url.pathname)) throw tlsRequired();
    const { need, takesText = false } = routes.find(request.method, url.pathname);
    const tokens = ports.consensus()?.state.tokens ?? null;
    // A token that is not known yet is not a wrong one.
    const isAsked = origin === "network" && need !== "none" && need !== "local";
    if (tokens === null && isAsked && ports.memberId() !== null) throw notReadyProblem(true);
    const authorization = request.headers.get("authorization");
    const known = isAsked ? await gate.callerIn(authorization, shown) : null;
    const caller = authorize(need, origin, authorization, tokens, ports.clock.wallMs(), known);
    attempt.by = caller === NOBODY ? null : caller.by;
    attempt.byName = caller.name ?? null;
    tokenUse.note(caller.by);
    const headers = new Headers(request.headers);
    const hasBody = request.method !== "GET" && request.method !== "HEAD" && request.method !== "OPTIONS";
    const body = hasBody ? await readInTime(ports, request, takesText) : null;
    if (hasBody) {
      headers.set("content-type", "application/json");
      headers.delete("content-length");
      headers.delete("transfer-encoding");
    }
    // With a host name that is long enough: the router looks for the path from the 11th character on.
    const checked = new Request(`http://localhost${url.pathname}${url.search}`, {
      method: request.method,
      headers,
      body,
    });
    const member = ports.memberId();
    const asked = {
      address: attempt.address,
      request: attempt.request,
      ...reasonIn(request),
      ...(member === null ? {} : { member }),
      ...(caller.name === undefined ? {} : { callerName: caller.name }),
    };
    rememberCaller(checked, { ...caller, asked });
    return app.handle(checked);
  }

  /** The answer, or what is to be told instead, and remembered of it. */
  async function watched(
    request: Request,
    origin: Origin,
    address: string | null,
    shown: ShownCertificate | null,
  ): Promise<Response> {
    const attempt = attemptOf(request, address);
    let answered: Response;
    try {
      answered = await answer(request, origin, attempt, shown);
    } catch (error) {
      const problem = toProblem(ports, error);
      attempt.by ??= problem.parts.by ?? null;
      attempt.why = problem.parts.why ?? null;
      answered = problem.toResponse();
    }
    return watch.see(attempt, answered);
  }

  return {
    async handle(request, origin, address = null, shown = null) {
      const response = await watched(request, origin, address, shown).catch((error: unknown) =>
        toProblem(ports, error).toResponse(),
      );
      response.headers.set("x-content-type-options", "nosniff");
      response.headers.set("cache-control", "no-store");
      return response;
    },
  };
}

/** What the routes share beside the ports. */
interface Shared {
  readonly tokenUse: TokenUse;
  readonly watch: RequestWatch;
  readonly gate: IdentityGate;
}

function createRouter(ports: ApiPorts, shared: Shared) {
  let document: Promise<Json> | null = null;
  return routesOf(ports, shared).get(
    "/openapi.json",
    async () => {
      document ??= describe(ports, shared).catch((error: unknown) => {
        document = null;
        throw error;
      });
      return Response.json(await document);
    },
    { detail: { ...describeRoute("none", "documentation", "This API as an OpenAPI document"), hide: true } },
  );
}

function routesOf(ports: ApiPorts, { tokenUse, watch, gate }: Shared) {
  // Answers are what their documents say, and are checked against them: walking each once more to encode it took half the time.
  return new Elysia({ normalize: false, encodeSchema: false })
    .onError(({ error, code }) => {
      if (code === "VALIDATION") return explainInvalid(error, ports.log).toResponse();
      return toProblem(ports, error).toResponse();
    })
    .use(probeRoutes(ports))
    .use(clusterRoutes(ports))
    .use(switchoverRoutes(ports))
    .use(restartRoutes(ports))
    .use(suggestRoutes(ports))
    .use(policyRoutes(ports))
    .use(specRoutes(ports))
    .use(parameterRoutes(ports))
    .use(accessRoutes(ports))
    .use(breakGlassRoutes(ports))
    .use(roleRoutes(ports))
    .use(roleCertificateRoutes(ports))
    .use(rotationRoutes(ports))
    .use(databaseRoutes(ports))
    .use(failoverRoutes(ports))
    .use(memberRoutes(ports))
    .use(tokenRoutes(ports, tokenUse))
    .use(identityRoutes(ports, gate))
    .use(clientCertificateRoutes(ports))
    .use(auditRoutes(ports, watch.remembered))
    .use(consensusRoutes(ports))
    .use(historyRoutes(ports))
    .use(setupRoutes(ports))
    .use(authorityRoutes(ports))
    .use(swaggerRoutes());
}

/** Few members are ever asked for it: what writes the document is loaded by the first request, onto routes of its own. */
async function describe(ports: ApiPorts, shared: Shared): Promise<Json> {
  const { swagger } = await import("@elysiajs/swagger");
  const described = routesOf(ports, shared).use(
    swagger({
      path: "/internal/ui",
      specPath: RAW_DOCUMENT_PATH,
      exclude: [/^\/internal\//, /^\/openapi\.json$/],
      excludeStaticFile: false,
      documentation: {
        info: {
          title: "guacamole",
          version: ports.version,
          description: "Control plane of a highly available PostgreSQL cluster. Any member answers.",
        },
        components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
        security: [{ token: [] }],
      },
    }),
  );
  const raw = await described.handle(new Request(`http://localhost${RAW_DOCUMENT_PATH}`));
  return normalizeOpenApi((await raw.json()) as Json);
}

/** What a route's description says it asks for; one that says nothing needs the most. */
function needOf(hooks: unknown): Need {
  const need = detailOf(hooks)?.[NEED_KEY];
  return NEEDS.find((each) => each === need) ?? "admin";
}

function takesText(hooks: unknown): boolean {
  return detailOf(hooks)?.[TAKES_TEXT_KEY] === true;
}

function detailOf(hooks: unknown): Readonly<Record<string, unknown>> | undefined {
  return (hooks as { detail?: Readonly<Record<string, unknown>> } | undefined)?.detail;
}

function toProblem(ports: ApiPorts, error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  if (isUnprintable(error)) {
    ports.log.warn("api.request-unprintable", {});
    return new ApiProblem({
      status: 422,
      code: "invalid-request",
      detail: "The request is not valid: something in it is of another type.",
      hint: "/openapi.json has the shape that is expected.",
    });
  }
  ports.log.error("api.request-failed", {
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });
  return new ApiProblem({
    status: 500,
    code: "internal-error",
    detail: "An error of guacamole itself. Its log has the details.",
  });
}

/** The router writes what it was sent into its own error, and fails where that is an object with a field `toString`. */
function isUnprintable(error: unknown): boolean {
  return (
    error instanceof TypeError && /^(No default value|Cannot convert object to primitive)/.test(error.message)
  );
}

const REASON_LENGTH_MAX = 200;

/** Why somebody wants a change: the header `X-Reason`, percent-encoded where it is not ASCII. It stands in the history and in the audit. */
function reasonIn(request: Request): { readonly reason?: string } {
  const said = request.headers.get("x-reason")?.trim() ?? "";
  if (said === "") return {};
  return { reason: decoded(said).slice(0, REASON_LENGTH_MAX) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // It is not encoded: somebody typed it.
    return text;
  }
}
