import { describe, expect, test } from "bun:test";
import type { DatabaseDocument, DatabasesDocument } from "../../../src/api/database-documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { SpecAppliedDocument, SpecDocument } from "../../../src/api/spec-documents.ts";
import { ok } from "../../../src/base/result.ts";
import { type Fake, living, read, request, SECRET } from "./fixture.ts";

const PATH = "/v1/access/databases";
const ACCESS = `gcm_access-1_${SECRET}`;

const declaring = () => living({ featureLevel: 4 });
const wishOf = (fake: Fake, name: string) => fake.state?.spec.declared?.databases?.[name];

describe("a database", () => {
  test("is declared, shown with its state, changed entry by entry, and forgotten", async () => {
    const fake = declaring();
    const body = {
      owner: "sales",
      extensions: { hstore: { schema: "public" } },
      schemas: { reports: { owner: "sales", privileges: { app: ["usage"] } } },
      privileges: { public: [] },
      settings: { jit: false },
    };
    const made = await request(fake, "PUT", `${PATH}/orders`, body);
    expect(await read<DatabaseDocument>(made)).toEqual({
      name: "orders",
      state: "pending",
      reason: null,
      generation: 2,
      wish: { state: "present", ...(body as object), settings: { jit: "off" } } as DatabaseDocument["wish"],
    });
    await request(fake, "PATCH", `${PATH}/orders`, {
      extensions: { hstore: null, citext: {} },
      schemas: { reports: { privileges: { boss: ["create"] } } },
    });
    expect(wishOf(fake, "orders")).toEqual({
      since: 3,
      isTrusted: true,
      owner: "sales",
      extensions: { hstore: null, citext: {} },
      schemas: { reports: { owner: "sales", privileges: { app: ["usage"], boss: ["create"] } } },
      privileges: { public: [] },
      settings: { jit: "off" },
    });
    const problem = {
      kind: "database",
      name: "orders",
      state: "impossible",
      reason: "No such role.",
    } as const;
    fake.declaredReport = () =>
      ok({
        revision: 3,
        problems: [problem],
        corrected: [{ kind: "database", name: "orders", what: "owner", atMs: 5_000 }],
      });
    expect(await read<DatabasesDocument>(await request(fake, "GET", PATH))).toMatchObject({
      databases: [{ name: "orders", state: "impossible", reason: "No such role." }],
      corrected: [{ name: "orders", what: "owner" }],
    });
    await request(fake, "DELETE", `${PATH}/orders?drop=true`);
    expect(wishOf(fake, "orders")).toEqual({ since: 4, isTrusted: true, isAbsent: true });
    expect((await request(fake, "DELETE", `${PATH}/orders`)).status).toBe(200);
    expect(fake.state?.spec.declared).toBeUndefined();
    expect((await request(fake, "DELETE", `${PATH}/orders`)).status).toBe(404);
  });

  test("grants in it are changed role by role, and sent back as they are shown", async () => {
    const fake = declaring();
    const shop = {
      tables: { "*": { app: ["select"] } },
      functions: { "total(integer)": { app: ["execute"] } },
      defaultPrivileges: { owner: { tables: { app: ["select"] } } },
    };
    await request(fake, "PUT", `${PATH}/orders`, { schemas: { shop } });
    await request(fake, "PATCH", `${PATH}/orders`, {
      schemas: {
        shop: {
          tables: { "*": { boss: [] }, secrets: { app: [] } },
          defaultPrivileges: { owner: { tables: { app: [] }, sequences: { app: ["usage"] } } },
        },
      },
      defaultPrivileges: { owner: { functions: { public: [] } } },
    });
    expect(wishOf(fake, "orders")).toEqual({
      since: 3,
      isTrusted: true,
      schemas: {
        shop: {
          tables: { "*": { app: ["select"], boss: [] }, secrets: { app: [] } },
          functions: { "total(integer)": { app: ["execute"] } },
          defaultPrivileges: { owner: { tables: { app: [] }, sequences: { app: ["usage"] } } },
        },
      },
      defaultPrivileges: { owner: { functions: { public: [] } } },
    });
    const { spec } = await read<SpecDocument>(await request(fake, "GET", "/v1/spec"));
    const again = await request(fake, "PUT", "/v1/spec", { declared: spec.declared });
    expect(await read<SpecAppliedDocument>(again)).toMatchObject({ changes: [] });
    await request(fake, "PUT", "/v1/spec", { declared: { databases: { orders: { schemas: { shop } } } } });
    expect(wishOf(fake, "orders")).toEqual({ since: 4, isTrusted: true, schemas: { shop } } as never);
  });

  test("many at once, and all of them; roles stay as they are declared", async () => {
    const fake = declaring();
    await request(fake, "PUT", "/v1/access/roles/app", { login: true });
    await request(fake, "PATCH", PATH, { databases: { a: { owner: "app" }, b: {} } });
    await request(fake, "PUT", PATH, { databases: { b: { connectionLimit: 3 } } });
    expect(fake.state?.spec.declared).toMatchObject({ revision: 4, roles: { app: { since: 2 } } });
    expect(fake.state?.spec.declared?.databases).toEqual({
      b: { connectionLimit: 3, isTrusted: true, since: 4 },
    });
  });
});

test.each([
  ["template0", {}, "as PostgreSQL made it"],
  ["postgres", { state: "absent" }, "needs it"],
  ["orders", { state: "absent", owner: "app" }, "nothing else"],
  ["orders", { owner: "guacamole_replicator" }, "guacamole's own"],
  ["orders", { encoding: "UTF 8" }, "encoding"],
  ["orders", { locale: "C; DROP" }, "locale"],
  ["orders", { schemas: { pg_toast: {} } }, "PostgreSQL's own"],
  ["orders", { schemas: { s: { privileges: { guacamole_x: ["usage"] } } } }, "guacamole's own"],
  ["orders", { settings: { session_authorization: "x" } }, "another role's"],
  ["orders", { privileges: { app: ["superuser"] } }, "privileges"],
  ["orders", { schemas: { s: { tables: { t: { app: ["execute"] } } } } }, "tables"],
  ["orders", { schemas: { s: { tables: { "a\nb": { app: [] } } } } }, "control characters"],
  ["orders", { schemas: { s: { functions: { "f(\u0000)": { app: [] } } } } }, "control characters"],
  ["orders", { schemas: { s: { sequences: { "*": { guacamole_x: [] } } } } }, "guacamole's own"],
  ["orders", { defaultPrivileges: { pg_monitor: { tables: { app: [] } } } }, "PostgreSQL's own"],
])("what is refused: %s %j", async (name, body, sentence) => {
  const fake = declaring();
  const answer = await request(fake, "PUT", `${PATH}/${name}`, body);
  expect(answer.status).toBe(422);
  expect((await read<ProblemDocument>(answer)).detail).toContain(sentence);
  expect(fake.commands).toEqual([]);
});

test("what guacamole itself would meet, and what loads code, is admin's", async () => {
  const fake = declaring();
  for (const [name, body] of [
    ["postgres", { owner: "app" }],
    ["template1", { schemas: { s: {} } }],
    ["orders", { settings: { session_preload_libraries: "x" } }],
  ] as const) {
    expect((await request(fake, "PUT", `${PATH}/${name}`, body, {}, ACCESS)).status).toBe(403);
    expect((await request(fake, "PUT", `${PATH}/${name}`, body)).status).toBe(200);
  }
  await request(fake, "PUT", `${PATH}/mine`, { owner: "app" }, {}, ACCESS);
  expect(wishOf(fake, "mine")).toEqual({ owner: "app", since: 5 });
});
