/** Break-glass access on real PostgreSQL, held to its time by a supervisor alone: no member is there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SCRAM_SALT_BYTES, scramVerifier } from "../../src/base/scram.ts";
import type { GuardedGrant } from "../../src/cluster/break-glass.ts";
import { BreakGlassRoles } from "../../src/postgres/break-glass-roles.ts";
import { epoch, PostgresFarm, type TestServer, until } from "../support/postgres-farm.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

const STEP_MS = 60_000;
const PASSWORD = "only-for-this-test";
const LONG_MS = 3_600_000;
const SOON_MS = 3_000;

/** One story: each test goes on where the one before it ended. */
describe.each(postgresMajors().map((installation) => [installation.major, installation] as const))(
  "break-glass access to PostgreSQL %d",
  (_major, installation) => {
    let farm: PostgresFarm;
    let server: TestServer;
    let roles: BreakGlassRoles;
    let verifier: string;
    let grants: readonly GuardedGrant[] = [];

    beforeAll(async () => {
      farm = await PostgresFarm.create(installation);
      server = await farm.add("m1");
      await farm.installCertificates(server);
      const options = { encoding: "UTF8", locale: "C.UTF-8" };
      await server.ask({ kind: "initdb", clusterId: server.settings().clusterId, options });
      const settings = server.settings({
        parameters: { log_statement: "ddl", log_min_duration_statement: "0" },
      });
      await server.ask({ kind: "configure", epoch: epoch(1), timelines: [], settings });
      await server.ask({ kind: "start", epoch: epoch(1) });
      await server.probed("standby");
      await server.ask({ kind: "promote", epoch: epoch(1), timelines: [], needsLease: false });
      await server.probed("primary");
      roles = new BreakGlassRoles(server);
      verifier = await scramVerifier(PASSWORD, crypto.getRandomValues(new Uint8Array(SCRAM_SALT_BYTES)));
    }, STEP_MS);

    afterAll(async () => {
      await farm.remove();
    }, STEP_MS);

    /** As a member does: the end first, then the role. */
    async function grant(id: string, durationMs: number, address = "127.0.0.1/32"): Promise<string> {
      const role = `guacamole_bg_${id}`;
      const expiresAtMs = Date.now() + LONG_MS;
      grants = [...grants, { id, role, address, durationMs, expiresAtMs, isOver: false, knownMs: 0 }];
      await server.ask({ kind: "guard-break-glass", grants });
      await roles.open(role, verifier, expiresAtMs);
      return role;
    }

    const overWhy = async (id: string) => {
      const { breakGlass = [] } = await server.look();
      return breakGlass.find((each) => each.id === id)?.why ?? null;
    };
    const isOver = (id: string) =>
      until(`${id} is over`, async () => ((await overWhy(id)) === null ? null : true));

    test(
      "lets one role in, from one address, over TLS, whatever rules follow",
      async () => {
        const role = await grant("a", LONG_MS);
        const access = { revision: 1, hba: ["host all all all trust", "local all all trust"], identMaps: [] };
        const settings = server.settings({ access });
        await server.ask({ kind: "configure", epoch: epoch(1), timelines: [], settings });
        await server.ask({ kind: "reload" });
        await until("the rule is read", async () => (connect(server, role).said === "on" ? true : null));
        expect(connect(server, role, { password: "wrong" }).said).toContain("password authentication failed");
        expect(connect(server, role, { sslmode: "disable" }).said).toContain("pg_hba.conf rejects");
        expect(connect(server, role, { host: server.socketDirectory, sslmode: "disable" }).said).toContain(
          "rejects",
        );
        const elsewhere = await grant("b", LONG_MS, "127.0.0.9/32");
        await until("it is refused", async () =>
          connect(server, elsewhere).said.includes("pg_hba.conf rejects") ? true : null,
        );
        expect(await overWhy("b")).toBeNull();
      },
      STEP_MS,
    );

    test(
      "logs what it does, and never the verifier",
      async () => {
        connect(server, "guacamole_bg_a", {}, "SELECT 'seen ' || 'in the log'");
        const log = readFileSync(server.paths.postgresLogFile, "utf8");
        expect(log).toContain("SELECT 'seen ' || 'in the log'");
        expect(log).not.toContain("SCRAM-SHA-256$");
      },
      STEP_MS,
    );

    test(
      "ends at its time with a session open: session, rule and role",
      async () => {
        const role = await grant("c", SOON_MS);
        const session = await openSession(server, role);
        expect(await session.ended).toContain("terminating connection");
        await isOver("c");
        await until("nobody is let in", async () =>
          connect(server, role).said.includes("pg_hba.conf rejects") ? true : null,
        );
        // By the supervisor itself: nobody else is there.
        await until("the role is nothing any more", async () =>
          server.sql(
            `SELECT rolcanlogin OR rolsuper OR rolpassword IS NOT NULL FROM pg_authid WHERE rolname = '${role}'`,
          ) === "f"
            ? true
            : null,
        );
        expect(connect(server, "guacamole_bg_a").said).toBe("on");
      },
      STEP_MS,
    );

    test(
      "ends although the supervisor was killed meanwhile, by the next one, with no new time",
      async () => {
        const role = await grant("d", SOON_MS);
        const session = await openSession(server, role);
        await server.endSupervisor("SIGKILL");
        await server.supervise();
        const before = (await server.look()).breakGlass?.find(({ id }) => id === "d");
        expect(before?.remainingMs ?? 0).toBeLessThan(SOON_MS);
        await server.ask({ kind: "guard-break-glass", grants });
        expect(await session.ended).toContain("terminating connection");
        await isOver("d");
      },
      STEP_MS,
    );

    test(
      "ends although the session itself is frozen",
      async () => {
        const role = await grant("e", SOON_MS);
        const session = await openSession(server, role);
        process.kill(session.backend, "SIGSTOP");
        await isOver("e");
        expect(await session.ended).toContain("terminating connection");
      },
      STEP_MS,
    );

    test(
      "lasts longer where it is extended, and is over once that is agreed",
      async () => {
        const role = await grant("f", SOON_MS);
        grants = grants.map((each) => (each.id === "f" ? { ...each, durationMs: LONG_MS } : each));
        await server.ask({ kind: "guard-break-glass", grants });
        const session = await openSession(server, role);
        const f = (await server.look()).breakGlass?.find(({ id }) => id === "f");
        expect(f?.remainingMs ?? 0).toBeGreaterThan(SOON_MS);
        grants = grants.map((each) => (each.id === "f" ? { ...each, isOver: true } : each));
        await server.ask({ kind: "guard-break-glass", grants });
        expect(await session.ended).toContain("terminating connection");
        expect(await overWhy("f")).toBe("it was ended");
      },
      STEP_MS,
    );

    test(
      "is removed with all that it owns and was granted, in every database",
      async () => {
        const role = "guacamole_bg_a";
        server.sql("CREATE DATABASE other");
        expect(connect(server, role, { dbname: "other" }, "CREATE TABLE made (a int)").code).toBe(0);
        connect(server, role, {}, "CREATE TABLE here (a int); CREATE ROLE left_over");
        server.sql("CREATE TABLE lent (a int)");
        server.sql(`GRANT SELECT ON lent TO ${role}`);
        const session = await openSession(server, role);
        await roles.close(role);
        expect(await session.ended).toContain("terminating connection");
        expect((await roles.look()).map(({ name }) => name)).not.toContain(role);
        expect(server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'here'")).toBe("postgres");
        await roles.close(role).then(
          () => expect.unreachable("there is no such role any more"),
          (error: unknown) => expect(String(error)).toContain("does not exist"),
        );
      },
      STEP_MS,
    );
  },
);

interface Place {
  readonly host?: string;
  readonly sslmode?: string;
  readonly dbname?: string;
  readonly password?: string;
}

function command(server: TestServer, user: string, place: Place, sql: string): string[] {
  const { host = "127.0.0.1", sslmode = "require", dbname = "postgres", password = PASSWORD } = place;
  const conninfo = `host=${host} port=${server.port} user=${user} dbname=${dbname} sslmode=${sslmode} password=${password}`;
  return [join(server.binDirectory, "psql"), "-XAtwqc", sql, conninfo];
}

/** What a login says: `on`, that it is a superuser, or why not. */
function connect(server: TestServer, user: string, place: Place = {}, sql = "SHOW is_superuser") {
  const run = Bun.spawnSync(command(server, user, place, sql), { env: { PATH: process.env["PATH"] ?? "" } });
  return { said: `${run.stdout.toString()}${run.stderr.toString()}`.trim(), code: run.exitCode };
}

/** A session that would go on for long; resolves once it is in. */
async function openSession(server: TestServer, user: string) {
  const run = await until(`${user} is in`, async () => {
    const psql = Bun.spawn(command(server, user, {}, "SELECT pg_sleep(600)"), {
      env: { PATH: process.env["PATH"] ?? "" },
      stdout: "ignore",
      stderr: "pipe",
    });
    const backend = await Promise.race([psql.exited.then(() => null), backendOf(server, user)]);
    return backend === null ? null : { psql, backend };
  });
  return { backend: run.backend, ended: run.psql.stderr.text() };
}

function backendOf(server: TestServer, user: string): Promise<number> {
  return until(`a session of ${user}`, async () => {
    const pid = server.sql(
      `SELECT pid FROM pg_stat_activity WHERE usename = '${user}' AND query LIKE '%pg_sleep%'`,
    );
    return /^\d+$/.test(pid) ? Number(pid) : null;
  });
}
