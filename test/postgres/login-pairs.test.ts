/** Rotated passwords on real PostgreSQL: two are good for a while, and the one before ends whoever is there to see it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { SCRAM_SALT_BYTES, scramVerifier } from "../../src/base/scram.ts";
import { changedDeclaration, type RoleWish } from "../../src/cluster/declared.ts";
import { rotated } from "../../src/cluster/login-pair.ts";
import { planCatalog } from "../../src/decision/plan-catalog.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { realClock } from "../support/postgres-clock.ts";
import { PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;
const HOUR_MS = 3_600_000;
const SHORT_MS = 4_000;

type Wish = Omit<RoleWish, "since">;

/** One story: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;
    let catalog: Catalog;
    let wish: Wish = {};

    async function planned() {
      const declared = changedDeclaration(undefined, { roles: { app: wish } }, 1);
      if (declared === null) throw new Error("nothing is declared");
      return planCatalog(declared, await catalog.read());
    }

    async function converge(): Promise<void> {
      const { steps } = await planned();
      const results = await catalog.run(steps.map(({ statement }) => statement));
      expect(results.filter((each) => each !== null)).toEqual([]);
      expect(await planned()).toEqual({ steps: [], impossible: [] });
    }

    async function rotate(password: string, overlapMs: number): Promise<void> {
      const verifier = await scramVerifier(
        password,
        crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES)),
      );
      const now = Date.now();
      const after = rotated(
        wish,
        verifier,
        new Date(now).toISOString(),
        new Date(now + overlapMs).toISOString(),
      );
      if (!after.ok) throw new Error(after.error);
      wish = after.value;
      await converge();
    }

    function logIn(user: string, password: string, text = "SELECT current_user"): string {
      const conninfo = `host=127.0.0.1 port=${server.port} user=${user} dbname=shop sslmode=require`;
      const run = Bun.spawnSync([join(server.binDirectory, "psql"), "-XAtqc", text, conninfo], {
        env: { PATH: process.env["PATH"] ?? "", PGPASSWORD: password },
      });
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
      server.sql("CREATE ROLE app LOGIN PASSWORD 'by-hand' CONNECTION LIMIT 20");
      server.sql("ALTER ROLE app SET work_mem = '9MB'");
      server.sql("CREATE DATABASE shop");
      server.sql(
        "REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT CONNECT, CREATE ON DATABASE shop TO app",
      );
    }, STEP_MS);

    afterAll(async () => {
      await catalog?.close();
      await farm.remove();
    }, STEP_MS);

    test(
      "the login of a role that exists goes over to another one, which is the role in everything that it does",
      async () => {
        await rotate("first", HOUR_MS);
        expect(logIn("app", "by-hand")).toBe("app");
        expect(
          logIn("app_a", "first", "SELECT session_user, current_user, current_setting('work_mem')"),
        ).toBe("app_a|app|9MB");
        expect(logIn("app_a", "by-hand")).toContain("password authentication failed");
        expect(
          logIn(
            "app_a",
            "first",
            "CREATE SCHEMA made; CREATE TABLE made.t (); RESET ROLE; SELECT current_user",
          ),
        ).toBe("app");
        expect(logIn("app", "by-hand", "SELECT tableowner FROM pg_tables WHERE schemaname = 'made'")).toBe(
          "app",
        );
      },
      STEP_MS,
    );

    test(
      "the one before ends by PostgreSQL's clock, although nobody locks it; then it is locked",
      async () => {
        const { logins } = wish;
        if (logins === undefined) throw new Error("it was rotated");
        const ends = new Date(Date.now() + SHORT_MS).toISOString();
        wish = { ...wish, logins: { ...logins, previous: { ...logins.previous, until: ends } } };
        await converge();
        await until("it is over", async () => (logIn("app", "by-hand").includes("failed") ? true : null));
        expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(ends));
        const shown = "SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = 'app'";
        expect(server.sql(shown)).toBe("t|f");
        expect((await planned()).steps).toMatchObject([{ what: "login, password", dueAt: ends }]);
        await converge();
        expect(server.sql(shown)).toBe("f|t");
        expect(logIn("app_a", "first")).toBe("app");
      },
      STEP_MS,
    );

    test(
      "two of its own take turns, one of them at once where somebody else has the password",
      async () => {
        await rotate("second", HOUR_MS);
        expect([logIn("app_a", "first"), logIn("app_b", "second")]).toEqual(["app", "app"]);
        const { logins } = wish;
        if (logins === undefined) throw new Error("it was rotated");
        wish = {
          ...wish,
          logins: { ...logins, previous: { ...logins.previous, until: new Date().toISOString() } },
        };
        await converge();
        expect(logIn("app_a", "first")).toContain("password authentication failed");
        await rotate("third", 0);
        expect(logIn("app_a", "third")).toBe("app");
        expect(logIn("app_b", "second")).toContain("password authentication failed");
      },
      STEP_MS,
    );

    test(
      "goes with its logins, once it owns nothing",
      async () => {
        const { logins } = wish;
        wish = { isAbsent: true, ...(logins === undefined ? {} : { logins }) };
        server.sql("DROP DATABASE shop");
        await converge();
        expect(server.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'app%'")).toBe("0");
      },
      STEP_MS,
    );
  },
);
