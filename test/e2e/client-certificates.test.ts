/** Callers by a client certificate of somebody else's authority, on three real members, over TLS and with our own command line. */
import { afterAll, expect } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LocalCluster, LocalMember } from "../../src/demo/local-cluster.ts";
import { ClientAuthority, type Issued } from "../support/client-authority.ts";
import { addApiPort, describeLife, makeCluster } from "../support/cluster-life.ts";
import { guacamole } from "../support/tested-binary.ts";

const directory = mkdtempSync(join(tmpdir(), "client-certificates-"));
afterAll(() => rmSync(directory, { recursive: true }));
let ports: ReadonlyMap<string, number>;
const authority = await ClientAuthority.create([{ CN: ["Corp CA"] }]);
const ann = await authority.issue({ subject: [{ CN: ["ann"] }, { OU: ["on-call"] }] });
const bob = await authority.issue({ subject: [{ CN: ["bob"] }, { OU: ["guests"] }] });
const stranger = await (await ClientAuthority.create([{ CN: ["Corp CA"] }])).issue({
  subject: [{ CN: ["ann"] }, { OU: ["on-call"] }],
});

/** Each with a port that asks for certificates. */
function withDoors(): LocalCluster {
  const cluster = makeCluster(3);
  ports = addApiPort(cluster, "certificate-listen");
  return cluster;
}

describeLife("client certificates", withDoors, (part) => {
  part("of one's own authority let in on every member, for what the rules say", async (life) => {
    await life.form();
    const caFile = fileOf("ca.pem", authority.pem);
    const set = await life.ask(
      life.cluster.member("m1"),
      ...["client-certificate", "set", "--ca-file", caFile, "--map", "ou=on-call:operator"],
    );
    expect([set.stderr, set.exitCode]).toEqual(["", 0]);
    expect(set.stdout).toContain("CN=Corp CA");
    for (const member of life.cluster.members) {
      await life.until(
        `${member.name} lets ann in`,
        async () => (await ask(member, ann, "/v1/cluster")) === 200,
      );
      expect(await ask(member, ann, "/v1/tokens")).toBe(403);
      expect(await ask(member, bob, "/v1/cluster")).toBe(403);
      expect(await ask(member, bob, "/v1/cluster", life.token)).toBe(200);
    }
  });

  part("serve the command line, and name the author on every member's trail", async (life) => {
    const paused = await byCertificate(life.cluster.member("m2"), ann, "pause", "--reason", "disk");
    expect([paused.stderr, paused.exitCode]).toEqual(["", 0]);
    for (const member of life.cluster.members) {
      await life.until(`${member.name} tells who paused`, async () =>
        (await life.trail(member)).some(
          ({ by, byName, address }) =>
            by?.startsWith("x509:CN=ann") === true && byName === "ann" && address === "127.0.0.1",
        ),
      );
    }
    expect((await byCertificate(life.cluster.member("m3"), ann, "resume")).exitCode).toBe(0);
  });

  part(
    "of another authority of the same name, and none at all, are refused before anything is asked",
    async (life) => {
      const [first] = life.cluster.members;
      if (first === undefined) throw new Error("there are no members");
      for (const each of [stranger, null]) expect(await ask(first, each, "/v1/cluster")).toBe(0);
      await life.until("its log says why", async () =>
        readFileSync(first.logPath, "utf8").includes("it showed no certificate"),
      );
    },
  );

  part("let in again after the member was started again, and no more once they are blocked", async (life) => {
    const member = life.cluster.member("m3");
    await life.cluster.killMemberProcess(member);
    await life.cluster.start(member);
    await life.until("it lets ann in again", async () => (await ask(member, ann, "/v1/cluster")) === 200);
    const block = await life.ask(
      life.cluster.member("m1"),
      "client-certificate",
      "set",
      "--block",
      ann.sha256,
    );
    expect([block.stderr, block.exitCode]).toEqual(["", 0]);
    for (const each of life.cluster.members)
      await life.until(`${each.name} knows`, async () => (await ask(each, ann, "/v1/cluster")) === 401);
  });

  part("let nobody in once no authority is trusted", async (life) => {
    expect((await life.ask(life.cluster.member("m2"), "client-certificate", "remove")).exitCode).toBe(0);
    for (const each of life.cluster.members)
      await life.until(`${each.name} is shut`, async () => (await ask(each, ann, "/v1/cluster")) === 0);
  });
});

function fileOf(name: string, contents: string): string {
  const file = join(directory, name);
  writeFileSync(file, contents, { mode: 0o600 });
  return file;
}

const caOf = (member: LocalMember) => join(member.directory, "member", "tls", "ca.crt");
const filesOf = ({ cert, key, sha256 }: Issued) => ({
  cert: fileOf(`${sha256}.crt`, cert),
  key: fileOf(`${sha256}.key`, key),
});

/** The status of the answer; 0: there was none. */
async function ask(member: LocalMember, shown: Issued | null, path: string, token?: string): Promise<number> {
  try {
    const answer = await fetch(`https://127.0.0.1:${ports.get(member.name)}${path}`, {
      keepalive: false,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      tls: {
        ca: readFileSync(caOf(member), "utf8"),
        ...(shown === null ? {} : { cert: shown.cert, key: shown.key }),
      },
    });
    return answer.status;
  } catch {
    return 0;
  }
}

function byCertificate(member: LocalMember, shown: Issued, ...args: readonly string[]) {
  const { cert, key } = filesOf(shown);
  const endpoint = `127.0.0.1:${ports.get(member.name)}`;
  return guacamole(
    ...args,
    "--endpoint",
    endpoint,
    "--ca",
    caOf(member),
    "--client-cert",
    cert,
    "--client-key",
    key,
  );
}
