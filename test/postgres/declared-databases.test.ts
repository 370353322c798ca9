/** Declared databases, and what is in them, on real PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { CatalogFailure } from "../../src/cluster/catalog.ts";
import {
  changedDeclaration,
  type DatabaseWish,
  type DeclaredSpec,
  insideQuestions,
} from "../../src/cluster/declared.ts";
import type { CatalogPlan } from "../../src/decision/catalog-step.ts";
import { planCatalog } from "../../src/decision/plan-catalog.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { realClock } from "../support/postgres-clock.ts";
import { PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;

type Wishes = Readonly<Record<string, Omit<DatabaseWish, "since">>>;

/** One story: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;
    let catalog: Catalog;

    function declared(databases: Wishes): DeclaredSpec {
      const spec = changedDeclaration(undefined, { databases }, 1);
      if (spec === null) throw new Error("nothing is declared");
      return spec;
    }

    async function planned(databases: Wishes): Promise<CatalogPlan> {
      const spec = declared(databases);
      return planCatalog(spec, await catalog.read(insideQuestions(spec)));
    }

    async function carriedOut(databases: Wishes): Promise<readonly (CatalogFailure | null)[]> {
      const { steps } = await planned(databases);
      return catalog.run(steps.map(({ statement }) => statement));
    }

    /** Once for the database, once for what is in it: then there is nothing left. */
    async function converge(databases: Wishes): Promise<void> {
      for (let pass = 0; pass < 2; pass += 1)
        expect((await carriedOut(databases)).filter((each) => each !== null)).toEqual([]);
      expect(await planned(databases)).toEqual({ steps: [], impossible: [] });
    }

    function inside(database: string, text: string): string {
      const { socketDirectory, port } = server;
      const place = `host=${socketDirectory} port=${port} user=postgres dbname=${database}`;
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
      server.sql("CREATE ROLE sales; CREATE ROLE app LOGIN");
    }, STEP_MS);

    afterAll(async () => {
      await catalog?.close();
      await farm.remove();
    }, STEP_MS);

    test(
      "makes a database with everything that was said of it, and then finds nothing to do",
      async () => {
        await converge({
          orders: {
            owner: "sales",
            connectionLimit: 9,
            settings: { search_path: "reports, public", work_mem: "5MB" },
            privileges: { public: [], app: ["connect", "temporary"] },
            schemas: {
              reports: { owner: "sales", privileges: { app: ["usage"] } },
              public: { privileges: { public: [] } },
              'od"d schema': {},
            },
          },
          'od"d \\name': { encoding: "LATIN1", locale: "C" },
        });
        expect(
          server.sql("SELECT datdba::regrole, datconnlimit FROM pg_database WHERE datname = 'orders'"),
        ).toBe("sales|9");
        expect(server.sql("SELECT has_database_privilege('app', 'orders', 'connect,create')")).toBe("t");
        expect(server.sql("SELECT has_database_privilege('app', 'orders', 'create')")).toBe("f");
        expect(inside("orders", "SELECT has_schema_privilege('app', 'reports', 'usage')")).toBe("t");
        expect(inside("orders", "SELECT has_schema_privilege('app', 'public', 'usage')")).toBe("f");
        expect(inside("orders", "SHOW search_path")).toBe("reports, public");
      },
      STEP_MS,
    );

    test(
      "touches nothing that was not named, and sees what somebody changed inside",
      async () => {
        inside("orders", "CREATE SCHEMA theirs; GRANT CREATE ON SCHEMA reports TO app");
        server.sql("ALTER DATABASE orders SET statement_timeout = '1s'");
        await converge({ orders: { owner: "app", settings: { work_mem: null } } });
        expect(inside("orders", "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'theirs'")).toBe(
          "postgres",
        );
        expect(server.sql("SELECT setconfig FROM pg_db_role_setting WHERE setrole = 0")).toContain(
          "statement_timeout=1s",
        );
        const wish: Wishes = { orders: { schemas: { reports: { privileges: { app: ["usage"] } } } } };
        expect((await planned(wish)).steps.map(({ statement }) => statement.kind)).toEqual(["revoke-schema"]);
        await converge(wish);
      },
      STEP_MS,
    );

    test(
      "makes and takes out extensions, and says which there is none of",
      async () => {
        await converge({ orders: { extensions: { plpgsql: null } } });
        expect(inside("orders", "SELECT count(*) FROM pg_extension")).toBe("0");
        await converge({ orders: { extensions: { plpgsql: {} } } });
        const { impossible } = await planned({ orders: { extensions: { no_such_thing: {} } } });
        expect(impossible[0]?.reason).toContain("no extension no_such_thing");
        const moved = await carriedOut({ orders: { extensions: { plpgsql: { schema: "reports" } } } });
        expect(moved[0]).toMatchObject({ isPassing: false });
        const newer = await carriedOut({ orders: { extensions: { plpgsql: { version: "99" } } } });
        expect(newer[0]?.message).toContain("no update path");
      },
      STEP_MS,
    );

    test(
      "drops nothing that is in use, or that holds something",
      async () => {
        inside("orders", "CREATE TABLE reports.t ()");
        const kept = await carriedOut({ orders: { schemas: { reports: null } } });
        expect(kept[0]).toMatchObject({ isPassing: false, message: expect.stringContaining("depend on it") });
        inside("orders", "DROP TABLE reports.t");
        await converge({ orders: { schemas: { reports: null, theirs: null } } });
        const session = Bun.spawn(
          [
            `${server.binDirectory}/psql`,
            "-Xqc",
            "SELECT pg_sleep(60)",
            `host=${server.socketDirectory} port=${server.port} user=postgres dbname=orders options=-cstatement_timeout=0`,
          ],
          { stdout: "ignore", stderr: "ignore" },
        );
        await until("somebody is connected", async () =>
          server.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'orders' AND wait_event = 'PgSleep'",
          ) === "1"
            ? true
            : null,
        );
        const dropped = await carriedOut({ orders: { isAbsent: true } });
        expect(dropped[0]).toMatchObject({
          isPassing: true,
          message: expect.stringContaining("other session"),
        });
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'orders'");
        await session.exited;
        await converge({ orders: { isAbsent: true }, 'od"d \\name': { isAbsent: true } });
        expect(server.sql("SELECT count(*) FROM pg_database")).toBe("3");
      },
      STEP_MS,
    );

    test(
      "a database that its owner has set as a trap is looked into as the superuser, by nothing of its own",
      async () => {
        await converge({ trap: { owner: "app" } });
        server.sql(
          "ALTER DATABASE trap SET role = 'app'; ALTER DATABASE trap SET search_path = 'evil, pg_catalog'",
        );
        server.sql(
          "ALTER DATABASE trap SET default_transaction_read_only = on; ALTER DATABASE trap SET synchronous_commit = on",
        );
        inside("trap", "SET role = 'app'; SET default_transaction_read_only = off; CREATE SCHEMA evil");
        await converge({ trap: { schemas: { ours: {} } } });
        expect(inside("trap", "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'ours'")).toBe(
          "postgres",
        );
      },
      STEP_MS,
    );
  },
);
