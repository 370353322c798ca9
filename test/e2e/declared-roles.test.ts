/** Declared roles on a real cluster: made on whoever is primary, kept so, over a failover and without any standby. */

import { expect } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { RoleDocument, RolesDocument } from "../../src/api/role-documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster, newestPostgres } from "../support/cluster-life.ts";
import { bareEnvironment } from "../support/tested-binary.ts";

const PASSWORD = "only-for-this-test-of-roles";

function logIn(member: LocalMember, user: string, password = PASSWORD): string {
  const psql = join(newestPostgres().binDirectory, "psql");
  const conninfo = `host=127.0.0.1 port=${member.postgresPort} user=${user} dbname=postgres sslmode=require`;
  const run = Bun.spawnSync([psql, "-XAtwqc", "SELECT current_user", conninfo], {
    env: { ...bareEnvironment(), PGPASSWORD: password },
  });
  return `${run.stdout.toString()}${run.stderr.toString()}`.trim();
}

async function roleSeen(member: LocalMember, name: string): Promise<RoleDocument> {
  return member.api.get<RoleDocument>(`/v1/access/roles/${name}`);
}

async function untilInForce(life: ClusterLife, member: LocalMember, name: string): Promise<void> {
  await life.until(`${name} is in force`, async () => (await roleSeen(member, name)).state === "in-force");
}

function filesUnder(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true);
}

function isIn(path: string, text: string): boolean {
  try {
    return readFileSync(path).includes(text);
  } catch (error) {
    // Renamed or taken away since it was listed: members go on living.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

describeLife(
  "the declared roles of three members",
  () => makeCluster(3),
  (part) => {
    part("are made on the primary, whichever member is asked", async (life) => {
      await life.bringUp("orders");
      await life.startWriting();
      const primary = await life.primary();
      const [standby = primary] = await life.standbys();
      await life.sql(
        primary,
        "CREATE ROLE adopted LOGIN CONNECTION LIMIT 3; ALTER ROLE adopted SET work_mem = '8MB'",
      );
      await life.ask(standby, "role", "set", "readers");
      const set = await life.ask(
        standby,
        ...["role", "set", "app", "--login", "--member-of", "readers", "--set", "search_path=app, public"],
      );
      expect(set).toMatchObject({ exitCode: 0 });
      await standby.api.patch<RoleDocument>("/v1/access/roles/app", { password: PASSWORD });
      await untilInForce(life, standby, "app");
      expect(logIn(primary, "app")).toBe("app");
      await life.until("it has replicated", async () => logIn(standby, "app") === "app");
      expect(await life.ask(standby, "role", "set", "adopted", "--createdb")).toMatchObject({ exitCode: 0 });
      expect(
        await life.sql(primary, "SELECT rolconnlimit, rolcreatedb FROM pg_roles WHERE rolname = 'adopted'"),
      ).toBe("3|t");
    });

    part("are put back where somebody changes them by hand", async (life) => {
      const primary = await life.primary();
      await life.sql(primary, "ALTER ROLE app NOLOGIN; REVOKE readers FROM app");
      await life.until("it logs in again", async () => logIn(primary, "app") === "app");
      await life.until("it is told", async () => {
        const { corrected } = await primary.api.get<RolesDocument>("/v1/access/roles");
        return corrected.some(({ name, what }) => name === "app" && what === "login");
      });
      expect(await life.sql(primary, "SELECT pg_has_role('app', 'readers', 'member')")).toBe("t");
    });

    part("databases, and what is in them, are made for them", async (life) => {
      const primary = await life.primary();
      const [standby = primary] = await life.standbys();
      const set = await life.ask(
        standby,
        ...["database", "set", "shop", "--owner", "app", "--schema", "reports:app", "--grant", "public="],
        ...["readers=connect", "--set", "work_mem=6MB", "--without-extensions", "plpgsql"],
      );
      expect(set).toMatchObject({ exitCode: 0 });
      const shop =
        "SELECT datdba::regrole, has_database_privilege('adopted', oid, 'connect') FROM pg_database WHERE datname = 'shop'";
      expect(await life.sql(primary, shop)).toBe("app|f");
      await life.sql(
        primary,
        "ALTER DATABASE shop OWNER TO postgres; GRANT CONNECT ON DATABASE shop TO PUBLIC",
      );
      await life.until("it is put back", async () => (await life.sql(primary, shop)) === "app|f");
      const grant = (...words: readonly string[]) =>
        life.ask(
          standby,
          "database",
          "grant",
          "shop",
          "select",
          "--on",
          "tables",
          "--in",
          "reports",
          ...words,
        );
      expect(await grant("--made-by", "app", "--to", "readers")).toMatchObject({ exitCode: 0 });
      expect(await grant("--to", "readers")).toMatchObject({ exitCode: 0 });
      const nothing = await grant("--named", "nothing", "--to", "readers");
      expect(nothing).toMatchObject({ exitCode: 5 });
      expect(nothing.stderr).toContain("There is no table nothing in schema reports.");
      expect(await life.ask(standby, "database", "drop", "shop")).toMatchObject({ exitCode: 0 });
      expect(await life.sql(primary, shop)).toBe("");
    });

    part("what cannot be is said, and mended when it can", async (life) => {
      const primary = await life.primary();
      await life.sql(
        primary,
        "CREATE ROLE hoarder; CREATE TABLE hoard (); ALTER TABLE hoard OWNER TO hoarder",
      );
      const dropped = await life.ask(primary, "role", "drop", "hoarder");
      expect(dropped.exitCode).toBe(5);
      expect(dropped.stderr).toContain("owner of table");
      expect(await life.sql(primary, "SELECT count(*) FROM pg_roles WHERE rolname = 'hoarder'")).toBe("1");
      await life.sql(primary, "DROP TABLE hoard");
      await untilInForce(life, primary, "hoarder");
      expect(await life.sql(primary, "SELECT count(*) FROM pg_roles WHERE rolname = 'hoarder'")).toBe("0");
    });

    part("are there after a failover, and new ones are made there", async (life) => {
      const former = await life.primary();
      await life.cluster.killEverything(former);
      const successor = await life.successorOf(former);
      expect(logIn(successor, "app")).toBe("app");
      expect(await life.ask(successor, "role", "set", "later", "--login")).toMatchObject({ exitCode: 0 });
      await life.cluster.start(former);
      await life.untilWhole();
    });

    part("wait for no standby, and what was lost with the primary is made again", async (life) => {
      const former = await life.primary();
      const [first, second] = await life.standbys();
      if (first === undefined || second === undefined) throw new Error("there are three members");
      await life.cluster.killEverything(second);
      // The group goes on agreeing, and nobody acknowledges a commit.
      const receiver = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'";
      const pid = Number(await life.sql(first, receiver));
      process.kill(pid, "SIGSTOP");
      const waiting = life.sql(former, "CREATE TABLE waits ()");
      await life.until(
        "commits wait",
        async () =>
          (await life.sql(former, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")) !==
          "0",
      );
      expect(await life.ask(former, "role", "set", "lonely", "--login")).toMatchObject({ exitCode: 0 });
      expect(await life.sql(former, "SELECT count(*) FROM pg_roles WHERE rolname = 'lonely'")).toBe("1");
      await life.cluster.killEverything(former);
      process.kill(pid, "SIGKILL");
      await waiting;
      await life.cluster.start(second);
      const successor = await life.successorOf(former);
      await life.until(
        "it is made again, or was not lost",
        async () =>
          (await life.sql(successor, "SELECT count(*) FROM pg_roles WHERE rolname = 'lonely'")) === "1",
      );
      await untilInForce(life, successor, "lonely");
      await life.cluster.start(former);
      await life.untilWhole();
    });

    part("two passwords of a role are good for a while, over a failover", async (life) => {
      const former = await life.primary();
      await life.ask(former, "role", "set", "shop", "--login");
      await former.api.patch<RoleDocument>("/v1/access/roles/shop", { password: PASSWORD });
      await untilInForce(life, former, "shop");
      const rotated = await life.ask(former, "role", "rotate", "shop", "--overlap", "1h", "--output", "json");
      expect(rotated.exitCode).toBe(0);
      const { login, password } = JSON.parse(rotated.stdout) as { login: string; password: string };
      expect([logIn(former, "shop"), logIn(former, login, password)]).toEqual(["shop", "shop"]);
      await life.cluster.killEverything(former);
      const successor = await life.successorOf(former);
      await untilInForce(life, successor, "shop");
      expect([logIn(successor, "shop"), logIn(successor, login, password)]).toEqual(["shop", "shop"]);
      expect((await life.ask(successor, "status")).stdout).toContain("the one before of shop (login shop)");
      expect(await life.ask(successor, "role", "overlap", "shop", "--end")).toMatchObject({ exitCode: 0 });
      expect(logIn(successor, "shop")).toContain("password authentication failed");
      expect(logIn(successor, login, password)).toBe("shop");
      await life.cluster.start(former);
      await life.untilWhole();
    });

    part("the one before ends without any leader, and is locked as soon as there is one", async (life) => {
      const primary = await life.primary();
      const newest = (await roleSeen(primary, "shop")).logins?.newest ?? "";
      await primary.api.post("/v1/access/roles/shop/rotation", { password: PASSWORD, replacesNewest: true });
      await untilInForce(life, primary, "shop");
      const rotated = await life.ask(primary, "role", "rotate", "shop", "--overlap", "15s");
      expect(rotated.exitCode).toBe(0);
      expect(logIn(primary, newest)).toBe("shop");
      for (const standby of await life.standbys()) await life.cluster.killEverything(standby);
      const canLogIn = `SELECT rolcanlogin FROM pg_roles WHERE rolname = '${newest}'`;
      await life.until("its password ended", async () => logIn(primary, newest) !== "shop");
      for (const member of life.cluster.members) if (member !== primary) await life.cluster.start(member);
      await life.untilWhole();
      const now = await life.primary();
      await life.until("it is locked", async () => (await life.sql(now, canLogIn)) === "f");
    });

    part("no password lies in any file or log of any member", async (life) => {
      const found = filesUnder(life.cluster.root).filter((path) => isIn(path, PASSWORD));
      expect(found).toEqual([]);
      await life.expectNothingLost();
    });
  },
);
