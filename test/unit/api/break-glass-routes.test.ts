import { describe, expect, test } from "bun:test";
import type { BreakGlassDocument, NewBreakGlassDocument } from "../../../src/api/break-glass-documents.ts";
import { createApi } from "../../../src/api/create-api.ts";
import type { ClusterDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { isScramVerifier } from "../../../src/base/scram.ts";
import { ADMIN, applyCommands, createFake, type Fake, OPERATOR, stateOf, VIEWER } from "./fixture.ts";

const PATH = "/v1/access/break-glass";
const WANTED = { reason: "INC-1: stuck", address: "10.0.0.7", durationSeconds: 60 };

function living(over: Parameters<typeof stateOf>[0] = {}): Fake {
  const fake = createFake();
  fake.state = stateOf({ featureLevel: 4, ...over });
  applyCommands(fake);
  return fake;
}

async function ask<T>(fake: Fake, method: string, path: string, body?: unknown, token = ADMIN) {
  const request = new Request(`http://member.test${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const response = await createApi(fake.ports).handle(request, "network", "10.0.0.7");
  return { status: response.status, body: (await response.json()) as T };
}

describe("break-glass access", () => {
  test("is asked for, shown without secrets, extended and revoked", async () => {
    const fake = living();
    const made = await ask<NewBreakGlassDocument>(fake, "POST", PATH, WANTED);
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      state: "open",
      by: "admin-1",
      address: "10.0.0.7/32",
      durationSeconds: 60,
    });
    expect(made.body.role).toMatch(/^guacamole_bg_[a-z0-9]{1,12}$/);
    const [command] = fake.commands;
    const verifier = command?.change.kind === "request-break-glass" ? command.change.verifier : "";
    expect(isScramVerifier(verifier)).toBe(true);
    expect(JSON.stringify(fake.commands)).not.toContain(made.body.password);
    const { password, ...shown } = made.body;
    expect(password.length).toBeGreaterThan(20);
    const listed = await ask<BreakGlassDocument[]>(fake, "GET", PATH, undefined, VIEWER);
    expect(listed.body).toEqual([shown]);
    expect(JSON.stringify(listed.body)).not.toContain("SCRAM");
    const cluster = await ask<ClusterDocument>(fake, "GET", "/v1/cluster", undefined, VIEWER);
    expect(cluster.body.warnings.map(({ code }) => code)).toEqual(["break-glass-open"]);
    const { id } = made.body;
    const extended = await ask<BreakGlassDocument>(fake, "POST", `${PATH}/${id}/extend`, {
      durationSeconds: 30,
    });
    expect(extended.body).toMatchObject({
      durationSeconds: 90,
      extensions: [{ by: "admin-1", durationSeconds: 30 }],
    });
    const revoked = await ask<BreakGlassDocument>(fake, "DELETE", `${PATH}/${id}`, {});
    expect(revoked.body).toMatchObject({ state: "ended", ended: { why: "revoked", by: "admin-1" } });
    const again = await ask<ProblemDocument>(fake, "DELETE", `${PATH}/${id}`, {});
    expect([again.status, again.body.code]).toEqual([409, "break-glass-ended"]);
  });

  test("waits for somebody else where the policy says so", async () => {
    const fake = living();
    const policy = await ask<unknown>(fake, "PATCH", `${PATH}/policy`, { approvals: 1, maxSeconds: 7200 });
    expect([policy.status, policy.body]).toEqual([
      200,
      { generation: 2, approvals: 1, defaultSeconds: 3600, maxSeconds: 7200 },
    ]);
    const { body } = await ask<NewBreakGlassDocument>(fake, "POST", PATH, {
      reason: "INC-2",
      address: "::1",
    });
    expect(body).toMatchObject({
      state: "waiting",
      durationSeconds: 3600,
      openedAt: null,
      address: "::1/128",
    });
    const cluster = await ask<ClusterDocument>(fake, "GET", "/v1/cluster", undefined, VIEWER);
    expect(cluster.body.warnings.map(({ code }) => code)).toEqual(["break-glass-waiting"]);
    const own = await ask<ProblemDocument>(fake, "POST", `${PATH}/${body.id}/approve`, {});
    expect([own.status, own.body.code]).toEqual([409, "break-glass-same-asker"]);
  });

  test("is refused without a reason, from a range, for too long, and to whoever is no admin; nothing is proposed", async () => {
    const fake = living();
    const status = async (body: unknown, token = ADMIN) =>
      (await ask(fake, "POST", PATH, body, token)).status;
    expect(await status({ address: "10.0.0.7" })).toBe(422);
    expect(await status({ ...WANTED, reason: "two\nlines" })).toBe(422);
    expect(await status({ ...WANTED, address: "10.0.0.0/8" })).toBe(422);
    expect(await status({ ...WANTED, address: "all" })).toBe(422);
    expect(await status({ ...WANTED, durationSeconds: 0 })).toBe(422);
    expect(await status(WANTED, OPERATOR)).toBe(403);
    expect(fake.commands).toEqual([]);
    expect(await status({ ...WANTED, durationSeconds: 86_401 })).toBe(409);
    const default_ = await ask<ProblemDocument>(fake, "PATCH", `${PATH}/policy`, { maxSeconds: 60 });
    expect([default_.status, default_.body.code]).toEqual([422, "invalid-request"]);
  });

  test("is refused below feature level 4", async () => {
    const { status, body } = await ask<ProblemDocument>(living({ featureLevel: 3 }), "POST", PATH, WANTED);
    expect([status, body.code]).toEqual([409, "feature-level-low"]);
  });
});
