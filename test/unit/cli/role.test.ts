import { afterAll, beforeAll, expect, test } from "bun:test";
import type { RoleDocument } from "../../../src/api/role-documents.ts";
import { ok } from "../../../src/base/result.ts";
import { isScramVerifier, scramVerifier } from "../../../src/base/scram.ts";
import type { DeclaredProblem } from "../../../src/cluster/catalog.ts";
import { applyCommands, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let problems: readonly DeclaredProblem[] = [];

function guacamole(argv: readonly string[], typed: string | null = null) {
  return member.guacamole(argv, { newId: () => crypto.randomUUID(), readLine: async () => typed });
}

const wishOf = (name: string) => member.fake.state?.spec.declared?.roles?.[name];

beforeAll(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
  // The primary does what is declared as soon as somebody waits for it.
  member.onSleep = () => {
    const revision = member.fake.state?.spec.declared?.revision ?? null;
    member.fake.declaredReport = () => ok({ revision, problems, corrected: [] });
  };
});

afterAll(async () => {
  await member.close();
});

test("guacamole role: set, password, show, list, drop, forget", async () => {
  const set = await guacamole([
    ...["role", "set", "app", "--login", "--no-createdb", "--member-of", "readers,writers"],
    ...["--not-member-of", "old", "--set", "work_mem=64MB", "--reset", "jit", "--connection-limit", "-1"],
    ...["--valid-until", "forever"],
  ]);
  expect(set).toMatchObject({ code: 0 });
  expect(set.out).toContain("app is in-force");
  expect(wishOf("app")).toMatchObject({
    login: true,
    createdb: false,
    memberOf: { readers: "member", writers: "member", old: "none" },
    settings: { work_mem: "64MB", jit: null },
    connectionLimit: -1,
    validUntil: null,
  });
  expect(wishOf("app")).not.toHaveProperty("superuser");
  await guacamole(["role", "set", "app", "--set", "jit=off", "--in-database", "sales"]);
  expect(wishOf("app")?.databaseSettings).toEqual({ sales: { jit: "off" } });
  expect(await guacamole(["role", "password", "app"], "typed-by-hand")).toMatchObject({ code: 0 });
  expect(isScramVerifier(wishOf("app")?.password ?? "")).toBe(true);
  expect(JSON.stringify(member.fake.commands)).not.toContain("typed-by-hand");
  expect((await guacamole(["role", "password", "app"])).code).toBe(2);
  const shown = await guacamole(["role", "show", "app", "--output", "json"]);
  expect((JSON.parse(shown.out) as RoleDocument).wish.password).toBe("scram-sha-256");
  expect((await guacamole(["role"])).out).toContain("in readers");
  expect(await guacamole(["role", "drop", "app"])).toMatchObject({ code: 0 });
  expect(wishOf("app")).toMatchObject({ isAbsent: true });
  expect(await guacamole(["role", "forget", "app"])).toMatchObject({ code: 0 });
  expect(wishOf("app")).toBeUndefined();
  expect((await guacamole(["role", "show", "app"])).code).toBe(3);
});

test("guacamole role rotate and overlap: a new password is shown once, and only its verifier is sent", async () => {
  await guacamole(["role", "set", "shop"]);
  const rotated = await guacamole(["role", "rotate", "shop", "--overlap", "24h", "--output", "json"]);
  expect(rotated).toMatchObject({ code: 0, err: "" });
  const made = JSON.parse(rotated.out) as { login: string; password: string };
  expect(made).toMatchObject({
    role: "shop",
    login: "shop_a",
    previous: { login: "shop", state: "overlapping" },
  });
  expect(made.password).toMatch(/^[A-Za-z0-9_-]{32}$/);
  expect(JSON.stringify(member.fake.commands)).not.toContain(made.password);
  const verifier = wishOf("shop")?.logins?.aVerifier ?? "";
  const salt = Uint8Array.fromBase64(verifier.split(":")[1]?.split("$")[0] ?? "");
  expect(await scramVerifier(made.password, salt)).toBe(verifier);
  const refused = await guacamole(["role", "rotate", "shop"]);
  expect(refused).toMatchObject({ code: 3, out: "" });
  expect(refused.err).toContain("guacamole role overlap --end");
  expect((await guacamole(["role", "show", "shop"])).out).toContain(
    "login before: shop, good until 1970-01-02",
  );
  expect((await guacamole(["role", "overlap", "shop", "--for", "2d"])).out).toContain(
    "good until 1970-01-03",
  );
  expect((await guacamole(["role"])).out).toContain("logins shop_a and, until 1970-01-03");
  expect((await guacamole(["role", "overlap", "shop", "--end"])).out).toContain("login before: shop, ended");
  expect((await guacamole(["role", "overlap", "shop", "--end", "--forget"])).code).toBe(2);
  // Where it cannot be, the password is told all the same: it is agreed.
  problems = [{ kind: "role", name: "shop", state: "impossible", reason: "There is a role shop_b." }];
  const blocked = await guacamole(["role", "rotate", "shop"]);
  expect(blocked.code).toBe(5);
  expect(blocked.out).toMatch(/login {5}shop_b\n {2}password {2}\S{32}\n/);
  problems = [];
  expect((await guacamole(["role", "overlap", "shop", "--forget"])).out).toContain("shop logs in itself");
  expect(wishOf("shop")?.logins).toBeUndefined();
});

test("guacamole role: what cannot be is an error, with what to do", async () => {
  problems = [{ kind: "role", name: "app", state: "impossible", reason: "There is no role readers." }];
  const set = await guacamole(["role", "set", "app", "--member-of", "readers"]);
  expect(set).toMatchObject({ code: 5 });
  expect(set.err).toContain("There is no role readers.");
  problems = [{ kind: "role", name: "app", state: "pending", reason: "a lock is held" }];
  expect(await guacamole(["role", "set", "app", "--login"])).toMatchObject({ code: 6 });
  expect(await guacamole(["role", "set", "app", "--login", "--no-wait"])).toMatchObject({ code: 0 });
  expect((await guacamole(["role", "set", "app", "--set", "nothing"])).code).toBe(2);
});
