import { describe, expect, test } from "bun:test";
import { createApi } from "../../../src/api/create-api.ts";
import { hashSecret } from "../../../src/api/credential.ts";
import type { NewTokenDocument, TokenDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { ADMIN, applyCommands, createFake, type Fake, SECRET, stateOf } from "./fixture.ts";

let nowMs = 5_000;

function living(featureLevel = 4): Fake {
  nowMs = 5_000;
  const { clock } = createFake().ports;
  const fake = createFake({ clock: { ...clock, wallMs: () => nowMs } });
  fake.state = stateOf({ featureLevel });
  applyCommands(fake);
  return fake;
}

function asker(fake: Fake) {
  const api = createApi(fake.ports);
  return (method: string, path: string, body?: unknown, token = ADMIN): Promise<Response> =>
    api.handle(
      new Request(`http://localhost${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      "network",
    );
}

const problem = async (answer: Response) => {
  const { status, code } = (await answer.json()) as ProblemDocument;
  return [status, code];
};

describe("tokens over HTTP", () => {
  test("one is made, works, is listed without its secret, and is revoked", async () => {
    const fake = living();
    const ask = asker(fake);
    const answer = await ask("POST", "/v1/tokens", { name: "grafana", scope: "health", expiresIn: 60 });
    expect(answer.status).toBe(201);
    const made = (await answer.json()) as NewTokenDocument;
    expect(answer.headers.get("location")).toBe(`/v1/tokens/${made.id}`);
    expect(made).toMatchObject({
      name: "grafana",
      scope: "health",
      by: "admin-1",
      createdAt: "1970-01-01T00:00:05.000Z",
      expiresAt: "1970-01-01T00:01:05.000Z",
    });
    expect((await ask("GET", "/metrics", undefined, made.token)).status).toBe(200);
    expect(await problem(await ask("GET", "/v1/cluster", undefined, made.token))).toEqual([
      403,
      "scope-insufficient",
    ]);
    const text = await (await ask("GET", "/v1/tokens")).text();
    expect(text).not.toContain("s".repeat(32));
    expect(text).not.toContain(hashSecret("s".repeat(32)));
    expect(text).not.toContain("ecretHash");
    const listed = (JSON.parse(text) as TokenDocument[]).find(({ id }) => id === made.id);
    expect(listed).toMatchObject({ name: "grafana", isExpired: false });
    const left = (await (await ask("DELETE", `/v1/tokens/${made.id}`)).json()) as TokenDocument[];
    expect(left.map(({ id }) => id)).not.toContain(made.id);
    expect(await problem(await ask("GET", "/metrics", undefined, made.token))).toEqual([
      401,
      "token-invalid",
    ]);
    expect(await problem(await ask("DELETE", `/v1/tokens/${made.id}`))).toEqual([409, "token-unknown"]);
  });

  test("an expired one is refused with a code of its own, and only whoever has its secret learns that", async () => {
    const fake = living();
    const ask = asker(fake);
    const expiresAt = "1970-01-01T00:00:10Z";
    const made = await ask("POST", "/v1/tokens", { scope: "viewer", expiresAt });
    const { token, id } = (await made.json()) as NewTokenDocument;
    nowMs = 9_999;
    expect((await ask("GET", "/v1/cluster", undefined, token)).status).toBe(200);
    nowMs = 10_000;
    expect(await problem(await ask("GET", "/v1/cluster", undefined, token))).toEqual([401, "token-expired"]);
    const guessed = `gcm_${id}_${"x".repeat(32)}`;
    expect(await problem(await ask("GET", "/v1/cluster", undefined, guessed))).toEqual([
      401,
      "token-invalid",
    ]);
    const listed = (await (await ask("GET", "/v1/tokens")).json()) as TokenDocument[];
    expect(listed.find((each) => each.id === id)?.isExpired).toBe(true);
  });

  test.each([
    [{ scope: "viewer", expiresAt: "1970-01-01T00:00:01Z" }],
    [{ scope: "viewer", expiresAt: "soon" }],
    [{ scope: "viewer", expiresIn: 60, expiresAt: "2030-01-01T00:00:00Z" }],
    [{ scope: "viewer", expiresIn: 1 }],
    [{ scope: "root" }],
    [{ scope: "viewer", name: "a name\nof two lines" }],
    [{ name: "no scope" }],
  ])("%p is not valid", async (body) => {
    const fake = living();
    expect(await problem(await asker(fake)("POST", "/v1/tokens", body))).toEqual([422, "invalid-request"]);
    expect(fake.state?.tokens).toHaveLength(5);
  });

  test("what an older member would not understand is refused while there is one", async () => {
    const fake = living(3);
    const ask = asker(fake);
    expect((await ask("POST", "/v1/tokens", { scope: "viewer" })).status).toBe(201);
    expect(await problem(await ask("POST", "/v1/tokens", { scope: "viewer", name: "x" }))).toEqual([
      409,
      "feature-level-low",
    ]);
  });

  test("an admin may revoke the token that it uses; the Unix socket remains", async () => {
    const fake = living();
    const ask = asker(fake);
    expect((await ask("DELETE", "/v1/tokens/admin-1")).status).toBe(200);
    expect((await ask("GET", "/v1/tokens")).status).toBe(401);
    const local = await createApi(fake.ports).handle(new Request("http://localhost/v1/tokens"), "local");
    expect(local.status).toBe(200);
  });

  test("the last use is exact here, and goes into the log once an hour", async () => {
    const fake = living();
    const ask = asker(fake);
    const told = () => fake.commands.filter(({ change }) => change.kind === "note-token-use").length;
    const viewer = `gcm_viewer-1_${SECRET}`;
    const lastUse = async () => {
      const tokens = (await (await ask("GET", "/v1/tokens")).json()) as TokenDocument[];
      return tokens.find(({ id }) => id === "viewer-1")?.lastUsedAt;
    };
    expect(await lastUse()).toBeNull();
    nowMs = 3_600_000;
    for (let count = 0; count < 10; count += 1) await ask("GET", "/v1/cluster", undefined, viewer);
    expect(await lastUse()).toBe("1970-01-01T01:00:00.000Z");
    // The admin that asks, and the viewer.
    expect(told()).toBe(2);
    nowMs += 3_599_999;
    await ask("GET", "/v1/cluster", undefined, viewer);
    expect(await lastUse()).toBe("1970-01-01T01:59:59.999Z");
    expect(fake.state?.tokens.find(({ id }) => id === "viewer-1")?.lastUsedAtMs).toBe(3_600_000);
    nowMs += 1;
    await ask("GET", "/v1/cluster", undefined, viewer);
    expect(fake.state?.tokens.find(({ id }) => id === "viewer-1")?.lastUsedAtMs).toBe(7_200_000);
  });
});
