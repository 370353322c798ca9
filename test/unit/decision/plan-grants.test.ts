import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type {
  ObservedCatalog,
  ObservedInside,
  ObservedObject,
  ObservedPrivileges,
} from "../../../src/cluster/catalog.ts";
import { changedDeclaration, type DatabaseWish, type SchemaWish } from "../../../src/cluster/declared.ts";
import { detailedKey, type Grants, type ObjectKind, TABLE_PRIVILEGES } from "../../../src/cluster/grants.ts";
import { planCatalog } from "../../../src/decision/plan-catalog.ts";
import { BLANK, carriedOut, NEW_DATABASE, NOTHING_INSIDE } from "../../support/catalog-model.ts";

type Wish = Omit<DatabaseWish, "since">;

const privileges = (all: Readonly<Record<string, readonly string[]>> = {}): ObservedPrivileges =>
  new Map(Object.entries(all).map(([role, each]) => [role, new Set(each)]));

function object(name: string, over: Partial<ObservedObject> = {}): ObservedObject {
  return { name, detail: null, owner: "owner", isDangerous: false, privileges: privileges(), ...over };
}

const NO_DEFAULTS = {
  everywhere: {
    tables: privileges({ owner: TABLE_PRIVILEGES }),
    sequences: privileges(),
    functions: privileges({ public: ["execute"], owner: ["execute"] }),
    types: privileges({ public: ["usage"], owner: ["usage"] }),
  },
  schemas: new Map(),
};

const NO_OBJECTS = { tables: [], sequences: [], functions: [], types: [], columns: [] };

type Objects = Partial<Record<ObjectKind, readonly ObservedObject[]>>;

function catalog(objects: Objects, over: Partial<ObservedInside> = {}, major = 18): ObservedCatalog {
  const inside: ObservedInside = {
    ...NOTHING_INSIDE,
    schemas: new Map([["shop", { owner: "owner", privileges: privileges() }]]),
    objects: new Map([["shop", { ...NO_OBJECTS, ...objects }]]),
    defaults: new Map([
      ["owner", NO_DEFAULTS],
      ["postgres", NO_DEFAULTS],
    ]),
    ...over,
  };
  const roles = new Map(["owner", "app", "boss"].map((name) => [name, BLANK]));
  roles.set("postgres", { ...BLANK, superuser: true });
  return { now: "", major, roles, databases: new Map([["sales", { ...NEW_DATABASE, inside }]]) };
}

function planned(wish: Wish, observed: ObservedCatalog) {
  const declared = changedDeclaration(undefined, { databases: { sales: wish } }, 7);
  if (declared === null) throw new Error("nothing is declared");
  const { steps, impossible } = planCatalog(declared, observed);
  return {
    statements: steps.map(({ statement }) => statement),
    reasons: impossible.map(({ reason }) => reason),
  };
}

const inShop = (shop: SchemaWish, over: Wish = {}): Wish => ({ schemas: { shop }, ...over });

describe("a plan for grants", () => {
  test("what is said of an object by its name counts more than what is said of all, role by role", () => {
    const tables = [object("orders"), object("secrets", { privileges: privileges({ app: ["select"] }) })];
    const wish = inShop({
      tables: { "*": { app: ["select", "insert"], boss: ["select"] }, secrets: { app: [] } },
    });
    expect(planned(wish, catalog({ tables })).statements).toMatchObject([
      { kind: "grant-objects", role: "app", privileges: ["select", "insert"], names: [{ name: "orders" }] },
      { kind: "grant-objects", role: "boss", names: [{ name: "orders" }, { name: "secrets" }] },
      { kind: "revoke-objects", role: "app", privileges: ["select"], names: [{ name: "secrets" }] },
    ]);
  });

  test("a function is meant with its types, or each of its name without", () => {
    const functions = [object("total", { detail: "integer" }), object("total", { detail: "integer, text" })];
    const names = (asked: string) =>
      planned(inShop({ functions: { [asked]: { app: ["execute"] } } }), catalog({ functions })).statements;
    expect(names("total")).toMatchObject([{ names: [{ detail: "integer" }, { detail: "integer, text" }] }]);
    expect(names(" total ( integer,text )")).toMatchObject([{ names: [{ detail: "integer, text" }] }]);
    const { reasons } = planned(inShop({ functions: { "total(int)": {} } }), catalog({ functions }));
    expect(reasons).toEqual([
      "There is no function total(int) in schema shop; there is total(integer), total(integer, text).",
    ]);
    expect(detailedKey("f()")).toBe("f()");
  });

  test("a column is meant with its table, or each of that table without; a statement is of one table", () => {
    const columns = ["people(id)", "people(name)", "orders(id)"].map((each) => {
      const [name = "", detail = ""] = each.slice(0, -1).split("(");
      return object(name, { detail });
    });
    const statements = (wished: SchemaWish["columns"]) =>
      planned(inShop({ columns: wished ?? {} }), catalog({ columns })).statements;
    const id = { name: "people", detail: "id" };
    const name = { name: "people", detail: "name" };
    expect(statements({ people: { app: ["select"] }, "people( name )": { app: [] } })).toMatchObject([
      { kind: "grant-objects", objects: "columns", role: "app", names: [id] },
    ]);
    expect(statements({ "*": { app: ["select", "update"] } })).toMatchObject([
      { names: [id, name], privileges: ["select", "update"] },
      { names: [{ name: "orders", detail: "id" }] },
    ]);
    const { reasons } = planned(inShop({ columns: { "people(age)": {} } }), catalog({ columns }));
    expect(reasons).toEqual([
      "There is no column people(age) in schema shop; there is people(id), people(name).",
    ]);
  });

  test("many objects share statements, and none of them is endless", () => {
    const tables = Array.from({ length: 120 }, (_, index) => object(`t${index}`));
    const { statements } = planned(inShop({ tables: { "*": { app: ["select"] } } }), catalog({ tables }));
    expect(statements.map((each) => ("names" in each ? each.names.length : 0))).toEqual([50, 50, 20]);
  });

  test("what cannot be is told, and the rest is done", () => {
    const wish = inShop({ tables: { none: { app: ["select"] }, orders: { app: ["select", "maintain"] } } });
    const old = planned(wish, catalog({ tables: [object("orders")] }, {}, 16));
    expect(old.statements).toMatchObject([{ names: [{ name: "orders" }], privileges: ["select"] }]);
    expect(old.reasons).toEqual([
      "There is no table none in schema shop.",
      "maintain is a privilege from PostgreSQL 17 on; this one is 16.",
    ]);
    const nobody = planned(inShop({ tables: { "*": { nobody: ["select"] } } }), catalog({}));
    expect(nobody.reasons).toEqual(["There is no role nobody: declare it, or make it."]);
    const maker = planned({ defaultPrivileges: { nobody: {} } }, catalog({}));
    expect(maker.reasons).toEqual(["There is no role nobody: declare it, or make it."]);
  });

  test("of objects to come in one schema, nothing is taken away that is so in all of them", () => {
    const wish = inShop({
      defaultPrivileges: { owner: { functions: { public: [] }, tables: { app: ["select"] } } },
    });
    const { statements, reasons } = planned(wish, catalog({}));
    expect(statements).toMatchObject([
      { kind: "grant-default", schema: "shop", creator: "owner", role: "app", privileges: ["select"] },
    ]);
    expect(reasons[0]).toContain("public gets execute of functions that owner makes in every schema");
    const both = { ...wish, defaultPrivileges: { owner: { functions: { public: [] } } } };
    expect(planned(both, catalog({})).reasons).toEqual([]);
    expect(planned(both, catalog({})).statements).toMatchObject([
      { kind: "grant-default", schema: "shop" },
      { kind: "revoke-default", schema: null, objects: "functions", role: "public" },
    ]);
  });
});

describe("what gives a superuser's power is only admin's to grant", () => {
  const own = { owner: "postgres" };
  const definer = object("run", { ...own, detail: "text", isDangerous: true });
  test.each([
    [
      "a function that runs as a superuser",
      { functions: [definer] },
      inShop({ functions: { "*": { app: ["execute"] } } }),
      "execute on function run",
    ],
    [
      "a trigger on a superuser's table",
      { tables: [object("t", own)] },
      inShop({ tables: { t: { app: ["trigger"] } } }),
      "trigger on table t",
    ],
    [
      "what a superuser will make",
      {},
      inShop({ defaultPrivileges: { postgres: { tables: { app: ["select"] } } } }),
      "a superuser's to say",
    ],
  ] as const)("%s", (_what, objects, wish, sentence) => {
    const { statements, reasons } = planned(wish, catalog(objects));
    expect(statements).toEqual([]);
    expect(reasons[0]).toContain(sentence);
    expect(reasons[0]).toContain("only a token of scope 'admin'");
    const trusted = planned({ ...wish, isTrusted: true }, catalog(objects));
    expect(trusted.reasons).toEqual([]);
    expect(trusted.statements).toHaveLength(1);
  });

  test("but not what everybody may do anyway, nor what is read and written", () => {
    const open = { ...definer, privileges: privileges({ public: ["execute"] }) };
    const wish = inShop({
      functions: { "*": { app: ["execute"] } },
      tables: { "*": { app: ["select", "insert"] } },
    });
    const { reasons } = planned(wish, catalog({ functions: [open], tables: [object("t", own)] }));
    expect(reasons).toEqual([]);
  });
});

test("what is taken back of a table is granted again of its columns, by the same plan", () => {
  const names = fc.constantFrom("a", "b");
  const shared = fc.uniqueArray(fc.constantFrom("select", "insert"));
  const granted = fc.dictionary(fc.constantFrom("app", "boss"), shared);
  const ofColumns = fc.dictionary(fc.constantFrom("a(x)", "a(y)", "b(x)", "a", "*"), granted);
  fc.assert(
    fc.property(
      fc.dictionary(names, granted),
      ofColumns,
      granted,
      granted,
      (tablesWished, columnsWished, ofTable, ofColumn) => {
        const tables = ["a", "b"].map((name) => object(name, { privileges: privileges(ofTable) }));
        const columns = ["a(x)", "a(y)", "b(x)"].map((each) =>
          object(each.slice(0, 1), { detail: each.slice(2, 3), privileges: privileges(ofColumn) }),
        );
        const wish = inShop({
          tables: tablesWished as SchemaWish["tables"] & object,
          columns: columnsWished as SchemaWish["columns"] & object,
        });
        const before = catalog({ tables, columns });
        const after = planned(wish, before).statements.reduce(carriedOut, before);
        expect(planned(wish, after).statements).toEqual([]);
      },
    ),
    { numRuns: 500 },
  );
});

const some = fc.uniqueArray(fc.constantFrom("select", "insert", "trigger"));
const who = fc.constantFrom("app", "boss", "owner", "public");
const granted = fc.dictionary(who, some);
const names = fc.constantFrom("a", "b", "c");
const grants = granted as fc.Arbitrary<Grants>;
const tablesWish = fc.dictionary(fc.oneof(names, fc.constant("*")), grants);

test("each role has just what was said of each object, and nothing else was touched", () => {
  fc.assert(
    fc.property(tablesWish, fc.dictionary(names, granted), fc.boolean(), (wished, present, isTrusted) => {
      const tables = Object.entries(present).map(([name, each]) =>
        object(name, { owner: "postgres", privileges: privileges(each) }),
      );
      const wish: Wish = {
        ...inShop({ tables: wished }),
        ...(isTrusted ? { isTrusted: true as const } : {}),
      };
      const before = catalog({ tables });
      const after = planned(wish, before).statements.reduce(carriedOut, before);
      expect(planned(wish, after).statements).toEqual([]);
      const seen = after.databases.get("sales")?.inside?.objects.get("shop")?.tables ?? [];
      for (const { name, privileges: now } of seen) {
        for (const role of ["app", "boss", "owner", "public"]) {
          const had = present[name]?.[role] ?? [];
          const asked = wished[name]?.[role] ?? wished["*"]?.[role] ?? had;
          // A trigger on a superuser's table would be his power.
          const wanted = asked.filter((each) => isTrusted || each !== "trigger" || had.includes(each));
          expect([...(now.get(role) ?? [])].sort()).toEqual([...wanted].sort());
        }
      }
    }),
    { numRuns: 500 },
  );
});
