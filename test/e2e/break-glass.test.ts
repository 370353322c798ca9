/** Break-glass access on a real cluster: who is let in, and that it ends whatever becomes of everything else. */

import { expect } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecordDocument, ClusterDocument, NewTokenDocument } from "../../src/api/documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster, socketOf } from "../support/cluster-life.ts";
import { list, logIn, openSession, request, rolesOf, type Session } from "../support/glass-sessions.ts";
import { guacamole } from "../support/tested-binary.ts";

/** Long enough to get in on a slow machine, short enough to be waited for. */
const SOON = "8s";
const passwords: string[] = [];

describeLife(
  "break-glass access to three members",
  () => makeCluster(3),
  (part) => {
    part("lets a person in, on every member, from the one address", async (life) => {
      await life.bringUp("orders");
      await life.startWriting();
      const primary = await life.primary();
      const [standby, other] = await twoStandbys(life);
      const key = await ask(life, other, "30m");
      expect(key).toMatchObject({ state: "open", address: "127.0.0.1/32", by: "local" });
      for (const member of life.cluster.members)
        await life.until(`${member.name} lets it in`, async () => logIn(life, member, key) === "superuser");
      const status = await life.ask(standby, "status");
      expect(status.stdout).toContain("Break-glass access is open for local from 127.0.0.1/32");
      const elsewhere = await ask(life, primary, "30m", "127.0.0.9");
      await life.until("the role is there", async () =>
        (await rolesOf(life, primary)).includes(elsewhere.role),
      );
      for (const member of life.cluster.members)
        await life.until(
          `${member.name} refuses it`,
          async () => logIn(life, member, elsewhere) === "rejected",
        );
    });

    part("ends when it is revoked: session, rule and role", async (life) => {
      const primary = await life.primary();
      const [standby] = await twoStandbys(life);
      for (const { id, state } of await list(life, standby)) {
        expect(state).toBe("open");
        const key = keys.get(id);
        const session = key?.address === "127.0.0.1/32" ? await openSession(life, primary, key) : null;
        expect(await life.ask(standby, "break-glass", "revoke", id.slice(0, 12))).toMatchObject({
          exitCode: 0,
        });
        if (session !== null) expect(await session.ended).toContain("terminating connection");
      }
      await untilNothingIsLeft(life);
    });

    part("ends by itself at its time, with a session open, and later if it was extended", async (life) => {
      const primary = await life.primary();
      const short = await ask(life, primary, SOON);
      const long = await ask(life, primary, SOON);
      const extended = await life.ask(primary, "break-glass", "extend", long.id, "--by", "1h");
      expect(extended).toMatchObject({ exitCode: 0 });
      const [first, second] = [
        await openSession(life, primary, short),
        await openSession(life, primary, long),
      ];
      expect(await first.ended).toContain("terminating connection");
      await life.until("it is agreed that it has ended", async () =>
        (await list(life, primary)).some(({ id, ended }) => id === short.id && ended?.why === "expired"),
      );
      expect(second.isOpen()).toBe(true);
      expect(logIn(life, primary, long)).toBe("superuser");
      await life.ask(primary, "break-glass", "revoke", long.id);
      expect(await second.ended).toContain("terminating connection");
      await untilNothingIsLeft(life);
    });

    part("ends although the member beside it is frozen", async (life) => {
      const primary = await life.primary();
      const session = await begin(life, primary);
      primary.process?.kill("SIGSTOP");
      expect(await session.ended).toContain("terminating connection");
      await life.until("nobody is let in", async () => logIn(life, primary, session.key) !== "superuser");
      primary.process?.kill("SIGCONT");
      await untilNothingIsLeft(life);
    });

    part("ends although the member beside it is killed", async (life) => {
      const primary = await life.primary();
      const session = await begin(life, primary);
      await life.cluster.killMemberProcess(primary);
      expect(await session.ended).toContain("terminating connection");
      await life.until("nobody is let in", async () => logIn(life, primary, session.key) !== "superuser");
      await life.cluster.start(primary);
      await untilNothingIsLeft(life);
    });

    part(
      "ends although there is no leader, and the primary and its standbys hear of nobody",
      async (life) => {
        const primary = await life.primary();
        const standbys = await twoStandbys(life);
        const session = await begin(life, primary);
        const onStandby = await openSession(life, standbys[0], session.key);
        for (const standby of standbys) standby.process?.kill("SIGSTOP");
        expect(await session.ended).toContain("terminating connection");
        expect(await onStandby.ended).toContain("terminating connection");
        for (const member of life.cluster.members)
          await life.until(
            `${member.name} lets nobody in`,
            async () => logIn(life, member, session.key) !== "superuser",
          );
        // The member on the primary's host removes it without asking anybody.
        await life.until("no role is left", async () => (await rolesOf(life, primary)) === "");
        for (const standby of standbys) standby.process?.kill("SIGCONT");
        await life.untilWhole();
        await untilNothingIsLeft(life);
      },
    );

    part(
      "ends with the supervisor killed, too: the member starts the next, which goes on counting",
      async (life) => {
        const primary = await life.primary();
        const session = await begin(life, primary);
        const supervisor = life.cluster.supervisorPid(primary);
        if (supervisor === null) throw new Error("there is no supervisor");
        process.kill(supervisor, "SIGKILL");
        expect(await session.ended).toContain("terminating connection");
        await life.untilWhole();
        await untilNothingIsLeft(life);
      },
    );

    part("goes on after a failover, and ends there in time", async (life) => {
      const former = await life.primary();
      const key = await ask(life, former, "25s");
      await openSession(life, former, key);
      await life.cluster.killEverything(former);
      const successor = await life.successorOf(former);
      const session = await openSession(life, successor, key);
      expect(await session.ended).toContain("terminating connection");
      await life.until("no role is left", async () => (await rolesOf(life, successor)) === "");
      await life.cluster.start(former);
      await life.untilWhole();
      await untilNothingIsLeft(life);
      expect(logIn(life, former, key)).not.toBe("superuser");
    });

    part("a role of its kind without a grant is removed, also by who becomes primary", async (life) => {
      const former = await life.primary();
      const [standby] = await twoStandbys(life);
      // So that nobody looks before there is another primary.
      former.process?.kill("SIGSTOP");
      await life.sql(former, "CREATE ROLE guacamole_bg_planted LOGIN SUPERUSER PASSWORD 'x'");
      await life.until("it came by replication", async () =>
        (await rolesOf(life, standby)).includes("planted"),
      );
      await life.cluster.killEverything(former);
      const successor = await life.successorOf(former);
      await life.until("the new primary removed it", async () => (await rolesOf(life, successor)) === "");
      await life.cluster.start(former);
      await life.untilWhole();
    });

    part("waits for somebody else where the policy asks for that", async (life) => {
      const primary = await life.primary();
      const [ann, bob] = [await token(life, primary, "ann"), await token(life, primary, "bob")];
      expect(await life.ask(primary, "break-glass", "policy", "--approvals", "1")).toMatchObject({
        exitCode: 0,
      });
      const place = ["--endpoint", `127.0.0.1:${primary.apiPort}`, "--ca", await authorityOf(life, primary)];
      const as = (who: string, ...args: readonly string[]) =>
        guacamole("break-glass", ...args, ...place, "--token", who);
      const asked = await as(ann, "request", "--reason", "INC-2", "--from", "127.0.0.1", "--output", "json");
      expect(asked.stderr).toBe("");
      const key = remember(asked.stdout);
      expect(key).toMatchObject({ state: "waiting", byName: "ann" });
      expect(await as(ann, "approve", key.id)).toMatchObject({ exitCode: 3 });
      expect(logIn(life, primary, key)).toBe("unknown");
      expect(await as(bob, "approve", key.id)).toMatchObject({ exitCode: 0 });
      await life.until("it is let in", async () => logIn(life, primary, key) === "superuser");
      expect(await as(ann, "extend", key.id, "--by", "1h")).toMatchObject({ exitCode: 3 });
      expect(await as(ann, "revoke", key.id)).toMatchObject({ exitCode: 0 });
      await untilNothingIsLeft(life);
    });

    part("stands in the audit trail, and no password in any file", async (life) => {
      const primary = await life.primary();
      const { stdout } = await life.ask(primary, "audit", "--output", "jsonl");
      const kinds = stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => (JSON.parse(line) as AuditRecordDocument).request);
      for (const wanted of ["POST /v1/access/break-glass", "PATCH /v1/access/break-glass/policy"])
        expect(kinds).toContain(wanted);
      expect(kinds.some((request) => request.endsWith("/approve"))).toBe(true);
      expect(kinds.some((request) => request.startsWith("DELETE /v1/access/break-glass/"))).toBe(true);
      expect(stdout).not.toContain("SCRAM-SHA-256");
      const files = filesUnder(life.cluster.root).map((path) => ({ path, bytes: readFileSync(path) }));
      expect(files.some(({ bytes }) => bytes.includes("SCRAM-SHA-256$"))).toBe(true);
      expect(passwords.length).toBeGreaterThan(8);
      const found = files.flatMap(({ path, bytes }) =>
        passwords.some((each) => bytes.includes(each)) ? [path] : [],
      );
      expect(found).toEqual([]);
      const logs = files.filter(({ path }) => path.endsWith(".log"));
      expect(logs.filter(({ bytes }) => bytes.includes("SCRAM-SHA-256$")).map(({ path }) => path)).toEqual(
        [],
      );
      await life.expectNothingLost();
    });
  },
);

const keys = new Map<string, ReturnType<typeof remember>>();

function remember(text: string) {
  const key = JSON.parse(text) as Awaited<ReturnType<typeof request>>;
  passwords.push(key.password);
  keys.set(key.id, key);
  return key;
}

async function ask(life: ClusterLife, through: LocalMember, duration: string, from?: string) {
  return remember(JSON.stringify(await request(life, through, duration, from)));
}

/** A session that is to end soon. */
async function begin(
  life: ClusterLife,
  member: LocalMember,
): Promise<Session & { key: ReturnType<typeof remember> }> {
  const key = await ask(life, member, SOON);
  return { ...(await openSession(life, member, key)), key };
}

/** On every member: neither role, nor a rule that lets anybody in, nor a warning. */
async function untilNothingIsLeft(life: ClusterLife): Promise<void> {
  for (const member of life.cluster.members) {
    await life.until(`no role is left on ${member.name}`, async () => (await rolesOf(life, member)) === "");
    await life.until(`no rule is left on ${member.name}`, async () => {
      const hba = readFileSync(`${member.dataDirectory}.guacamole/pg_hba.conf`, "utf8");
      return !/^hostssl all guacamole_bg_/m.test(hba);
    });
  }
  await life.seen("nothing is open", (seen: ClusterDocument) => seen.warnings.length === 0);
}

async function twoStandbys(life: ClusterLife): Promise<readonly [LocalMember, LocalMember]> {
  const [one, two] = await life.standbys();
  if (one === undefined || two === undefined) throw new Error("there are three members");
  return [one, two];
}

async function token(life: ClusterLife, member: LocalMember, name: string): Promise<string> {
  const made = await life.ask(member, "token", "create", name, "--scope", "admin", "--output", "json");
  return (JSON.parse(made.stdout) as NewTokenDocument).token;
}

async function authorityOf(life: ClusterLife, member: LocalMember): Promise<string> {
  const file = join(life.cluster.root, "ca.crt");
  const answer = await fetch("http://localhost/v1/ca", { unix: socketOf(member) });
  await Bun.write(file, await answer.text());
  return file;
}

function filesUnder(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}
