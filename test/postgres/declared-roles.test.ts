/** Declared roles on real PostgreSQL: planned from its catalogs, carried out, and then there is nothing left to do. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SCRAM_SALT_BYTES, scramVerifier } from "../../src/base/scram.ts";
import type { CatalogFailure } from "../../src/cluster/catalog.ts";
import { changedDeclaration, type RoleWish } from "../../src/cluster/declared.ts";
import type { CatalogPlan } from "../../src/decision/catalog-step.ts";
import { planCatalog } from "../../src/decision/plan-catalog.ts";
import { Catalog } from "../../src/postgres/catalog.ts";
import { realClock } from "../support/postgres-clock.ts";
import { PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;
/** MANY_ROLES=10000 measures: PostgreSQL needs milliseconds for each verifier that it is given. */
const MANY = Number(process.env["MANY_ROLES"] ?? 1_000);

type Wishes = Readonly<Record<string, Omit<RoleWish, "since">>>;

/** One story: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "PostgreSQL %d",
  (major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;
    let catalog: Catalog;

    async function planned(roles: Wishes): Promise<CatalogPlan> {
      const declared = changedDeclaration(undefined, { roles }, 1);
      if (declared === null) throw new Error("nothing is declared");
      return planCatalog(declared, await catalog.read());
    }

    /** Carries the plan out once. */
    async function carriedOut(roles: Wishes): Promise<readonly (CatalogFailure | null)[]> {
      const { steps } = await planned(roles);
      return catalog.run(steps.map(({ statement }) => statement));
    }

    async function converge(roles: Wishes): Promise<void> {
      const results = await carriedOut(roles);
      expect(results.filter((each) => each !== null)).toEqual([]);
      expect(await planned(roles)).toEqual({ steps: [], impossible: [] });
    }

    function logIn(user: string, password: string): string {
      const conninfo = `host=127.0.0.1 port=${server.port} user=${user} dbname=postgres sslmode=require`;
      const run = Bun.spawnSync(
        [join(server.binDirectory, "psql"), "-XAtwqc", "SELECT current_user", conninfo],
        { env: { PATH: process.env["PATH"] ?? "", PGPASSWORD: password } },
      );
      return `${run.stdout.toString()}${run.stderr.toString()}`.trim();
    }

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      server = await farm.addPrimary("m1");
      catalog = new Catalog({
        socketDirectory: server.socketDirectory,
        port: server.port,
        user: "postgres",
        database: "postgres",
        clock: realClock,
      });
    }, STEP_MS);

    afterAll(async () => {
      await catalog?.close();
      await farm.remove();
    }, STEP_MS);

    test(
      "makes a role with everything that was said of it, and then finds nothing to do",
      async () => {
        const before = await catalog.glance();
        const password = await scramVerifier(
          "it's a \\ secret",
          crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES)),
        );
        await converge({
          sales: {},
          'od"d \\name': { login: true },
          app: {
            login: true,
            createdb: true,
            inherit: false,
            connectionLimit: 7,
            validUntil: "2999-01-31T03:04:05.678Z",
            password,
            memberOf: { sales: "member", pg_monitor: "admin" },
            settings: {
              work_mem: "64MB",
              search_path: 'app, "My Schema",public',
              datestyle: "ISO, DMY",
              "app.greeting": "it's \\ fine",
              statement_timeout: null,
            },
            databaseSettings: { postgres: { search_path: "", work_mem: "5MB" } },
          },
        });
        expect((await catalog.glance()).fingerprint).not.toBe(before.fingerprint);
        expect(logIn("app", "it's a \\ secret")).toBe("app");
        expect(logIn("app", "another")).toContain("password authentication failed");
        expect(
          server.sql(
            "SELECT rolcanlogin, rolcreatedb, rolinherit, rolconnlimit FROM pg_roles WHERE rolname = 'app'",
          ),
        ).toBe("t|t|f|7");
        expect(server.sql("SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0")).toContain(
          'search_path=app, \\"My Schema\\", public',
        );
      },
      STEP_MS,
    );

    test(
      "touches nothing that was not named, and takes back what is said to be none",
      async () => {
        server.sql("CREATE ROLE old LOGIN CREATEDB CONNECTION LIMIT 3 PASSWORD 'x' VALID UNTIL '2999-01-01'");
        server.sql("ALTER ROLE old SET work_mem = '8MB'; ALTER ROLE old SET statement_timeout = '1s'");
        server.sql("GRANT sales TO old WITH ADMIN OPTION; GRANT pg_monitor TO old");
        const shown =
          "SELECT rolcanlogin, rolcreatedb, rolconnlimit, rolvaliduntil IS NULL FROM pg_roles WHERE rolname = 'old'";
        const verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'old'";
        const before = server.sql(verifier);
        await converge({
          old: { connectionLimit: 4, memberOf: { sales: "member" }, settings: { statement_timeout: null } },
        });
        expect(server.sql(shown)).toBe("t|t|4|f");
        expect(server.sql(verifier)).toBe(before);
        const members =
          "SELECT roleid::regrole, admin_option FROM pg_auth_members WHERE member = 'old'::regrole ORDER BY 1::text";
        expect(server.sql(members)).toBe("pg_monitor|f\nsales|f");
        expect(server.sql("SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'old'::regrole")).toBe(
          "{work_mem=8MB}",
        );
        await converge({ old: { validUntil: null, password: null, memberOf: { sales: "none" } } });
        expect(server.sql(verifier)).toBe("");
        expect(server.sql(members)).toBe("pg_monitor|f");
      },
      STEP_MS,
    );

    test.if(major >= 16)(
      "takes back what others granted, too",
      async () => {
        server.sql("CREATE ROLE lead LOGIN; GRANT sales TO lead WITH ADMIN OPTION; CREATE ROLE guest");
        server.sql("GRANT sales TO guest; SET ROLE lead; GRANT sales TO guest GRANTED BY lead");
        expect(server.sql("SELECT count(*) FROM pg_auth_members WHERE member = 'guest'::regrole")).toBe("2");
        await converge({ guest: { memberOf: { sales: "none" } } });
      },
      STEP_MS,
    );

    test(
      "says in PostgreSQL's words what cannot be, and does the rest",
      async () => {
        server.sql(
          "CREATE ROLE owner LOGIN; CREATE TABLE public.theirs (); ALTER TABLE public.theirs OWNER TO owner",
        );
        const wishes: Wishes = {
          owner: { isAbsent: true },
          sales: { memberOf: { app: "member" } },
          app: { settings: { work_mem: "a lot" } },
          fine: { login: true },
        };
        const { steps } = await planned(wishes);
        const results = await catalog.run(steps.map(({ statement }) => statement));
        const said = Object.fromEntries(
          steps.map(({ item, statement }, index) => [
            `${statement.kind} ${item.name}`,
            results[index] ?? null,
          ]),
        );
        expect(said["create-role fine"]).toBeNull();
        expect(said["drop-role owner"]).toMatchObject({ isPassing: false });
        expect(said["drop-role owner"]?.message).toMatch(/cannot be dropped.*owner of table public\.theirs/s);
        expect(said["grant-role sales"]?.message).toContain('role "app" is a member of role "sales"');
        expect(said["set-role app"]?.message).toContain("invalid value for parameter");
        // Nobody owns anything any more: it goes.
        server.sql("REASSIGN OWNED BY owner TO postgres; DROP OWNED BY owner");
        await converge({ owner: { isAbsent: true }, fine: { isAbsent: true } });
      },
      STEP_MS,
    );

    test(
      "what is as powerful as a superuser is touched only for those who may",
      async () => {
        server.sql("CREATE ROLE dba SUPERUSER; CREATE ROLE dbas; GRANT dba TO dbas");
        const wishes: Wishes = {
          dba: { password: null },
          dbas: { isAbsent: true },
          mallory: { memberOf: { dbas: "member" } },
        };
        const { steps, impossible } = await planned(wishes);
        expect(steps).toEqual([]);
        expect(impossible.map(({ name }) => name)).toEqual(["dba", "dbas", "mallory"]);
        const trusted = Object.entries(wishes).map(([name, wish]) => [name, { ...wish, isTrusted: true }]);
        expect(
          (await planned(Object.fromEntries(trusted) as Wishes)).impossible.map(({ name }) => name),
        ).toEqual(["mallory"]);
        server.sql("DROP ROLE dba; DROP ROLE dbas");
      },
      STEP_MS,
    );

    test(
      "no verifier is written down anywhere, whether it works, fails or takes long",
      async () => {
        for (const each of [
          "log_statement = 'all'",
          "log_min_duration_statement = 0",
          "log_duration = on",
          "debug_print_parse = on",
          "log_min_messages = debug1",
          "track_activity_query_size = '16kB'",
        ])
          server.sql(`ALTER SYSTEM SET ${each}`);
        server.sql("SELECT pg_reload_conf()");
        await catalog.close();
        const password = await scramVerifier("x", crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES)));
        await converge({ quiet: { login: true, password } });
        // One that fails, and one of several that do.
        const failing = { kind: "create-role", role: "quiet", attributes: { password } } as const;
        const results = await catalog.run([failing, failing]);
        expect(results.map((each) => each?.message)).toEqual(Array(2).fill('role "quiet" already exists'));
        const log = readFileSync(server.paths.postgresLogFile, "utf8");
        // Others' statements are there: the log says what is said.
        server.sql("SELECT 'somebody else'");
        expect(readFileSync(server.paths.postgresLogFile, "utf8")).toContain("somebody else");
        expect(log).not.toContain(password.slice(0, 40));
        expect(log).not.toContain('CREATE ROLE "quiet"');
        expect(
          server.sql("SELECT query FROM pg_stat_activity WHERE application_name = 'guacamole'"),
        ).not.toContain("SCRAM");
        server.sql("ALTER SYSTEM RESET ALL");
        server.sql("SELECT pg_reload_conf()");
      },
      STEP_MS,
    );

    test(
      "waits for nobody: neither for a lock, nor for a standby that is missing",
      async () => {
        server.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (nobody)'");
        server.sql("SELECT pg_reload_conf()");
        await converge({ hurried: { login: true } });
        const locked = server.sqlInBackground(
          "SET synchronous_commit = local; BEGIN; LOCK TABLE pg_authid IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(8); COMMIT",
        );
        await until("it is locked", async () =>
          server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") === "1"
            ? true
            : null,
        );
        const late = { kind: "alter-role", role: "hurried", attributes: { connectionLimit: 2 } } as const;
        expect(await catalog.run([late])).toMatchObject([{ isPassing: true }]);
        await locked;
        expect(await catalog.run([late])).toEqual([null]);
        server.sql("SET synchronous_commit = local; ALTER SYSTEM RESET ALL");
        server.sql("SELECT pg_reload_conf()");
      },
      STEP_MS,
    );

    test(
      "many roles at once",
      async () => {
        const password = await scramVerifier("x", crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES)));
        const many: Wishes = Object.fromEntries(
          Array.from({ length: MANY }, (_, index) => [
            `many_${index}`,
            { login: true, password, memberOf: { sales: "member" } } as const,
          ]),
        );
        const from = performance.now();
        await converge(many);
        const madeMs = performance.now() - from;
        const looks = 20;
        const lookFrom = performance.now();
        for (let look = 0; look < looks; look += 1) await catalog.glance();
        const lookMs = (performance.now() - lookFrom) / looks;
        const readFrom = performance.now();
        await planned(many);
        console.info(
          `PostgreSQL ${major}: ${MANY} roles made in ${Math.round(madeMs)} ms, a look takes ${lookMs.toFixed(1)} ms, reading all ${Math.round(performance.now() - readFrom)} ms`,
        );
        expect(existsSync(server.paths.postgresLogFile)).toBe(true);
      },
      STEP_MS * 2,
    );
  },
);
