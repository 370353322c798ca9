import { describe, expect, test } from "bun:test";
import { createApi } from "../../../src/api/create-api.ts";
import { type Json, normalizeOpenApi } from "../../../src/api/openapi.ts";
import { createFake } from "./fixture.ts";

type JsonObject = { readonly [key: string]: Json };

async function get(path: string): Promise<Response> {
  return createApi(createFake().ports).handle(new Request(`http://localhost${path}`), "network");
}

function* walk(value: Json, path: string): Generator<readonly [string, JsonObject]> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield [path, value as JsonObject];
  for (const [key, each] of Object.entries(value)) yield* walk(each, `${path}/${key}`);
}

function resolve(document: Json, pointer: string): Json | undefined {
  return pointer
    .replace(/^#\//, "")
    .split("/")
    .reduce<Json | undefined>(
      (at, key) => (typeof at === "object" && at !== null ? (at as JsonObject)[key] : undefined),
      document,
    );
}

describe("the OpenAPI document", () => {
  test("is 3.0.3, and every path of the interface stands in it", async () => {
    const document = (await (await get("/openapi.json")).json()) as {
      openapi: string;
      paths: Record<string, JsonObject>;
    };
    expect(document.openapi).toBe("3.0.3");
    const operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method} ${path}`),
    );
    expect(operations.filter((each) => each.includes("/v1/")).toSorted()).toEqual([
      "delete /v1/access/break-glass/{id}",
      "delete /v1/access/client-certificates",
      "delete /v1/access/databases/{name}",
      "delete /v1/access/hba",
      "delete /v1/access/hba/rules/{rule}",
      "delete /v1/access/roles/{name}",
      "delete /v1/access/roles/{name}/rotation",
      "delete /v1/members/{name}",
      "delete /v1/pause",
      "delete /v1/switchover",
      "delete /v1/tokens/{id}",
      "get /v1/access/break-glass",
      "get /v1/access/break-glass/policy",
      "get /v1/access/client-certificates",
      "get /v1/access/databases",
      "get /v1/access/databases/{name}",
      "get /v1/access/hba",
      "get /v1/access/hba/rules/{rule}",
      "get /v1/access/identity-providers",
      "get /v1/access/roles",
      "get /v1/access/roles/{name}",
      "get /v1/access/roles/{name}/certificate",
      "get /v1/audit",
      "get /v1/backup",
      "get /v1/ca",
      "get /v1/certificates/authority",
      "get /v1/cluster",
      "get /v1/consensus",
      "get /v1/events",
      "get /v1/explain",
      "get /v1/history",
      "get /v1/history/{number}",
      "get /v1/hooks",
      "get /v1/members",
      "get /v1/members/{name}",
      "get /v1/members/{name}/forks",
      "get /v1/operations",
      "get /v1/operations/{id}",
      "get /v1/parameters",
      "get /v1/parameters/suggest",
      "get /v1/pause",
      "get /v1/spec",
      "get /v1/spec/blame",
      "get /v1/spec/diff",
      "get /v1/spec/history",
      "get /v1/spec/history/{generation}",
      "get /v1/switchover",
      "get /v1/tokens",
      "get /v1/topology",
      "patch /v1/access/break-glass/policy",
      "patch /v1/access/databases",
      "patch /v1/access/databases/{name}",
      "patch /v1/access/hba/rules/{rule}",
      "patch /v1/access/roles",
      "patch /v1/access/roles/{name}",
      "patch /v1/access/roles/{name}/rotation",
      "patch /v1/members/{name}",
      "patch /v1/parameters",
      "patch /v1/topology",
      "post /v1/access/break-glass",
      "post /v1/access/break-glass/{id}/approve",
      "post /v1/access/break-glass/{id}/extend",
      "post /v1/access/hba/explain",
      "post /v1/access/hba/rules",
      "post /v1/access/identity-providers/explain",
      "post /v1/access/roles/{name}/certificate",
      "post /v1/access/roles/{name}/rotation",
      "post /v1/certificates/authority",
      "post /v1/certificates/authority/cancel",
      "post /v1/certificates/authority/hold",
      "post /v1/certificates/authority/resume",
      "post /v1/cluster/initialize",
      "post /v1/failover",
      "post /v1/form",
      "post /v1/join",
      "post /v1/members",
      "post /v1/members/join",
      "post /v1/members/{name}/reinitialize",
      "post /v1/members/{name}/reload",
      "post /v1/members/{name}/restart",
      "post /v1/members/{name}/voter",
      "post /v1/operations/{id}/cancel",
      "post /v1/operations/{id}/pause",
      "post /v1/operations/{id}/resume",
      "post /v1/pause",
      "post /v1/restart",
      "post /v1/spec/history/{generation}/rollback",
      "post /v1/switchover",
      "post /v1/tokens",
      "put /v1/access/client-certificates",
      "put /v1/access/databases",
      "put /v1/access/databases/{name}",
      "put /v1/access/hba",
      "put /v1/access/identity-providers",
      "put /v1/access/roles",
      "put /v1/access/roles/{name}",
      "put /v1/spec",
    ]);
  });

  test("holds to the standard where generators do not", async () => {
    const document = (await (await get("/openapi.json")).json()) as JsonObject;
    let objects = 0;
    for (const [path, object] of walk(document, "")) {
      objects += 1;
      const reference = object["$ref"];
      if (reference !== undefined) {
        expect(reference, path).toStartWith("#/components/schemas/");
        expect(resolve(document, String(reference)), `${path} -> ${reference}`).toBeDefined();
        expect(Object.keys(object), path).toEqual(["$ref"]);
      }
      for (const foreign of ["$id", "const", "patternProperties", "examples"]) {
        if (!path.endsWith("/properties")) expect(object, path).not.toHaveProperty(foreign);
      }
      if (object["type"] === "null") throw new Error(`${path} has the type null`);
      if (/\/responses\/[^/]+$/.test(path)) expect(typeof object["description"], path).toBe("string");
    }
    expect(objects).toBeGreaterThan(500);
  });

  test("every operation has its own id, a summary, and every parameter of its path", async () => {
    const { paths } = (await (await get("/openapi.json")).json()) as {
      paths: Record<string, Record<string, JsonObject>>;
    };
    const ids = new Set<Json | undefined>();
    for (const [path, item] of Object.entries(paths)) {
      for (const operation of Object.values(item)) {
        ids.add(operation["operationId"]);
        expect(operation["summary"], path).toBeString();
        const parameters = (operation["parameters"] ?? []) as readonly JsonObject[];
        const names = parameters.filter((each) => each["in"] === "path").map((each) => each["name"]);
        expect(names).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? ""));
      }
    }
    expect(ids.size).toBe(Object.values(paths).flatMap((item) => Object.keys(item)).length);
  });

  test("says it in the words of 3.0", () => {
    const property = (schema: Json) => {
      const operation = { responses: { "200": { content: { "application/json": { schema } }, $ref: "x" } } };
      const normal = normalizeOpenApi({ paths: { "/": { get: operation } } });
      return resolve(normal, "#/paths")?.valueOf();
    };
    const text = JSON.stringify([
      property({ anyOf: [{ type: "string" }, { type: "null" }] }),
      property({
        anyOf: [
          { const: "a", type: "string" },
          { const: "b", type: "string" },
        ],
      }),
      property({ type: "object", patternProperties: { "^.*$": { type: "number" } } }),
    ]);
    expect(text).toContain('"schema":{"type":"string","nullable":true}');
    expect(text).toContain('"schema":{"type":"string","enum":["a","b"]}');
    expect(text).toContain('"additionalProperties":{"type":"number"}');
    expect(text).not.toContain('"x"');
  });
});

describe("Swagger UI", () => {
  test("comes from here alone, under a policy that allows nothing else", async () => {
    const page = await get("/swagger");
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    const html = await page.text();
    expect(html).not.toMatch(/https?:\/\//);
    for (const [, path] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
      expect((await get(path ?? "")).status, path).toBe(200);
    }
  });

  test("the generator's own page and document are not served", async () => {
    expect((await get("/internal/openapi")).status).toBe(404);
    expect((await get("/internal/ui")).status).toBe(404);
  });
});
