/** Logging in with break-glass access, as a person does: psql over TCP. */
import { join } from "node:path";
import type { BreakGlassDocument, NewBreakGlassDocument } from "../../src/api/break-glass-documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import type { ClusterLife } from "./cluster-life.ts";
import { bareEnvironment } from "./tested-binary.ts";

/** Where it plays. */
export interface Stage {
  readonly binDirectory: string;
  until(what: string, condition: () => Promise<boolean>): Promise<void>;
  /** As the superuser over the Unix socket. */
  sql(member: LocalMember, text: string): Promise<string>;
}

export type Key = Pick<NewBreakGlassDocument, "id" | "role" | "password">;

/** Asks through one member for a grant for whoever comes from 127.0.0.1, or from somewhere else. */
export async function request(
  life: ClusterLife,
  through: LocalMember,
  duration: string,
  from = "127.0.0.1",
): Promise<NewBreakGlassDocument> {
  const asked = ["--reason", "INC-1: orders are stuck", "--from", from, "--for", duration];
  const run = await life.ask(through, "break-glass", "request", ...asked, "--output", "json");
  if (run.exitCode !== 0) throw new Error(run.stderr);
  return JSON.parse(run.stdout) as NewBreakGlassDocument;
}

export async function list(life: ClusterLife, through: LocalMember): Promise<readonly BreakGlassDocument[]> {
  const { stdout } = await life.ask(through, "break-glass", "list", "--output", "json");
  return JSON.parse(stdout) as readonly BreakGlassDocument[];
}

function psql(stage: Stage, member: LocalMember, { role, password }: Key, sql: string): string[] {
  const place = `host=${member.host.address} port=${member.postgresPort} user=${role} dbname=postgres`;
  const conninfo = `${place} sslmode=require password=${password} connect_timeout=5`;
  return [join(stage.binDirectory, "psql"), "-XAtwqc", sql, conninfo];
}

/** What becomes of a login: `superuser`, `rejected` by the rules, `unknown` where there is no such role or password. */
export function logIn(stage: Stage, member: LocalMember, key: Key, sql = "SHOW is_superuser"): string {
  const run = Bun.spawnSync(psql(stage, member, key, sql), { env: bareEnvironment() });
  const said = `${run.stdout.toString()}${run.stderr.toString()}`.trim();
  if (said === "on") return "superuser";
  if (said.includes("pg_hba.conf rejects")) return "rejected";
  return said.includes("password authentication failed") ? "unknown" : said;
}

export interface Session {
  /** What psql said when it ended. */
  readonly ended: Promise<string>;
  readonly isOpen: () => boolean;
}

/** A session that goes on for an hour unless it is ended; resolves once it is in. */
export async function openSession(stage: Stage, member: LocalMember, key: Key): Promise<Session> {
  await stage.until(`${key.role} is let in`, async () => logIn(stage, member, key) === "superuser");
  const run = Bun.spawn(psql(stage, member, key, "SELECT pg_sleep(3600)"), {
    env: bareEnvironment(),
    stdout: "ignore",
    stderr: "pipe",
  });
  const sleeping = `SELECT count(*) FROM pg_stat_activity WHERE usename = '${key.role}' AND query LIKE '%pg_sleep%'`;
  await stage.until("its session is seen", async () => (await stage.sql(member, sleeping)) === "1");
  return { ended: run.stderr.text(), isOpen: () => run.exitCode === null };
}

/** The roles of break-glass access that a server has. */
export function rolesOf(stage: Stage, member: LocalMember): Promise<string> {
  return stage.sql(
    member,
    "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'guacamole_bg_') ORDER BY 1",
  );
}
