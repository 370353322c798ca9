/** Callers whom an issuer of OpenID Connect vouches for, on three real members, over HTTPS. PostgreSQL is not needed for it. */
import { afterAll, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { SpecHistoryDocument } from "../../src/api/spec-documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";
import { LocalIssuer } from "../support/local-issuer.ts";

let issuer: LocalIssuer | null = null;
/** Whoever was refused too often in the last minute is told that. */
const REFUSED: readonly number[] = [401, 429];
afterAll(() => issuer?.stop());

function running(): LocalIssuer {
  if (issuer === null) throw new Error("the issuer was not started");
  return issuer;
}

describeLife(
  "an identity provider",
  () => makeCluster(3),
  (part) => {
    part("is trusted by every member, for what its rules say", async (life) => {
      issuer = await LocalIssuer.start();
      await life.form();
      const set = await life.ask(
        life.cluster.member("m1"),
        ...["identity-provider", "set", "corp", "--issuer", issuer.url, "--audience", "guacamole"],
        ...["--map", "groups=on-call:operator", "--map", "groups=dba:admin"],
        ...["--name-claim", "preferred_username"],
      );
      expect([set.stderr, set.exitCode]).toEqual(["", 0]);
      const onCall = await issuer.sign({
        claims: { sub: "8f14", groups: ["on-call"], preferred_username: "ann" },
      });
      for (const member of life.cluster.members) {
        await until(life, member, "GET", "/v1/cluster", onCall, 200);
        expect(await request(member, "GET", "/v1/tokens", onCall)).toBe(403);
      }
      expect(await request(life.cluster.member("m2"), "POST", "/v1/pause", onCall, { reason: "disk" })).toBe(
        201,
      );
    });

    part("names the author on every member's trail, and in the history of what is wanted", async (life) => {
      const dba = await running().sign({ claims: { sub: "c4ca", preferred_username: "bob" } });
      const change = { failover: { calmMs: 20_000 } };
      expect(await request(life.cluster.member("m3"), "PATCH", "/v1/topology", dba, change)).toBe(200);
      for (const member of life.cluster.members) {
        await life.until(`${member.name} tells both`, async () => {
          const told = (await life.trail(member)).filter(({ outcome }) => outcome === "changed");
          const authors = told.map(({ by, byName }) => `${by} ${byName}`);
          return [`${running().url}#8f14 ann`, `${running().url}#c4ca bob`].every((author) =>
            authors.includes(author),
          );
        });
      }
      const history = await life.ask(life.cluster.member("m1"), "spec", "history", "--output", "json");
      const { versions } = JSON.parse(history.stdout) as SpecHistoryDocument;
      expect(versions[0]).toMatchObject({ by: `${running().url}#c4ca`, byName: "bob" });
    });

    part("is believed by its keys alone, and whoever keeps the cluster is told why not", async (life) => {
      const [first] = life.cluster.members;
      if (first === undefined) throw new Error("there are no members");
      const stranger = await LocalIssuer.start();
      const forged = await stranger.sign({ claims: { iss: running().url } });
      await stranger.stop();
      const expired = await running().sign({ atSeconds: Math.floor(Date.now() / 1_000) - 4_000 });
      const elsewhere = await running().sign({ claims: { aud: "wiki" } });
      for (const token of [forged, expired, elsewhere])
        expect(await request(first, "GET", "/v1/cluster", token)).toBe(401);
      const whys = (await life.trail(first)).flatMap(({ why }) => (why === null ? [] : [why]));
      expect(whys).toEqual([
        "its signature is wrong (corp)",
        "token expired (corp)",
        "wrong audience (corp)",
      ]);
      const log = readFileSync(first.logPath, "utf8");
      expect(log).toContain("wrong audience (corp)");
      for (const token of [forged, expired, elsewhere]) expect(log).not.toContain(token.split(".")[2]);
    });

    part("may be away for a while", async (life) => {
      const token = await running().sign();
      await running().stop();
      for (const member of life.cluster.members) {
        expect(await request(member, "GET", "/v1/cluster", token)).toBe(200);
        expect(await request(member, "GET", "/v1/cluster", life.token)).toBe(200);
      }
    });

    part("lets nobody in once it is trusted no more", async (life) => {
      const token = await running().sign();
      const removed = await life.ask(life.cluster.member("m2"), "identity-provider", "remove", "corp");
      expect(removed.exitCode).toBe(0);
      for (const member of life.cluster.members)
        await until(life, member, "GET", "/v1/cluster", token, ...REFUSED);
    });
  },
);

async function request(
  member: LocalMember,
  method: string,
  path: string,
  token: string,
  body?: unknown,
): Promise<number> {
  const answer = await fetch(`https://127.0.0.1:${member.apiPort}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    tls: { ca: readFileSync(join(member.directory, "member", "tls", "ca.crt"), "utf8") },
  });
  return answer.status;
}

/** As soon as the member has heard of what it needs for it. */
async function until(
  life: ClusterLife,
  member: LocalMember,
  method: string,
  path: string,
  token: string,
  ...wanted: readonly number[]
): Promise<void> {
  await life.until(`${member.name} answers ${wanted.join(" or ")}`, async () =>
    wanted.includes(await request(member, method, path, token)),
  );
}
