import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ObservedCatalog, ObservedRole } from "../../../src/cluster/catalog.ts";
import {
  changedDeclaration,
  type DeclaredSpec,
  type Membership,
  ROLE_FLAGS,
  type RoleWish,
} from "../../../src/cluster/declared.ts";
import { planCatalog } from "../../../src/decision/plan-catalog.ts";
import { BLANK, carriedOut, NEW_DATABASE } from "../../support/catalog-model.ts";

const NOW = "2027-01-01T00:00:00.000Z";

type Wishes = Readonly<Record<string, Omit<RoleWish, "since">>>;

function catalog(roles: Readonly<Record<string, Partial<ObservedRole>>> = {}, major = 18): ObservedCatalog {
  const all = Object.entries({ postgres: { superuser: true, login: true }, pg_monitor: {}, ...roles });
  return {
    now: NOW,
    major,
    roles: new Map(all.map(([name, role]) => [name, { ...BLANK, ...role }])),
    databases: new Map(["postgres", "sales"].map((name) => [name, NEW_DATABASE])),
  };
}

function declared(roles: Wishes): DeclaredSpec {
  const spec = changedDeclaration(undefined, { roles }, 7);
  if (spec === null) throw new Error("nothing is declared");
  return spec;
}

const sentences = (roles: Wishes, observed: ObservedCatalog) =>
  planCatalog(declared(roles), observed).steps.map(({ item, statement, what }) =>
    [statement.kind, item.name, what].join(" "),
  );

describe("a plan for roles", () => {
  test("makes what is missing: first all roles, then who is a member, then settings; drops come last", () => {
    const wishes: Wishes = {
      app: { login: true, memberOf: { readers: "member" }, settings: { work_mem: "64MB" } },
      gone: { isAbsent: true },
      readers: {},
    };
    expect(sentences(wishes, catalog({ gone: {} }))).toEqual([
      "create-role app it is missing",
      "create-role readers it is missing",
      "grant-role app memberOf readers",
      "set-role app settings work_mem",
      "drop-role gone it exists",
    ]);
  });

  test("touches only what is named and different", () => {
    const role = { login: true, connectionLimit: 3, password: "SCRAM-x" };
    expect(sentences({ app: { login: true } }, catalog({ app: role }))).toEqual([]);
    expect(
      sentences({ app: { login: true, connectionLimit: 4, createdb: false } }, catalog({ app: role })),
    ).toEqual(["alter-role app connectionLimit"]);
  });

  test("says what differs without what it is", () => {
    const [step] = planCatalog(
      declared({ app: { password: "SCRAM-SHA-256$secret" } }),
      catalog({ app: {} }),
    ).steps;
    expect(step?.what).toBe("password");
  });

  test("revokes by the grantor from PostgreSQL 16 on, and without before", () => {
    const app = {
      memberOf: [
        { role: "pg_monitor", isAdmin: false, grantor: "postgres" },
        { role: "pg_monitor", isAdmin: true, grantor: "lead" },
      ],
    };
    const plan = (major: number) =>
      planCatalog(declared({ app: { memberOf: { pg_monitor: "none" } } }), catalog({ app }, major)).steps.map(
        ({ statement }) => statement,
      );
    expect(plan(16)).toMatchObject([{ grantor: "postgres" }, { grantor: "lead" }]);
    expect(plan(15)).toMatchObject([{ grantor: null }, { grantor: null }]);
  });

  test("equal lists of names are equal however they are written", () => {
    const app = { settings: new Map([["search_path", 'app, "My Schema", public']]) };
    const wish = (value: string) => ({ app: { settings: { search_path: value } } });
    expect(sentences(wish('App,"My Schema" , public'), catalog({ app }))).toEqual([]);
    expect(sentences(wish("app, my schema, public"), catalog({ app }))).toHaveLength(1);
  });
});

describe("an impossible wish", () => {
  const impossible = (roles: Wishes, observed: ObservedCatalog) =>
    planCatalog(declared(roles), observed).impossible.map(({ name, reason }) => `${name}: ${reason}`);

  test.each([
    ["a member of nothing", { app: { memberOf: { nobody: "member" } } }, "There is no role nobody"],
    ["a database that is none", { app: { databaseSettings: { none: {} } } }, "There is no database none"],
    [
      "a member of what is to be gone",
      { app: { memberOf: { old: "member" } }, old: { isAbsent: true } },
      "There is no role old",
    ],
    ["a superuser's password", { dba: { password: null } }, "only a token of scope 'admin'"],
    ["a superuser by way of two others", { far: { login: true } }, "only a token of scope 'admin'"],
    ["a member of a superuser", { app: { memberOf: { dbas: "member" } } }, "dbas is as powerful"],
  ] as const)("%s", (_what, roles, sentence) => {
    const observed = catalog({
      old: {},
      dba: { superuser: true },
      dbas: { memberOf: [{ role: "dba", isAdmin: false, grantor: "postgres" }] },
      far: { memberOf: [{ role: "dbas", isAdmin: false, grantor: "postgres" }] },
    });
    const said = impossible(roles as Wishes, observed);
    expect(said[0]).toContain(sentence);
    const trusted = Object.fromEntries(
      Object.entries(roles).map(([name, wish]) => [name, { ...(wish as object), isTrusted: true }]),
    ) as Wishes;
    const isAboutPower = sentence.includes("admin") || sentence.includes("powerful");
    expect(impossible(trusted, observed)).toHaveLength(isAboutPower ? 0 : said.length);
  });
});

const NAMES = ["a", "b", "c", "d"] as const;
const name = fc.constantFrom(...NAMES);
const settings = fc.dictionary(
  fc.constantFrom("work_mem", "search_path"),
  fc.option(fc.constantFrom("1MB", "a, b", "")),
);
const flags = Object.fromEntries(ROLE_FLAGS.map((flag) => [flag, fc.boolean()]));
const attributes = {
  ...flags,
  connectionLimit: fc.integer({ min: -1, max: 3 }),
  validUntil: fc.option(fc.constantFrom("2999-01-01T00:00:00.000Z", "3000-01-01T00:00:00.000Z")),
  password: fc.option(fc.constantFrom("SCRAM-1", "SCRAM-2")),
};
const wish = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ isAbsent: true as const }) },
  {
    weight: 6,
    arbitrary: fc.record(
      {
        ...attributes,
        memberOf: fc.dictionary(name, fc.constantFrom<Membership>("member", "admin", "none")),
        settings,
        databaseSettings: fc.dictionary(fc.constantFrom("postgres", "sales", "none"), settings),
        isTrusted: fc.constant(true as const),
      },
      { requiredKeys: [] },
    ),
  },
);
const observedRole = fc.record({
  ...attributes,
  memberOf: fc.uniqueArray(
    fc.record({ role: name, isAdmin: fc.boolean(), grantor: fc.constantFrom("postgres", "lead") }),
    { selector: ({ role, grantor }) => `${role} ${grantor}` },
  ),
});
const world = fc.dictionary(name, observedRole);

test("any plan that is carried out leaves nothing to do but what is impossible", () => {
  fc.assert(
    fc.property(fc.dictionary(name, wish), world, (wishes, present) => {
      if (Object.keys(wishes).length === 0) return;
      const spec = declared(wishes as unknown as Wishes);
      const before = catalog(present as unknown as Readonly<Record<string, Partial<ObservedRole>>>);
      const plan = planCatalog(spec, before);
      // PostgreSQL's refusals are its own: here a group may be its own member.
      const doomed = new Set(plan.impossible.map((each) => each.name));
      const memberships = Object.values(spec.roles ?? {}).flatMap((each) => Object.keys(each.memberOf ?? {}));
      const isDoomedGroup = memberships.some((each) => doomed.has(each) && !before.roles.has(each));
      if (isDoomedGroup) return;
      const after = plan.steps.reduce((world_, { statement }) => carriedOut(world_, statement), before);
      const again = planCatalog(spec, after);
      const settled = again.steps.filter(({ item }) => !doomed.has(item.name));
      // A role that has become powerful, or whose group went, may have become impossible: then nothing more is done about it.
      expect(settled).toEqual([]);
      expect(planCatalog(spec, before)).toEqual(plan);
    }),
    { numRuns: 500 },
  );
});
