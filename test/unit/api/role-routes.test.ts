import { describe, expect, test } from "bun:test";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { RoleDocument, RolesDocument } from "../../../src/api/role-documents.ts";
import type { Generation } from "../../../src/base/ids.ts";
import { ok } from "../../../src/base/result.ts";
import { isScramVerifier } from "../../../src/base/scram.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { DeclaredProblem } from "../../../src/cluster/catalog.ts";
import { type Fake, living, read, request, SECRET, stateOf } from "./fixture.ts";

const PATH = "/v1/access/roles";
const ACCESS = `gcm_access-1_${SECRET}`;

const declaring = () => living({ featureLevel: 4 });
const wishOf = (fake: Fake, name: string) => fake.state?.spec.declared?.roles?.[name];

/** The primary's member has looked at what is declared now. */
function looked(fake: Fake, problems: readonly DeclaredProblem[] = []): void {
  const revision = fake.state?.spec.declared?.revision ?? null;
  fake.declaredReport = () => ok({ revision, problems, corrected: [] });
}

describe("a role", () => {
  test("is declared, shown with its state, changed entry by entry, and forgotten", async () => {
    const fake = declaring();
    const made = await request(fake, "PUT", `${PATH}/app`, {
      login: true,
      memberOf: { readers: "member" },
      settings: { work_mem: "64MB", jit: false },
    });
    expect(made.status).toBe(200);
    expect(made.headers.get("etag")).toBe('"2"');
    expect(await read<RoleDocument>(made)).toEqual({
      name: "app",
      state: "pending",
      reason: null,
      generation: 2,
      wish: {
        state: "present",
        login: true,
        memberOf: { readers: "member" },
        settings: { work_mem: "64MB", jit: "off" },
      },
    });
    looked(fake);
    await request(fake, "PATCH", `${PATH}/app`, { memberOf: { writers: "admin" }, settings: { jit: null } });
    expect(wishOf(fake, "app")).toMatchObject({
      since: 3,
      login: true,
      memberOf: { readers: "member", writers: "admin" },
      settings: { work_mem: "64MB", jit: null },
    });
    expect(await read<RoleDocument>(await request(fake, "GET", `${PATH}/app`))).toMatchObject({
      state: "pending",
    });
    looked(fake);
    expect(await read<RoleDocument>(await request(fake, "GET", `${PATH}/app`))).toMatchObject({
      state: "in-force",
    });
    looked(fake, [{ kind: "role", name: "app", state: "impossible", reason: "There is no role readers." }]);
    const { roles } = await read<RolesDocument>(await request(fake, "GET", PATH));
    expect(roles).toMatchObject([{ name: "app", state: "impossible", reason: "There is no role readers." }]);
    expect((await request(fake, "DELETE", `${PATH}/app`)).status).toBe(200);
    expect(fake.state?.spec.declared).toBeUndefined();
    expect((await request(fake, "DELETE", `${PATH}/app`)).status).toBe(404);
    expect((await request(fake, "GET", `${PATH}/app`)).status).toBe(404);
  });

  test("is dropped only where somebody says so by its name", async () => {
    const fake = declaring();
    await request(fake, "PUT", `${PATH}/app`, { login: true });
    await request(fake, "DELETE", `${PATH}/app?drop=true`);
    expect(wishOf(fake, "app")).toEqual({ isAbsent: true, isTrusted: true, since: 3 });
    // And comes back with what is said from then on.
    await request(fake, "PATCH", `${PATH}/app`, { login: false });
    expect(wishOf(fake, "app")).toEqual({ login: false, isTrusted: true, since: 4 });
  });

  test("many at once, and all of them", async () => {
    const fake = declaring();
    await request(fake, "PATCH", PATH, { roles: { a: { login: true }, b: {} }, drift: "report" });
    await request(fake, "PATCH", PATH, { roles: { a: { createdb: true }, c: {} } });
    expect(fake.state?.spec.declared).toMatchObject({
      drift: "report",
      revision: 3,
      roles: { a: { login: true, createdb: true, since: 3 }, b: { since: 2 }, c: { since: 3 } },
    });
    await request(fake, "PUT", PATH, { roles: { c: { login: true } }, drift: "correct" });
    expect(fake.state?.spec.declared).toEqual({
      revision: 4,
      roles: { c: { login: true, isTrusted: true, since: 4 } },
    });
  });
});

describe("a password", () => {
  test("leaves the member that is asked as a verifier, and is shown to nobody", async () => {
    const fake = declaring();
    const answer = await request(fake, "PUT", `${PATH}/app`, { password: "once-in-plain-text" });
    const text = await answer.text();
    expect(text).toContain('"password":"scram-sha-256"');
    expect(isScramVerifier(wishOf(fake, "app")?.password ?? "")).toBe(true);
    const everything = JSON.stringify([fake.commands, fake.state, fake.logged, text]);
    expect(everything).not.toContain("once-in-plain-text");
    const shown = await (await request(fake, "GET", PATH)).text();
    expect(shown).not.toContain("SCRAM-SHA-256$");
    // A verifier is taken as it is; null takes it away.
    const verifier = wishOf(fake, "app")?.password;
    await request(fake, "PATCH", `${PATH}/app`, { password: verifier });
    expect(wishOf(fake, "app")?.password).toBe(verifier ?? "");
    await request(fake, "PATCH", `${PATH}/app`, { password: null });
    expect(wishOf(fake, "app")?.password).toBeNull();
  });

  test("is hashed as often as the server does it", async () => {
    const fake = declaring();
    const setting = { name: "scram_iterations", setting: "10000" };
    Object.assign(fake.ports, {
      serverSettings: async () => ok({ settings: [setting], prefixes: [], fileErrors: [], takenOut: [] }),
    });
    await request(fake, "PUT", `${PATH}/app`, { password: "x" });
    expect(wishOf(fake, "app")?.password).toStartWith("SCRAM-SHA-256$10000:");
  });

  test("is neither in an error nor in the audit trail", async () => {
    const fake = declaring();
    const refused = await request(fake, "PUT", `${PATH}/postgres`, { password: "in-the-wrong-place" });
    expect(refused.status).toBe(422);
    expect(await refused.text()).not.toContain("in-the-wrong-place");
    const malformed = await request(fake, "PUT", `${PATH}/app`, { password: { of: "in-the-wrong-place" } });
    expect(malformed.status).toBe(422);
    expect(await malformed.text()).not.toContain("in-the-wrong-place");
    const state = stateOf({ featureLevel: 4 });
    const roles = { app: { password: "SCRAM-SHA-256$4096:salt$key:key" } };
    const { events } = apply(state, {
      id: "1",
      atMs: 1,
      by: "local",
      asked: { address: null, request: "PUT /v1/access/roles/app" },
      change: { kind: "declare", generation: 1 as Generation, changes: { roles } },
    });
    expect(events.some(({ audit }) => audit !== undefined)).toBe(true);
    expect(JSON.stringify(events)).not.toContain("SCRAM");
  });
});

describe("what is refused", () => {
  test.each([
    ["postgres", { login: true }, "guacamole itself connects"],
    ["guacamole_replicator", {}, "guacamole's own"],
    ["pg_monitor", {}, "PostgreSQL's own"],
    ["public", {}, "word of SQL"],
    ["x".repeat(64), {}, "63 bytes"],
    ["app", { state: "absent", login: true }, "no attributes"],
    ["app", { memberOf: { postgres: "member" } }, "guacamole itself connects"],
    ["app", { validUntil: "tomorrow" }, "ISO 8601"],
    ["app", { validUntil: "2027-01-01T00:00:00" }, "ISO 8601"],
    ["app", { settings: { "Work Mem": "1" } }, "no name of a parameter"],
    ["app", { settings: { role: "postgres" } }, "another role's"],
    ["app", { settings: { work_mem: "1\n2" } }, "control characters"],
    ["app", { password: "a\u0000b" }, "NUL"],
    ["app", { unknown: 1 }, "no such field"],
  ])("%s %j", async (name, body, sentence) => {
    const fake = declaring();
    const answer = await request(fake, "PUT", `${PATH}/${name}`, body);
    expect(answer.status).toBe(422);
    expect((await read<ProblemDocument>(answer)).detail).toContain(sentence);
    expect(fake.commands).toEqual([]);
  });

  test.each([
    [{ superuser: true }],
    [{ createrole: true }],
    [{ replication: true }],
    [{ bypassrls: true }],
    [{ memberOf: { pg_execute_server_program: "member" } }],
    [{ settings: { session_preload_libraries: "x" } }],
    [{ databaseSettings: { sales: { local_preload_libraries: "x" } } }],
  ])("%j, to all but admin", async (body) => {
    const fake = declaring();
    const refused = await request(fake, "PUT", `${PATH}/app`, body, {}, ACCESS);
    expect(refused.status).toBe(403);
    expect(fake.commands).toEqual([]);
    expect((await request(fake, "PUT", `${PATH}/app`, body)).status).toBe(200);
    // Nor is it kept by somebody who may not give it.
    expect((await request(fake, "PATCH", `${PATH}/app`, { login: true }, {}, ACCESS)).status).toBe(403);
  });

  test("what access says is trusted no further than that", async () => {
    const fake = declaring();
    await request(fake, "PUT", `${PATH}/app`, { login: true });
    expect(wishOf(fake, "app")?.isTrusted).toBe(true);
    await request(fake, "PATCH", `${PATH}/app`, { createdb: true }, {}, ACCESS);
    expect(wishOf(fake, "app")).toEqual({ login: true, createdb: true, since: 3 });
  });

  test("a change for another version, and one that some member would not understand", async () => {
    const fake = declaring();
    expect((await request(fake, "PUT", `${PATH}/app`, {}, { "if-match": '"9"' })).status).toBe(412);
    const old = living({ featureLevel: 3 });
    const answer = await request(old, "PUT", `${PATH}/app`, {});
    expect((await read<ProblemDocument>(answer)).code).toBe("feature-level-low");
    expect(old.commands).toEqual([]);
  });
});

test("where the primary says nothing, nothing is known", async () => {
  const fake = declaring();
  await request(fake, "PUT", `${PATH}/app`, {});
  if (fake.state !== null) fake.state = { ...fake.state, reign: null };
  expect(await read<RolesDocument>(await request(fake, "GET", PATH))).toMatchObject({
    detail: expect.stringContaining("no primary"),
    roles: [{ state: "unknown" }],
  });
});

test("a request that is repeated with its key is made once", async () => {
  const fake = declaring();
  const key = { "idempotency-key": "k1" };
  await request(fake, "PUT", `${PATH}/app`, { password: "x" }, key);
  const first = wishOf(fake, "app");
  expect((await request(fake, "PUT", `${PATH}/app`, { password: "x" }, key)).status).toBe(200);
  expect(wishOf(fake, "app")).toBe(first as NonNullable<typeof first>);
});
