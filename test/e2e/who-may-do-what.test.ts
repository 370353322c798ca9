/** Tokens, the audit trail and refusals on three real members, over HTTPS. PostgreSQL is not needed for any of it. */

import { afterAll, expect } from "bun:test";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ClusterDocument, NewTokenDocument, TokenDocument } from "../../src/api/documents.ts";
import type { ProblemDocument } from "../../src/api/problem.ts";
import { defined } from "../../src/base/assert.ts";
import type { LocalCluster, LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";
import { parseLocalSyslog, receiveUnix, type SyslogReceiver } from "../support/syslog-receivers.ts";

/** A syslog daemon of each host, by the member's name. */
const daemons = new Map<string, SyslogReceiver>();

afterAll(() => {
  for (const daemon of daemons.values()) daemon.close();
});

function withDaemons(): LocalCluster {
  const cluster = makeCluster(3);
  for (const { name, directory, configPath } of cluster.members) {
    const daemon = receiveUnix(join(directory, "log"));
    daemons.set(name, daemon);
    appendFileSync(configPath, `\n[audit]\nsyslog = "${daemon.target}"\n`);
  }
  return cluster;
}

describeLife("who may do what", withDaemons, (part) => {
  let ann: NewTokenDocument;
  let dashboard: NewTokenDocument;
  const shown: string[] = [];

  part("a token is made on one member and good on all, for what its scope says", async (life) => {
    await life.form();
    const [first, second, third] = membersOf(life);
    ann = await create(life, first, "ann", "--scope", "operator", "--expires", "90d");
    dashboard = await create(life, second, "dashboard", "--scope", "health");
    shown.push(life.token, ann.token, dashboard.token);
    for (const member of life.cluster.members) {
      await untilStatus(life, member, "GET", "/v1/cluster", ann.token, 200);
      await untilStatus(life, member, "GET", "/metrics", dashboard.token, 200);
      expect(await codeOf(member, "GET", "/v1/cluster", dashboard.token)).toBe("scope-insufficient");
      expect(await codeOf(member, "GET", "/v1/tokens", ann.token)).toBe("scope-insufficient");
    }
    expect((await request(third, "POST", "/v1/pause", ann.token, { reason: "storage" })).status).toBe(201);
    const refused = await codeOf(second, "POST", "/v1/pause", dashboard.token, { reason: "x" });
    expect(refused).toBe("scope-insufficient");
  });

  part("every member tells the same changes, and what it refused itself", async (life) => {
    const [first, second, third] = membersOf(life);
    const kinds = ["form", "add-member", "add-member", "create-token", "create-token", "pause"];
    for (const member of life.cluster.members) {
      await life.until(`${member.name} has the whole trail`, async () => {
        const told = (await life.trail(member)).map(({ kind }) => kind);
        return kinds.every((kind) => told.includes(kind));
      });
    }
    const changes = async (member: LocalMember) =>
      (await life.trail(member)).filter(({ outcome }) => outcome === "changed");
    const here = await changes(first);
    expect(await changes(second)).toEqual(here);
    expect(await changes(third)).toEqual(here);
    expect(here.find(({ kind }) => kind === "pause")).toMatchObject({
      by: ann.id,
      byName: "ann",
      address: "127.0.0.1",
      request: "POST /v1/pause",
    });
    const refusals = async (member: LocalMember) =>
      (await life.trail(member, "--by", "dashboard")).filter(({ request }) => request === "POST /v1/pause");
    expect(await refusals(second)).toMatchObject([
      { outcome: "refused", status: 403, code: "scope-insufficient", address: "127.0.0.1" },
    ]);
    expect(await refusals(first)).toEqual([]);
    expect(readFileSync(second.logPath, "utf8")).toContain('"audit.refused"');
  });

  part("each of them gets to the syslog daemon of the host that was asked, once", async (life) => {
    const [, second] = membersOf(life);
    const known = (await life.trail(second)).filter(({ outcome }) => outcome === "changed");
    const sent = () =>
      [...daemons].flatMap(([member, { messages }]) =>
        messages.map((message) => ({ member, ...parseLocalSyslog(message) })),
      );
    const changes = () => sent().filter(({ messageId }) => messageId === "audit.change");
    await life.until("all are sent", async () => changes().length >= known.length);
    expect(
      changes()
        .map(({ content }) => content["id"] as string)
        .toSorted(),
    ).toEqual(known.map(({ id }) => id).toSorted());
    for (const { member, content } of changes()) expect(content["member"]).toBe(member);
    await life.until("so is what was refused", async () =>
      sent().some(
        ({ member, messageId, content }) =>
          member === second.name && messageId === "audit.refused" && content["byName"] === "dashboard",
      ),
    );
    const { members } = await second.api.get<ClusterDocument>("/v1/cluster");
    expect(members.map(({ syslog }) => syslog?.problem)).toEqual([null, null, null]);
  });

  part("a token that has expired is refused by each member, by its own clock", async (life) => {
    const [first] = membersOf(life);
    const expiresAt = new Date(Date.now() + 2_000).toISOString();
    const made = await request(first, "POST", "/v1/tokens", life.token, { scope: "viewer", expiresAt });
    const { token, id } = (await made.json()) as NewTokenDocument;
    shown.push(token);
    for (const member of life.cluster.members) {
      await life.until(`${member.name} says that it has expired`, async () => {
        const answer = await request(member, "GET", "/v1/cluster", token);
        return answer.status === 401 && ((await answer.json()) as ProblemDocument).code === "token-expired";
      });
    }
    const tokens = (await (await request(first, "GET", "/v1/tokens", life.token)).json()) as TokenDocument[];
    expect(tokens.find((each) => each.id === id)?.isExpired).toBe(true);
    expect(tokens.find((each) => each.id === ann.id)?.lastUsedAt).not.toBeNull();
  });

  part("a token that is revoked is refused by each member", async (life) => {
    const [, , third] = membersOf(life);
    const revoked = await life.ask(third, "token", "revoke", "dashboard");
    expect([revoked.exitCode, revoked.stdout.includes("dashboard")]).toEqual([0, false]);
    for (const member of life.cluster.members)
      await untilStatus(life, member, "GET", "/metrics", dashboard.token, 401);
  });

  part("whoever guesses is turned away for a while, and a right token is not", async (life) => {
    const [first] = membersOf(life);
    const guess = `gcm_${ann.id}_${"x".repeat(32)}`;
    await life.until("it is turned away", async () => {
      const answer = await request(first, "GET", "/v1/cluster", guess);
      expect([401, 429]).toContain(answer.status);
      if (answer.status !== 429) return false;
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
      return true;
    });
    expect((await request(first, "GET", "/v1/cluster", ann.token)).status).toBe(200);
  });

  part("no secret that was ever shown lies in any file or log of any member", async (life) => {
    const [first] = membersOf(life);
    const added = await life.ask(first, "member", "add", "--output", "json");
    shown.push((JSON.parse(added.stdout) as { token: string }).token.split(".").slice(0, 3).join("."));
    const secrets = shown.map((token) => token.split(/[_.]/).at(-1) ?? "");
    expect(secrets.every((secret) => secret.length >= 32)).toBe(true);
    secrets.push(await authorityKey(life));
    const files = filesUnder(life.cluster.root).map((path) => ({ path, bytes: readFileSync(path) }));
    // Were the database not among them, there would be nothing to find.
    const databases = files.filter(({ path }) => path.includes("guacamole.db"));
    expect(databases.filter(({ bytes }) => bytes.includes('"dashboard"')).length).toBeGreaterThanOrEqual(3);
    const found = files.flatMap(({ path, bytes }) =>
      secrets.flatMap((secret, at) => (bytes.includes(secret) ? [`${path}: secret ${at}`] : [])),
    );
    expect(found).toEqual([]);
  });
});

/** A line of it, as no file may have it: backups say what is agreed. */
async function authorityKey(life: ClusterLife): Promise<string> {
  const [first] = membersOf(life);
  const path = join(mkdtempSync(join(tmpdir(), "backup-")), "agreed");
  try {
    expect(await life.ask(first, "backup-state", path)).toMatchObject({ exitCode: 0 });
    const key = /BEGIN PRIVATE KEY-----\\*n(?<line>[A-Za-z0-9+/]{60,})/.exec(readFileSync(path, "utf8"))
      ?.groups?.["line"];
    return defined(key, "a backup holds the authority's key");
  } finally {
    rmSync(dirname(path), { recursive: true });
  }
}

function membersOf({ cluster }: ClusterLife): readonly [LocalMember, LocalMember, LocalMember] {
  return [cluster.member("m1"), cluster.member("m2"), cluster.member("m3")];
}

async function create(
  life: ClusterLife,
  member: LocalMember,
  ...args: readonly string[]
): Promise<NewTokenDocument> {
  const made = await life.ask(member, "token", "create", ...args, "--output", "json");
  expect(made.stderr).toBe("");
  return JSON.parse(made.stdout) as NewTokenDocument;
}

function request(
  member: LocalMember,
  method: string,
  path: string,
  token: string,
  body?: unknown,
): Promise<Response> {
  return fetch(`https://127.0.0.1:${member.apiPort}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    tls: { ca: readFileSync(join(member.directory, "member", "tls", "ca.crt"), "utf8") },
  });
}

async function codeOf(...asked: Parameters<typeof request>): Promise<string> {
  return ((await (await request(...asked)).json()) as ProblemDocument).code;
}

/** A token is good, or is not, as soon as the member has heard of it. */
async function untilStatus(
  life: ClusterLife,
  member: LocalMember,
  method: string,
  path: string,
  token: string,
  status: number,
): Promise<void> {
  await life.until(`${member.name} answers ${status}`, async () => {
    const answer = await request(member, method, path, token);
    return answer.status === status;
  });
}

function filesUnder(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
