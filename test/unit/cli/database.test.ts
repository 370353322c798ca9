import { afterAll, beforeAll, expect, test } from "bun:test";
import { ok } from "../../../src/base/result.ts";
import type { DeclaredProblem } from "../../../src/cluster/catalog.ts";
import { applyCommands, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let problems: readonly DeclaredProblem[] = [];

function guacamole(argv: readonly string[]) {
  return member.guacamole(argv, { newId: () => crypto.randomUUID() });
}

const wishOf = (name: string) => member.fake.state?.spec.declared?.databases?.[name];

beforeAll(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
  member.onSleep = () => {
    const revision = member.fake.state?.spec.declared?.revision ?? null;
    member.fake.declaredReport = () => ok({ revision, problems, corrected: [] });
  };
});

afterAll(async () => {
  await member.close();
});

test("guacamole database: set, show, list, drop, forget", async () => {
  const set = await guacamole([
    ...["database", "set", "orders", "--owner", "sales", "--connection-limit", "20"],
    ...["--extension", "hstore:public", "citext", "--without-extensions", "old,older"],
    ...["--schema", "reports:sales", "plain", "--without-schemas", "gone"],
    ...[
      "--grant",
      "public=",
      "app=connect,temporary",
      "--set",
      "search_path=reports, public",
      "--reset",
      "jit",
    ],
  ]);
  expect(set).toMatchObject({ code: 0 });
  expect(wishOf("orders")).toEqual({
    since: 2,
    isTrusted: true,
    owner: "sales",
    connectionLimit: 20,
    extensions: { hstore: { schema: "public" }, citext: {}, old: null, older: null },
    schemas: { reports: { owner: "sales" }, plain: {}, gone: null },
    privileges: { public: [], app: ["connect", "temporary"] },
    settings: { search_path: "reports, public", jit: null },
  });
  expect((await guacamole(["database", "show", "orders"])).out).toContain("orders is in-force");
  expect((await guacamole(["database"])).out).toContain("extension hstore");
  expect(await guacamole(["database", "drop", "orders"])).toMatchObject({ code: 0 });
  expect(wishOf("orders")).toMatchObject({ isAbsent: true });
  expect(await guacamole(["database", "forget", "orders"])).toMatchObject({ code: 0 });
  expect((await guacamole(["database", "show", "orders"])).code).toBe(3);
});

test("guacamole database: what cannot be is an error", async () => {
  problems = [{ kind: "database", name: "orders", state: "impossible", reason: "There is no role sales." }];
  const set = await guacamole(["database", "set", "orders", "--owner", "sales"]);
  expect(set).toMatchObject({ code: 5 });
  expect(set.err).toContain("There is no role sales.");
  expect((await guacamole(["database", "set", "orders", "--grant", "app"])).code).toBe(2);
});

test("guacamole database grant: objects that are there, by their names, and those to come", async () => {
  problems = [];
  const grant = (...words: readonly string[]) => guacamole(["database", "grant", "shop", ...words]);
  const tables = ["--on", "tables", "--in", "s"];
  expect(await grant("select,insert", ...tables, "--to", "app")).toMatchObject({ code: 0 });
  await grant("none", ...tables, "--to", "app", "--named", "secrets", "keys");
  await grant("execute", "--on", "functions", "--in", "s", "--named", "total(integer)", "--to", "app");
  await grant("select", ...tables, "--made-by", "owner", "--to", "app");
  const last = await grant("none", "--on", "functions", "--made-by", "owner", "--to", "public");
  expect(wishOf("shop")).toMatchObject({
    schemas: {
      s: {
        tables: { "*": { app: ["select", "insert"] }, secrets: { app: [] }, keys: { app: [] } },
        functions: { "total(integer)": { app: ["execute"] } },
        defaultPrivileges: { owner: { tables: { app: ["select"] } } },
      },
    },
    defaultPrivileges: { owner: { functions: { public: [] } } },
  });
  expect(last.out).toContain("tables s.*: app select insert, tables s.secrets: app nothing");
  expect(last.out).toContain("functions that owner makes: public nothing");
  expect((await grant("select", "--on", "tables", "--to", "app")).code).toBe(2);
  expect((await grant("select", ...tables, "--to", "app", "--named", "a", "--made-by", "b")).code).toBe(2);
  expect((await grant("execute", ...tables, "--to", "app")).code).toBe(3);
  expect((await grant("select", "--on", "views", "--in", "s", "--to", "app")).code).toBe(2);
});
