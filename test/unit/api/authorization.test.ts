/**
 * Every endpoint against every scope, and against no token, wrong ones and expired ones. The endpoints come out of the OpenAPI
 * document; what each asks for is written down here once more by hand, so that a route cannot be added or opened by mistake.
 */
import { describe, expect, test } from "bun:test";
import type { Need } from "../../../src/api/access.ts";
import { createApi } from "../../../src/api/create-api.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { ClusterState, Scope } from "../../../src/cluster/state.ts";
import { createFake, SCOPES, SECRET, stateOf } from "./fixture.ts";

/** Under `/v1` and `/metrics`. What stands outside asks for nothing, and only reads. */
const NEEDS: Readonly<Record<string, Need>> = {
  "get /metrics": "health",
  "get /v1/audit": "admin",
  "get /v1/access/hba": "viewer",
  "put /v1/access/hba": "access",
  "delete /v1/access/hba": "access",
  "post /v1/access/hba/explain": "viewer",
  "get /v1/access/hba/rules/{rule}": "viewer",
  "post /v1/access/hba/rules": "access",
  "patch /v1/access/hba/rules/{rule}": "access",
  "delete /v1/access/hba/rules/{rule}": "access",
  "get /v1/access/roles": "viewer",
  "patch /v1/access/roles": "access",
  "put /v1/access/roles": "access",
  "get /v1/access/roles/{name}": "viewer",
  "put /v1/access/roles/{name}": "access",
  "patch /v1/access/roles/{name}": "access",
  "delete /v1/access/roles/{name}": "access",
  "post /v1/access/roles/{name}/rotation": "access",
  "patch /v1/access/roles/{name}/rotation": "access",
  "delete /v1/access/roles/{name}/rotation": "access",
  "get /v1/access/databases": "viewer",
  "patch /v1/access/databases": "access",
  "put /v1/access/databases": "access",
  "get /v1/access/databases/{name}": "viewer",
  "put /v1/access/databases/{name}": "access",
  "patch /v1/access/databases/{name}": "access",
  "delete /v1/access/databases/{name}": "access",
  "get /v1/access/roles/{name}/certificate": "viewer",
  "post /v1/access/roles/{name}/certificate": "access",
  "get /v1/access/client-certificates": "viewer",
  "put /v1/access/client-certificates": "admin",
  "delete /v1/access/client-certificates": "admin",
  "get /v1/access/identity-providers": "viewer",
  "put /v1/access/identity-providers": "admin",
  "post /v1/access/identity-providers/explain": "admin",
  "get /v1/backup": "admin",
  "get /v1/ca": "none",
  "get /v1/certificates/authority": "viewer",
  "post /v1/certificates/authority": "admin",
  "post /v1/certificates/authority/hold": "admin",
  "post /v1/certificates/authority/resume": "admin",
  "post /v1/certificates/authority/cancel": "admin",
  "get /v1/cluster": "viewer",
  "post /v1/cluster/initialize": "admin",
  "get /v1/consensus": "viewer",
  "get /v1/events": "viewer",
  "get /v1/explain": "viewer",
  "post /v1/failover": "operator",
  "post /v1/form": "local",
  "get /v1/history": "viewer",
  "get /v1/history/{number}": "viewer",
  "get /v1/hooks": "viewer",
  "post /v1/join": "local",
  "get /v1/members": "viewer",
  "post /v1/members": "admin",
  "post /v1/members/join": "none",
  "get /v1/members/{name}": "viewer",
  "delete /v1/members/{name}": "admin",
  "patch /v1/members/{name}": "operator",
  "get /v1/members/{name}/forks": "viewer",
  "post /v1/members/{name}/reinitialize": "operator",
  "post /v1/members/{name}/voter": "operator",
  "post /v1/members/{name}/restart": "operator",
  "post /v1/members/{name}/reload": "operator",
  "post /v1/operations/{id}/pause": "operator",
  "post /v1/operations/{id}/resume": "operator",
  "post /v1/operations/{id}/cancel": "operator",
  "post /v1/restart": "operator",
  "get /v1/operations": "viewer",
  "get /v1/operations/{id}": "viewer",
  "get /v1/access/break-glass": "viewer",
  "post /v1/access/break-glass": "admin",
  "delete /v1/access/break-glass/{id}": "admin",
  "post /v1/access/break-glass/{id}/approve": "admin",
  "post /v1/access/break-glass/{id}/extend": "admin",
  "get /v1/access/break-glass/policy": "viewer",
  "patch /v1/access/break-glass/policy": "admin",
  "get /v1/pause": "viewer",
  "post /v1/pause": "operator",
  "delete /v1/pause": "operator",
  "delete /v1/switchover": "operator",
  "get /v1/spec": "viewer",
  // What differs decides what else it asks for (spec-routes.test.ts).
  "put /v1/spec": "viewer",
  "get /v1/spec/blame": "viewer",
  "get /v1/spec/diff": "viewer",
  "get /v1/spec/history": "viewer",
  "get /v1/spec/history/{generation}": "viewer",
  "post /v1/spec/history/{generation}/rollback": "admin",
  "get /v1/switchover": "viewer",
  "post /v1/switchover": "operator",
  "get /v1/tokens": "admin",
  "post /v1/tokens": "admin",
  "delete /v1/tokens/{id}": "admin",
  "get /v1/parameters": "viewer",
  "get /v1/parameters/suggest": "viewer",
  "patch /v1/parameters": "operator",
  "get /v1/topology": "viewer",
  "patch /v1/topology": "operator",
};

/** What each need lets in, once more by hand. */
const LETS_IN: Readonly<Record<Scope, readonly Scope[]>> = {
  health: ["health", "viewer", "operator", "access", "admin"],
  viewer: ["viewer", "operator", "access", "admin"],
  operator: ["operator", "admin"],
  access: ["access", "admin"],
  admin: ["admin"],
};

interface Endpoint {
  readonly method: string;
  readonly path: string;
  readonly need: Need;
}

const fake = createFake();
const api = createApi(fake.ports);

function withExpired(nowMs: number): ClusterState {
  const { tokens } = stateOf();
  const [token] = tokens;
  if (token === undefined) throw new Error("the fixture has tokens");
  const expired = { ...token, id: "expired-1", scope: "admin", expiresAtMs: nowMs } as const;
  return stateOf({ featureLevel: 4, tokens: [...tokens, expired] });
}

async function endpoints(): Promise<readonly Endpoint[]> {
  const request = new Request("http://localhost/openapi.json");
  const answer = await api.handle(request, "network");
  const { paths } = (await answer.json()) as {
    paths: Record<string, Record<string, { "x-guacamole-scope": Need }>>;
  };
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      method,
      path,
      need: operation["x-guacamole-scope"],
    })),
  );
}

/** Null: let in, whatever became of it then. */
async function whyNot({ method, path }: Endpoint, authorization: string | null): Promise<string | null> {
  const before = withExpired(fake.ports.clock.wallMs());
  fake.state = before;
  fake.commands.length = 0;
  const headers = new Headers({ "content-type": "application/json" });
  if (authorization !== null) headers.set("authorization", authorization);
  const request = new Request(`http://localhost${path.replaceAll(/\{\w+\}/g, "m2")}`, {
    method: method.toUpperCase(),
    headers,
    ...(method === "get" ? {} : { body: "{}" }),
  });
  const answer = await api.handle(request, "network");
  if (answer.headers.get("content-type") !== "application/problem+json") return null;
  const { code } = (await answer.json()) as ProblemDocument;
  const isRefusal = ["token-missing", "token-invalid", "token-expired", "scope-insufficient", "local-only"];
  if (!isRefusal.includes(code)) return null;
  expect(fake.commands).toEqual([]);
  expect(fake.state).toBe(before);
  return code;
}

describe("who may do what", () => {
  test("every endpoint is in the table, with what it asks for", async () => {
    const found = (await endpoints()).filter(({ path }) => path.startsWith("/v1/") || path === "/metrics");
    const asked = Object.fromEntries(found.map(({ method, path, need }) => [`${method} ${path}`, need]));
    expect(asked).toEqual({ ...NEEDS });
  });

  test("what asks for nothing outside /v1 only reads", async () => {
    const open = (await endpoints()).filter(({ path }) => !path.startsWith("/v1/") && path !== "/metrics");
    expect(open.length).toBeGreaterThan(10);
    for (const { method, path, need } of open) expect([path, method, need]).toEqual([path, "get", "none"]);
  });

  for (const scope of SCOPES) {
    test(`a token of scope ${scope} is let in where that is included, and nowhere else`, async () => {
      for (const endpoint of await endpoints()) {
        const { need, method, path } = endpoint;
        const isIn = need === "none" || (need !== "local" && LETS_IN[need].includes(scope));
        const refusal = need === "local" ? "local-only" : "scope-insufficient";
        const got = await whyNot(endpoint, `Bearer gcm_${scope}-1_${SECRET}`);
        expect([method, path, got]).toEqual([method, path, isIn ? null : refusal]);
      }
    });
  }

  const wrong: readonly (readonly [string, string | null, string])[] = [
    ["no token", null, "token-missing"],
    ["a wrong secret", "Bearer gcm_admin-1_wrong-wrong-wrong-wrong", "token-invalid"],
    ["an id that is nobody's", `Bearer gcm_nobody-1_${SECRET}`, "token-invalid"],
    ["the hash instead of the secret", `Bearer gcm_admin-1_${"0".repeat(64)}`, "token-invalid"],
    ["a token of another kind", "Basic YWRtaW46YWRtaW4=", "token-invalid"],
    ["an expired token", `Bearer gcm_expired-1_${SECRET}`, "token-expired"],
  ];
  test.each(wrong)("with %s nothing is let in that asks for a token", async (_name, authorization, code) => {
    for (const endpoint of await endpoints()) {
      const { need, method, path } = endpoint;
      const expected = need === "none" ? null : need === "local" ? "local-only" : code;
      expect([method, path, await whyNot(endpoint, authorization)]).toEqual([method, path, expected]);
    }
  });
});
