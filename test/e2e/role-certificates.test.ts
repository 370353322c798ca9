/** Roles that log in to a real PostgreSQL by a certificate of the cluster's authority, and what else such a certificate opens: nothing. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RoleCertificatesDocument } from "../../src/api/role-certificate-documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster, newestPostgres } from "../support/cluster-life.ts";
import { bareEnvironment } from "../support/tested-binary.ts";

const filesIn = (life: ClusterLife) => join(life.cluster.root, "tls");

/** What becomes of a connection that shows the certificate of `role`; null: none. */
function connect(
  life: ClusterLife,
  member: LocalMember,
  user: string,
  role: string | null,
  more = "",
): string {
  const file = (name: string) => join(filesIn(life), name);
  const shown =
    role === null
      ? `sslcert=${file("none")}`
      : `sslcert=${file(`${role}.crt`)} sslkey=${file(`${role}.key`)}`;
  const place = `host=127.0.0.1 port=${member.postgresPort} user=${user} dbname=postgres gssencmode=disable`;
  const conninfo = `${place} sslmode=verify-full sslrootcert=${file("ca.crt")} ${shown} ${more}`;
  const run = Bun.spawnSync(
    [join(newestPostgres().binDirectory, "psql"), "-XAtwqc", "SELECT current_user", conninfo],
    { env: bareEnvironment() },
  );
  return run.success ? run.stdout.toString().trim() : run.stderr.toString();
}

describeLife(
  "a role with a certificate",
  () => makeCluster(2),
  (part) => {
    part("logs in by it, on the primary and on a standby, and nobody does without", async (life) => {
      await life.bringUp("orders");
      const primary = await life.primary();
      const ask = async (...args: readonly string[]) => {
        const ran = await life.ask(primary, ...args);
        expect([args.join(" "), ran.exitCode, ran.stderr]).toEqual([args.join(" "), 0, ""]);
        return ran.stdout;
      };
      await ask("role", "set", "app", "--login");
      await ask("role", "set", "other", "--login");
      const early = await ask("role", "certificate", "app", "--out", filesIn(life));
      expect(early).toContain("No rule for connections lets app in by certificate");
      await ask("hba", "add", "hostssl", "all", "app,other", "127.0.0.1/32", "cert", "--before", "1");
      const made = await ask("role", "certificate", "app", "--for", "90d", "--out", filesIn(life));
      expect(made).not.toContain("No rule");
      await ask("role", "certificate", "other", "--out", filesIn(life));
      for (const member of life.cluster.members) {
        await life.until(
          `app is let in on ${member.name}`,
          async () => connect(life, member, "app", "app") === "app",
        );
        expect(connect(life, member, "other", "other")).toBe("other");
        expect(connect(life, member, "app", "other")).toContain("certificate authentication failed");
        expect(connect(life, member, "app", null)).toContain("requires a valid client certificate");
      }
    });

    part("is nobody else by it: no superuser, no member", async (life) => {
      const primary = await life.primary();
      expect(connect(life, primary, "postgres", "app")).not.toBe("postgres");
      expect(connect(life, primary, "guacamole_replicator", "app")).toContain(
        "certificate authentication failed",
      );
      expect(connect(life, primary, "guacamole_replicator", "app", "replication=1")).toContain(
        "certificate authentication failed",
      );
      const file = (name: string) => readFileSync(join(filesIn(life), name), "utf8");
      const tls = { ca: file("ca.crt"), cert: file("app.crt"), key: file("app.key") };
      // The API asks for a token, whatever certificate is shown.
      const url = `https://127.0.0.1:${primary.apiPort}/v1/cluster`;
      expect((await fetch(url, { tls, keepalive: false })).status).toBe(401);
    });

    part("is known of on every member, and shut out where the role may not log in", async (life) => {
      const primary = await life.primary();
      for (const member of life.cluster.members) {
        await life.until(`${member.name} knows of both`, async () => {
          const listed = await life.ask(member, "role", "certificate", "app", "--list", "--output", "json");
          return (JSON.parse(listed.stdout) as RoleCertificatesDocument).certificates.length === 2;
        });
      }
      expect((await life.ask(primary, "role", "set", "app", "--no-login")).exitCode).toBe(0);
      expect(connect(life, primary, "app", "app")).toContain("not permitted to log in");
      expect(connect(life, primary, "other", "other")).toBe("other");
    });
  },
);
