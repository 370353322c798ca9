/** Declared grants on real PostgreSQL: on objects that are there, and on those to come. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  changedDeclaration,
  type DatabaseWish,
  insideQuestions,
  type SchemaWish,
} from "../../src/cluster/declared.ts";
import { planCatalog } from "../../src/decision/plan-catalog.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { realClock } from "../support/postgres-clock.ts";
import { PostgresFarm, type TestServer } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;

type Wish = Omit<DatabaseWish, "since">;

/** One story: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;
    let catalog: Catalog;

    async function planned(wish: Wish) {
      const spec = changedDeclaration(undefined, { databases: { sales: wish } }, 1);
      if (spec === null) throw new Error("nothing is declared");
      return planCatalog(spec, await catalog.read(insideQuestions(spec)));
    }

    /** @returns what cannot be. */
    async function converge(wish: Wish): Promise<readonly string[]> {
      const { steps } = await planned(wish);
      const results = await catalog.run(steps.map(({ statement }) => statement));
      expect(results.filter((each) => each !== null)).toEqual([]);
      const again = await planned(wish);
      expect(again.steps).toEqual([]);
      return again.impossible.map(({ reason }) => reason);
    }

    const shop = (wish: SchemaWish, over: Wish = {}): Wish => ({ schemas: { shop: wish }, ...over });

    function inside(text: string): string {
      const { socketDirectory, port } = server;
      const place = `host=${socketDirectory} port=${port} user=postgres dbname=sales`;
      const run = Bun.spawnSync([`${server.binDirectory}/psql`, "-XAtqc", text, place]);
      return `${run.stdout.toString()}${run.stderr.toString()}`.trim();
    }

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      server = await farm.addPrimary("m1");
      const { socketDirectory, port } = server;
      catalog = new Catalog({
        socketDirectory,
        port,
        user: "postgres",
        database: "postgres",
        clock: realClock,
      });
      server.sql("CREATE ROLE owner; CREATE ROLE app; CREATE ROLE other");
      server.sql("CREATE DATABASE sales");
      inside(
        `CREATE SCHEMA shop AUTHORIZATION owner; SET ROLE owner; SET search_path = shop;
         CREATE TABLE orders (id serial); CREATE TABLE "od""d; \\name" (); CREATE VIEW seen AS SELECT 1 AS one;
         CREATE TABLE parts (id int) PARTITION BY RANGE (id);
         CREATE TYPE "Odd, (type" AS (a int);
         CREATE FUNCTION total(integer, "Odd, (type") RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION total() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE PROCEDURE work(INOUT a int, text) LANGUAGE sql AS 'SELECT 1';
         CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE span AS RANGE (subtype = int); CREATE DOMAIN "an ""age" AS int;
         CREATE TABLE people (id int, "na)me, (" text, gone int); ALTER TABLE people DROP COLUMN gone;
         CREATE AGGREGATE summed(int) (sfunc = int4pl, stype = int);
         GRANT SELECT, TRUNCATE ON orders TO other`,
      );
    }, STEP_MS);

    afterAll(async () => {
      await catalog?.close();
      await farm.remove();
    }, STEP_MS);

    const has = (what: string) => inside(`SELECT has_${what}`);

    test(
      "each object in a schema, whatever it is called, and some by their names; what was not named stays",
      async () => {
        const wish = shop({
          tables: { "*": { app: ["select", "insert"] }, seen: { app: ["select"] } },
          sequences: { "*": { app: ["usage"] } },
          functions: { "*": { public: [], app: ["execute"] }, "total()": { app: [] } },
        });
        expect(await converge(wish)).toEqual([]);
        expect(
          inside(
            "SELECT count(*) FROM pg_class WHERE has_table_privilege('app', oid, 'select') AND relnamespace = 'shop'::regnamespace AND relkind IN ('r', 'p', 'v')",
          ),
        ).toBe("5");
        expect(has("table_privilege('app', 'shop.orders', 'insert')")).toBe("t");
        expect(has("table_privilege('app', 'shop.seen', 'insert')")).toBe("f");
        expect(has("sequence_privilege('app', 'shop.orders_id_seq', 'usage')")).toBe("t");
        expect(has("function_privilege('app', 'shop.total(int, shop.\"Odd, (type\")', 'execute')")).toBe("t");
        expect(has("function_privilege('app', 'shop.summed(int)', 'execute')")).toBe("t");
        expect(has("function_privilege('app', 'shop.work(int, text)', 'execute')")).toBe("t");
        expect(has("function_privilege('app', 'shop.total()', 'execute')")).toBe("f");
        expect(has("function_privilege('other', 'shop.summed(int)', 'execute')")).toBe("f");
        expect(has("table_privilege('other', 'shop.orders', 'truncate')")).toBe("t");
      },
      STEP_MS,
    );

    test(
      "what somebody takes or gives by hand is seen, and so is what is new",
      async () => {
        const wish = shop({ tables: { "*": { app: ["select"] }, orders: { other: [] } } });
        inside(
          "REVOKE SELECT ON shop.parts FROM app; GRANT DELETE ON shop.seen TO app; CREATE TABLE shop.fresh ()",
        );
        const { steps } = await planned(wish);
        expect(steps.map(({ what }) => what).join("\\n")).toContain("privileges of app on tables in shop: ");
        expect(await converge(wish)).toEqual([]);
        expect(has("table_privilege('app', 'shop.fresh', 'select')")).toBe("t");
        expect(has("table_privilege('app', 'shop.seen', 'delete')")).toBe("f");
        expect(has("table_privilege('other', 'shop.orders', 'select')")).toBe("f");
      },
      STEP_MS,
    );

    test(
      "what cannot be is told in a sentence, and the rest is done",
      async () => {
        const wish = shop({
          tables: { none: { app: ["select"] }, fresh: { app: ["select", "maintain"] } },
          functions: { "total(int)": { app: ["execute"] } },
        });
        const reasons = await converge(wish);
        expect(reasons).toContain("There is no table none in schema shop.");
        expect(reasons.join(" ")).toContain(
          "There is no function total(int) in schema shop; there is total(",
        );
        expect(reasons.join(" ").includes("maintain")).toBe(major < 17);
        if (major >= 17) expect(has("table_privilege('app', 'shop.fresh', 'maintain')")).toBe("t");
      },
      STEP_MS,
    );

    test(
      "objects that are made later have it at once, and nothing besides",
      async () => {
        const wish = shop(
          { defaultPrivileges: { owner: { tables: { app: ["select"] }, sequences: { app: ["usage"] } } } },
          { defaultPrivileges: { owner: { functions: { public: [] } } } },
        );
        expect(await converge(wish)).toEqual([]);
        inside(
          `SET ROLE owner; CREATE TABLE shop.later (id serial);
           CREATE FUNCTION shop.later() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
        );
        expect(has("table_privilege('app', 'shop.later', 'select')")).toBe("t");
        expect(has("table_privilege('app', 'shop.later', 'insert')")).toBe("f");
        expect(has("sequence_privilege('app', 'shop.later_id_seq', 'usage')")).toBe("t");
        expect(has("function_privilege('app', 'shop.later()', 'execute')")).toBe("f");
        // Somebody takes one of them back.
        inside("ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA shop REVOKE SELECT ON TABLES FROM app");
        expect((await planned(wish)).steps.map(({ statement }) => statement.kind)).toEqual(["grant-default"]);
        const none = shop(
          { defaultPrivileges: { owner: { tables: { app: [] }, sequences: { app: [] } } } },
          { defaultPrivileges: { owner: { functions: { public: ["execute"] } } } },
        );
        expect(await converge(none)).toEqual([]);
        expect(inside("SELECT count(*) FROM pg_default_acl")).toBe("0");
      },
      STEP_MS,
    );

    test(
      "single columns, also of a table that gives less than before; and types, whatever kind of type they are",
      async () => {
        const tables = { people: { app: ["select", "insert"] } } as const;
        expect(await converge(shop({ tables }))).toEqual([]);
        const wish = shop({
          tables: { people: { app: [] } },
          columns: {
            "people(id)": { app: ["select", "references"] },
            "people(na)me, ()": { other: ["update"] },
          },
          types: { "*": { public: [], app: ["usage"] }, mood: { other: ["usage"] } },
        });
        expect(await converge(wish)).toEqual([]);
        expect(has("column_privilege('app', 'shop.people', 'id', 'select')")).toBe("t");
        expect(has("column_privilege('app', 'shop.people', 'na)me, (', 'select')")).toBe("f");
        expect(has("column_privilege('other', 'shop.people', 'na)me, (', 'update')")).toBe("t");
        expect(has("type_privilege('app', 'shop.span', 'usage')")).toBe("t");
        expect(has(`type_privilege('app', 'shop."an ""age"', 'usage')`)).toBe("t");
        expect(has("type_privilege('other', 'shop.span', 'usage')")).toBe("f");
        expect(has("type_privilege('other', 'shop.mood', 'usage')")).toBe("t");
        // Somebody takes all of it back, with the table.
        inside("REVOKE ALL ON shop.people FROM app");
        const { steps } = await planned(wish);
        expect(steps.map(({ what }) => what)).toEqual(["privileges of app on columns in shop: people(id)"]);
        expect(await converge(shop({ columns: { people: { app: [], other: [] } } }))).toEqual([]);
        expect(has("any_column_privilege('other', 'shop.people', 'update')")).toBe("f");
        expect(await converge({ defaultPrivileges: { owner: { types: { public: [] } } } })).toEqual([]);
        inside("SET ROLE owner; CREATE TYPE shop.lately AS ENUM ()");
        expect(has("type_privilege('other', 'shop.lately', 'usage')")).toBe("f");
        expect(await converge({ defaultPrivileges: { owner: { types: { public: ["usage"] } } } })).toEqual(
          [],
        );
      },
      STEP_MS,
    );

    test(
      "what would give a superuser's power is held back for all but admin",
      async () => {
        inside(
          `CREATE FUNCTION shop.root(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
           REVOKE EXECUTE ON FUNCTION shop.root(text) FROM PUBLIC; CREATE TABLE shop.mine ()`,
        );
        const wish = shop({
          functions: { "root(text)": { app: ["execute"] } },
          tables: { mine: { app: ["select", "trigger"] } },
          defaultPrivileges: { postgres: { tables: { app: ["select"] } } },
        });
        expect(await converge(wish)).toHaveLength(3);
        expect(has("function_privilege('app', 'shop.root(text)', 'execute')")).toBe("f");
        expect(has("table_privilege('app', 'shop.mine', 'select')")).toBe("t");
        expect(has("table_privilege('app', 'shop.mine', 'trigger')")).toBe("f");
        expect(await converge({ ...wish, isTrusted: true })).toEqual([]);
        expect(has("function_privilege('app', 'shop.root(text)', 'execute')")).toBe("t");
      },
      STEP_MS,
    );
  },
);
