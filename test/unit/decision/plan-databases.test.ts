import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ObservedCatalog, ObservedDatabase } from "../../../src/cluster/catalog.ts";
import { changedDeclaration, type DatabaseWish, type DeclaredSpec } from "../../../src/cluster/declared.ts";
import { planCatalog } from "../../../src/decision/plan-catalog.ts";
import { AVAILABLE, BLANK, carriedOut, NEW_DATABASE, NOTHING_INSIDE } from "../../support/catalog-model.ts";

const NOW = "2027-01-01T00:00:00.000Z";

type Wishes = Readonly<Record<string, Omit<DatabaseWish, "since">>>;

const INSIDE = { ...NOTHING_INSIDE, available: AVAILABLE };

function catalog(databases: Readonly<Record<string, Partial<ObservedDatabase>>> = {}): ObservedCatalog {
  const all = Object.entries({ postgres: {}, ...databases });
  return {
    now: NOW,
    major: 18,
    roles: new Map(["postgres", "sales", "app"].map((name) => [name, BLANK])),
    databases: new Map(
      all.map(([name, database]) => [name, { ...NEW_DATABASE, inside: INSIDE, ...database }]),
    ),
  };
}

function declared(databases: Wishes, roles: DeclaredSpec["roles"] = {}): DeclaredSpec {
  const spec = changedDeclaration(undefined, { databases, roles }, 7);
  if (spec === null) throw new Error("nothing is declared");
  return spec;
}

const kinds = (spec: DeclaredSpec, observed: ObservedCatalog) =>
  planCatalog(spec, observed).steps.map(({ statement, item }) => `${statement.kind} ${item.name}`);

describe("a plan for databases", () => {
  test("makes owners before what they own, and drops databases before roles", () => {
    const spec = declared(
      { orders: { owner: "boss", privileges: { public: [] } }, old: { isAbsent: true } },
      {
        boss: { since: 1, databaseSettings: { orders: { work_mem: "1MB" } } },
        sales: { since: 1, isAbsent: true },
      },
    );
    expect(kinds(spec, catalog({ old: { owner: "sales" } }))).toEqual([
      "create-role boss",
      "create-database orders",
      "set-role boss",
      "drop-database old",
      "drop-role sales",
    ]);
  });

  test("a new one of another encoding comes from the template that nothing is in", () => {
    const [step] = planCatalog(declared({ latin: { encoding: "LATIN1", locale: "C" } }), catalog()).steps;
    expect(step?.statement).toMatchObject({ template: "template0", encoding: "LATIN1" });
    const [usual] = planCatalog(declared({ usual: {} }), catalog()).steps;
    expect(usual?.statement).toEqual({ kind: "create-database", database: "usual" });
  });

  test("touches only what is named and different", () => {
    const orders = { owner: "sales", connectionLimit: 5, settings: new Map([["work_mem", "1MB"]]) };
    expect(kinds(declared({ orders: { owner: "sales" } }), catalog({ orders }))).toEqual([]);
    const wish = { owner: "app", connectionLimit: -1, settings: { work_mem: null } };
    expect(kinds(declared({ orders: wish }), catalog({ orders }))).toEqual([
      "own-database orders",
      "limit-database orders",
      "set-database orders",
    ]);
  });

  test("schemas come before extensions, and go after them; a role has these privileges and no others", () => {
    const schemas = new Map([["old", { owner: "app", privileges: new Map() }]]);
    const extensions = new Map([["hstore", { version: "1.0", schema: "old" }]]);
    const orders = { inside: { ...INSIDE, schemas, extensions } };
    const wish: Wishes = {
      orders: {
        schemas: { old: null, reports: { owner: "sales", privileges: { app: ["usage"] } } },
        extensions: { hstore: null },
        privileges: { public: ["connect", "create"] },
      },
    };
    expect(
      planCatalog(declared(wish), catalog({ orders })).steps.map(({ statement }) => statement),
    ).toMatchObject([
      { kind: "grant-database", role: "public", privileges: ["create"] },
      { kind: "revoke-database", role: "public", privileges: ["temporary"] },
      { kind: "create-schema", schema: "reports" },
      { kind: "grant-schema", role: "app" },
      { kind: "drop-extension" },
      { kind: "drop-schema", schema: "old" },
    ]);
  });
});

test.each([
  ["an owner who is none", { orders: { owner: "nobody" } }, "There is no role nobody", false],
  ["another encoding", { postgres: { encoding: "LATIN1", isTrusted: true } }, "encoding is UTF8", false],
  ["another locale", { postgres: { locale: "C", isTrusted: true } }, "locale is C.UTF-8", false],
  ["the database that guacamole uses", { postgres: { owner: "app" } }, "scope 'admin'", true],
  ["an extension that the host has not", { mine: { extensions: { none: {} } } }, "no extension none", false],
  [
    "an extension that is not trusted",
    { mine: { extensions: { file_fdw: {} } } },
    "not call the extension",
    true,
  ],
] as const)("an impossible wish: %s", (_what, databases, sentence, isForAdmin) => {
  const plan = planCatalog(declared(databases as unknown as Wishes), catalog({ mine: {} }));
  expect(plan.steps).toEqual([]);
  expect(plan.impossible[0]?.reason).toContain(sentence);
  const trusted = Object.entries(databases).map(([name, wish]) => [name, { ...wish, isTrusted: true }]);
  const again = planCatalog(declared(Object.fromEntries(trusted) as Wishes), catalog({ mine: {} }));
  expect(again.impossible).toHaveLength(isForAdmin ? 0 : 1);
});

const role = fc.constantFrom("sales", "app", "postgres");
const some = <T>(...values: readonly T[]) => fc.uniqueArray(fc.constantFrom(...values));
const settings = fc.dictionary(
  fc.constantFrom("work_mem", "search_path"),
  fc.option(fc.constantFrom("1MB", "a, b")),
);
const schema = fc.record(
  { owner: role, privileges: fc.dictionary(fc.constantFrom("public", "app"), some("usage", "create")) },
  { requiredKeys: [] },
);
const wish = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ isAbsent: true as const }) },
  {
    weight: 6,
    arbitrary: fc.record(
      {
        owner: role,
        encoding: fc.constantFrom("UTF8", "LATIN1"),
        connectionLimit: fc.integer({ min: -1, max: 2 }),
        settings,
        extensions: fc.dictionary(
          fc.constantFrom("hstore", "file_fdw", "none"),
          fc.option(
            fc.record(
              { schema: fc.constantFrom("public", "s1"), version: fc.constantFrom("1.0", "2.0") },
              { requiredKeys: [] },
            ),
          ),
        ),
        schemas: fc.dictionary(fc.constantFrom("s1", "s2"), fc.option(schema)),
        privileges: fc.dictionary(fc.constantFrom("public", "app"), some("connect", "create", "temporary")),
        isTrusted: fc.constant(true as const),
      },
      { requiredKeys: [] },
    ),
  },
);

test("plans that are carried out one after the other end, with nothing left but what is impossible", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom("a", "b", "postgres"), wish, { minKeys: 1 }),
      fc.uniqueArray(fc.constantFrom("a", "b")),
      (wishes, present) => {
        const spec = declared(wishes as unknown as Wishes);
        let observed = catalog(Object.fromEntries(present.map((name) => [name, {}])));
        // Once for what is made, once for what is in it: then it is as it should be.
        for (let pass = 0; pass < 2; pass += 1)
          for (const { statement } of planCatalog(spec, observed).steps)
            observed = carriedOut(observed, statement);
        expect(planCatalog(spec, observed).steps).toEqual([]);
      },
    ),
    { numRuns: 500 },
  );
});
