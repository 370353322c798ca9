/** Rules for connections on a real cluster: the same on every member, decided by PostgreSQL, and over a failover. */

import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HbaDocument, HbaExplanationDocument } from "../../src/api/access-documents.ts";
import type { TopologyDocument } from "../../src/api/documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { describeLife, makeCluster, newestPostgres } from "../support/cluster-life.ts";
import { bareEnvironment } from "../support/tested-binary.ts";

const PASSWORD = "only-for-this-test";

/** What becomes of a connection over TCP: `in`, or why not. */
function connect(member: LocalMember, user: string, database: string, isSsl = false): string {
  const psql = join(newestPostgres().binDirectory, "psql");
  const conninfo = `host=127.0.0.1 port=${member.postgresPort} user=${user} dbname=${database} sslmode=${isSsl ? "require" : "disable"} gssencmode=disable password=${PASSWORD}`;
  const run = Bun.spawnSync([psql, "-XAtwqc", "SELECT 1", conninfo], { env: bareEnvironment() });
  const said = run.stderr.toString();
  if (run.success) return "in";
  if (said.includes("no pg_hba.conf entry")) return "no-rule";
  return said.includes("pg_hba.conf rejects") ? "reject" : said;
}

function hbaFileOf(member: LocalMember): string {
  return readFileSync(`${member.dataDirectory}.guacamole/pg_hba.conf`, "utf8");
}

const RULES = `# the application
hostssl  app  app  127.0.0.1/32  scram-sha-256
# guacamole: roles=standby
host     app  reports  127.0.0.0/8  scram-sha-256
host     app  reports  127.0.0.0/8  reject
host     sameuser  guest  127.0.0.1/32  trust
`;

describeLife(
  "the rules for connections of three members",
  () => makeCluster(3),
  (part) => {
    part("are guacamole's defaults at first", async (life) => {
      await life.bringUp("orders");
      await life.startWriting();
      const primary = await life.primary();
      for (const sql of [
        ...["app", "reports", "guest"].map((role) => `CREATE ROLE ${role} LOGIN PASSWORD '${PASSWORD}'`),
        "CREATE DATABASE app",
        "CREATE DATABASE guest",
      ])
        await life.sql(primary, sql);
      expect(connect(primary, "app", "app")).toBe("in");
      const shown = JSON.parse(
        (await life.ask(primary, "hba", "show", "--output", "json")).stdout,
      ) as HbaDocument;
      expect(shown).toMatchObject({ isDefault: true, warnings: [] });
    });

    part("are set on every member, and decide there, on the primary and on standbys", async (life) => {
      const primary = await life.primary();
      const standbys = await life.standbys();
      const file = join(life.cluster.root, "pg_hba.conf");
      // The writer's own way in stays.
      writeFileSync(file, `host ledger all all scram-sha-256\n${RULES}`);
      const set = await life.ask(standbys[0] ?? primary, "hba", "set", "--file", file, "--output", "json");
      expect(set).toMatchObject({ exitCode: 0 });
      const hba = JSON.parse(set.stdout) as HbaDocument;
      expect(hba.members.map(({ state }) => state)).toEqual(["in-force", "in-force", "in-force"]);
      expect(hba.tried.map(({ isGood }) => isGood)).toEqual([true, true, true]);
      await life.until("the primary has read them", async () => connect(primary, "app", "app") === "no-rule");
      expect(connect(primary, "app", "app", true)).toBe("in");
      expect(connect(primary, "reports", "app")).toBe("reject");
      expect(connect(primary, "guest", "guest")).toBe("in");
      expect(connect(primary, "guest", "app")).toBe("no-rule");
      for (const standby of standbys) {
        await life.until(
          `${standby.name} has read them`,
          async () => connect(standby, "app", "app") === "no-rule",
        );
        expect(connect(standby, "app", "app", true)).toBe("in");
        expect(connect(standby, "reports", "app")).toBe("in");
      }
    });

    part("are explained as they are met", async (life) => {
      const primary = await life.primary();
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there are three members");
      const outcomes = { scram: "in", trust: "in", reject: "reject" } as const;
      for (const member of [primary, standby])
        for (const user of ["app", "reports", "guest"])
          for (const database of ["app", "guest", "postgres"])
            for (const isSsl of [false, true]) {
              const encryption = isSsl ? "ssl" : "none";
              const asked = {
                user,
                database,
                address: "127.0.0.1",
                encryption,
                memberOf: [],
                member: member.name,
              };
              const explained = await standby.api.post<HbaExplanationDocument>(
                "/v1/access/hba/explain",
                asked,
              );
              const { rule, outcome } = explained;
              expect(outcome).not.toBe("depends");
              const method = (rule?.method ?? "").split("-")[0] as keyof typeof outcomes | "";
              const expected = method === "" ? "no-rule" : outcomes[method];
              const where = `${user} to ${database} of ${member.name}, TLS ${isSsl}`;
              expect(`${where}: ${connect(member, user, database, isSsl)}`).toBe(`${where}: ${expected}`);
            }
    });

    part("a rule that PostgreSQL does not take changes nothing anywhere", async (life) => {
      const primary = await life.primary();
      const before = life.cluster.members.map(hbaFileOf);
      const added = await life.ask(
        primary,
        "hba",
        "add",
        "host all all all ldap ldapserver=ldap.example.com",
      );
      expect(added.exitCode).toBe(3);
      // Not every PostgreSQL is built with LDAP.
      expect(added.stderr).toMatch(/ldapbasedn|not supported by this build/);
      const wrong = await life.ask(primary, "hba", "add", "host all all all md6");
      expect(wrong.exitCode).not.toBe(0);
      expect(life.cluster.members.map(hbaFileOf)).toEqual(before);
      expect(connect(primary, "app", "app", true)).toBe("in");
    });

    part("a rule that refuses everybody locks no member out", async (life) => {
      const primary = await life.primary();
      const nobody = ["host all all all reject", "--name", "nobody", "--before", "1"];
      const added = await life.ask(primary, "hba", "add", ...nobody);
      expect(added).toMatchObject({ exitCode: 0 });
      const more = await life.ask(primary, "hba", "add", "local all all reject", "--before", "1");
      expect(more).toMatchObject({ exitCode: 0 });
      await life.until("it is in force", async () => connect(primary, "app", "app", true) === "reject");
      // Its stream is ended and made anew, its superuser looks over the socket: nothing of ours is refused.
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there are three members");
      await life.cluster.killEverything(standby);
      await life.cluster.start(standby);
      await life.sql(primary, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
      await life.untilWhole();
      const removed = [
        await life.ask(primary, "hba", "remove", "nobody"),
        await life.ask(primary, "hba", "remove", "1"),
      ];
      expect(removed.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
      await life.until("it is gone", async () => connect(primary, "app", "app", true) === "in");
    });

    part("single rules are changed by many at once, through every member, and none is lost", async (life) => {
      const { members } = life.cluster;
      const before = await (members[0] as LocalMember).api.get<HbaDocument>("/v1/access/hba");
      const of = (index: number) => members[index % members.length] as LocalMember;
      const timings = { calmMs: 14_000, crashLoopMs: 2_900, diskStallMs: 2_900, restartMsMax: 9_000 };
      await Promise.all([
        ...Array.from({ length: 8 }, async (_, index) => {
          const rule = { type: "local", databases: ["app"], users: [`u${index}`], method: "reject" };
          await of(index).api.post("/v1/access/hba/rules", { ...rule, name: `n${index}`, before: 1 });
        }),
        ...Object.entries(timings).map(([key, value], index) =>
          of(index).api.patch("/v1/topology", { failover: { [key]: value } }),
        ),
      ]);
      const { failover } = await of(0).api.get<TopologyDocument>("/v1/topology?consistency=linearizable");
      expect(failover).toMatchObject(timings);
      await Promise.all(
        Array.from({ length: 8 }, (_, index) => of(index + 1).api.delete(`/v1/access/hba/rules/n${index}`)),
      );
      const after = await of(0).api.get<HbaDocument>("/v1/access/hba?consistency=linearizable");
      expect(after.rules).toEqual(before.rules);
      expect(after.generation).toBe(before.generation + 8 + 4 + 8);
      await life.untilWhole();
    });

    part("the rules outlive a failover", async (life) => {
      const former = await life.primary();
      await life.cluster.killEverything(former);
      const successor = await life.successorOf(former);
      await life.until(
        "the rules of a primary are in force there",
        async () => connect(successor, "reports", "app") === "reject",
      );
      expect(connect(successor, "app", "app", true)).toBe("in");
      await life.cluster.start(former);
      await life.untilWhole();
      await life.until("and those of a standby here", async () => connect(former, "reports", "app") === "in");
    });

    part("and go back to the defaults", async (life) => {
      const primary = await life.primary();
      expect(await life.ask(primary, "hba", "reset")).toMatchObject({ exitCode: 0 });
      await life.until("they are back", async () => connect(primary, "app", "app") === "in");
      await life.expectNothingLost();
    });
  },
);
