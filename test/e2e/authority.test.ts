/**
 * The cluster's authority is replaced under writers: with everybody there, with a member away, with a leader that is killed in
 * the middle, with newcomers, and with one that was removed meanwhile.
 */
import { expect } from "bun:test";
import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AuthorityDocument } from "../../src/api/authority-documents.ts";
import type { ClusterDocument, OperationDocument } from "../../src/api/documents.ts";
import { REPLICATION_ROLE } from "../../src/cluster/hba-own.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { certificatesIn, fingerprint, isSignedBy } from "../../src/peer/certificates.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";
import { bareEnvironment } from "../support/tested-binary.ts";

const tlsOf = (member: LocalMember, name: string) => join(member.directory, "member", "tls", name);
const caOf = (member: LocalMember) => readFileSync(tlsOf(member, "ca.crt"), "utf8");

/** What somebody shows on a port, as anybody who connects sees it. */
async function shown(port: number, ...more: readonly string[]): Promise<string> {
  const run = Bun.spawn(["openssl", "s_client", "-connect", `127.0.0.1:${port}`, ...more], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const [pem = ""] = certificatesIn(await run.stdout.text());
  await run.exited;
  return pem;
}

/** Whether the peer transport, the API and PostgreSQL of a member all show a certificate of the one authority that it trusts. */
async function showsAllOf(member: LocalMember): Promise<boolean> {
  const ca = caOf(member);
  const pems = await Promise.all([
    shown(member.peerPort),
    shown(member.apiPort),
    shown(member.postgresPort, "-starttls", "postgres"),
  ]);
  return certificatesIn(ca).length === 1 && pems.every((pem) => pem !== "" && isSignedBy(pem, ca));
}

/** The command line, asked of a member; what it printed. */
async function certificates(
  life: ClusterLife,
  asked: LocalMember,
  ...args: readonly string[]
): Promise<string> {
  const { exitCode, stdout, stderr } = await life.ask(asked, "certificates", ...args);
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

const authorityAt = (member: LocalMember) => member.api.get<AuthorityDocument>("/v1/certificates/authority");

async function untilReplaced(life: ClusterLife, asked: LocalMember, was: string): Promise<void> {
  await life.until("the authority is replaced", async () => {
    const { fingerprint: now, change } = await authorityAt(asked);
    return change === null && now !== was;
  });
  const operations = await asked.api.get<OperationDocument[]>("/v1/operations");
  expect(operations.find(({ kind }) => kind === "authority-change")).toMatchObject({ status: "succeeded" });
}

async function untilAllReady(life: ClusterLife, asked: LocalMember): Promise<void> {
  await life.until("every member trusts both", async () => {
    const { change } = await authorityAt(asked);
    return change?.members.every(({ waitsFor }) => waitsFor === null) ?? false;
  });
}

/** Which processes stream, and to whom: others after any break. */
function streams(life: ClusterLife, primary: LocalMember): Promise<string> {
  return life.sql(
    primary,
    "SELECT string_agg(application_name || ' ' || pid, ',' ORDER BY pid) FROM pg_stat_replication",
  );
}

/** What PostgreSQL says to whoever logs in as a member does, with these files. */
async function logIn(life: ClusterLife, to: LocalMember, files: string): Promise<string> {
  const place = `host=127.0.0.1 port=${to.postgresPort} user=${REPLICATION_ROLE} dbname=postgres sslmode=require`;
  const run = Bun.spawn(
    [
      join(life.cluster.binDirectory, "psql"),
      "-XAtqc",
      "SELECT 'in'",
      `${place} sslcert=${join(files, "member.crt")} sslkey=${join(files, "member.key")}`,
    ],
    { env: bareEnvironment(), stdout: "pipe", stderr: "pipe" },
  );
  const [output, errors] = await Promise.all([run.stdout.text(), run.stderr.text()]);
  return `${output}${errors}`.trim();
}

/** A member that neither leads nor reigns; the leader is beside nobody. */
async function bystander(life: ClusterLife): Promise<{ leader: LocalMember; other: LocalMember }> {
  const seen = await life.seen(
    "the leader is not beside the primary",
    ({ raft, reign }) => raft.leader !== null && raft.leader !== reign?.primary,
  );
  const name = seen.members
    .map((each) => each.name)
    .find((each) => each !== seen.raft.leader && each !== seen.reign?.primary);
  return { leader: life.cluster.member(seen.raft.leader ?? ""), other: life.cluster.member(name ?? "") };
}

const warned = ({ warnings }: ClusterDocument) =>
  warnings.filter(({ code }) => code === "authority-changing").map(({ text }) => text);

describeLife(
  "a cluster whose authority is replaced",
  () => makeCluster(5),
  (part) => {
    let early = "";

    part("without a restart, a lost link or a failover, while clients write", async (life) => {
      const [m1, m2, m3] = life.cluster.members as readonly [LocalMember, LocalMember, LocalMember];
      const three = [m1, m2, m3];
      await Promise.all(three.map((member) => life.cluster.start(member)));
      life.token = (await m1.api.post<{ token: string }>("/v1/form", { name: "authority" })).token;
      await life.seen("the first member leads", ({ raft }) => raft.leader === "m1");
      for (const member of [m2, m3]) await life.cluster.join(member, m1);
      await life.cluster.initialize();
      await life.untilWhole();
      await life.startWriting();
      const { leader, other } = await bystander(life);
      const primary = await life.primary();
      const before = await life.now();
      const [streaming, postmaster] = [await streams(life, primary), life.cluster.postmasterPid(primary)];
      const pids = three.map((member) => member.process?.pid);
      const was = (await authorityAt(m1)).fingerprint;
      const logBytes = three.map((member) => readFileSync(member.logPath, "utf8").length);
      early = (await m1.api.post<{ token: string }>("/v1/members", {})).token;
      const kept = life.cluster.root;
      for (const name of ["member.crt", "member.key"]) {
        copyFileSync(tlsOf(other, name), join(kept, name));
        chmodSync(join(kept, name), 0o600);
      }
      expect(await logIn(life, primary, kept)).toBe("in");

      const told = await certificates(life, m1, "rotate-authority");
      expect(told).toBe("The cluster's certificate authority is replaced.\n");
      await untilReplaced(life, m1, was);
      // Before anybody looks from outside: whoever shows no certificate is refused, and that is told.
      for (const [at, member] of three.entries()) {
        const trusts = () => certificatesIn(caOf(member)).length;
        await life.until(`${member.name} trusts the new one alone`, async () => trusts() === 1);
        const log = readFileSync(member.logPath, "utf8").slice(logBytes[at]);
        expect(log).not.toMatch(/"peer\.(refused|unreachable)"/);
        expect(log).toContain('"reason":"other-authority"');
        expect(log).not.toContain("PRIVATE KEY");
      }
      for (const member of three) {
        await life.until(`${member.name} shows the new one's, and trusts nobody else`, () =>
          showsAllOf(member),
        );
        expect(fingerprint(caOf(member))).toBe((await authorityAt(m1)).fingerprint);
      }
      await life.untilWritesGoOn();
      const after = await life.now();
      expect(after.raft).toMatchObject({ leader: leader.name, term: before.raft.term });
      expect(after).toMatchObject({ failoverCount: 0, reign: { epoch: before.reign?.epoch } });
      expect(await streams(life, primary)).toBe(streaming);
      expect(life.cluster.postmasterPid(primary)).toBe(postmaster);
      expect(three.map((member) => member.process?.pid)).toEqual(pids);
      await life.expectNothingLost();
    });

    part("lets members in with the new certificates, and nobody with one of the former", async (life) => {
      const primary = await life.primary();
      expect(await logIn(life, primary, life.cluster.root)).toMatch(/unknown ca|certificate/i);
      const before = await streams(life, primary);
      await life.sql(primary, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
      await life.until("other streams stand", async () => {
        const now = await streams(life, primary);
        return now !== before && now.split(",").length === 2;
      });
      const { other } = await bystander(life);
      await life.cluster.killMemberProcess(other);
      await life.cluster.start(other);
      await life.untilWhole();
      await life.untilWritesGoOn();
    });

    part("waits for a member that is away, says so, and goes on when it is back", async (life) => {
      const { leader, other } = await bystander(life);
      const was = (await authorityAt(leader)).fingerprint;
      await life.cluster.killEverything(other);
      await certificates(life, leader, "rotate-authority", "--no-wait");
      const seen = await life.seen("that it is waited for", (each) =>
        warned(each).some((text) => text.includes(`${other.name} (it is not heard)`)),
      );
      const [operation = ""] = seen.runningOperations;
      await life.until("the operation says so", async () => {
        const { phase } = await leader.api.get<OperationDocument>(`/v1/operations/${operation}`);
        return phase === `waiting for ${other.name}`;
      });
      expect((await authorityAt(leader)).fingerprint).toBe(was);
      await life.untilWritesGoOn();
      await life.cluster.start(other);
      await untilReplaced(life, leader, was);
      await life.untilWhole();
      await life.until(`${other.name} shows the new one's`, () => showsAllOf(other));
      await life.expectNothingLost();
    });

    part("goes on where its leader was killed in the middle, and takes a newcomer along", async (life) => {
      const { leader, other } = await bystander(life);
      const was = (await authorityAt(other)).fingerprint;
      await certificates(life, leader, "rotate-authority", "--hold");
      await untilAllReady(life, other);
      expect((await life.ask(other, "certificates", "ca")).stdout.split("BEGIN CERTIFICATE")).toHaveLength(3);
      const m4 = life.cluster.member("m4");
      await life.cluster.start(m4);
      await life.cluster.join(m4, other);
      expect(certificatesIn(caOf(m4))).toHaveLength(2);
      await life.cluster.killMemberProcess(leader);
      await life.seen("another leads", ({ raft }) => raft.leader !== null && raft.leader !== leader.name);
      await certificates(life, other, "resume");
      await life.seen("the killed one is waited for", (each) =>
        warned(each).some((text) => text.includes(`${leader.name} (`)),
      );
      await life.cluster.start(leader);
      await untilReplaced(life, other, was);
      await life.untilWhole();
      for (const member of [leader, other, m4])
        await life.until(`${member.name} shows the new one's`, () => showsAllOf(member));
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });

    part("a join token from before is refused in plain words; a new one lets in", async (life) => {
      const m5 = life.cluster.member("m5");
      const m1 = life.cluster.member("m1");
      await life.cluster.start(m5);
      const late = await life.ask(m5, "join", `127.0.0.1:${m1.apiPort}`, "--token", early);
      expect(late.exitCode).not.toBe(0);
      expect(late.stderr).toContain("was replaced since the token was made");
      await life.cluster.join(m5, m1);
      await life.untilWhole();
      await life.until("m5 shows the present one's", () => showsAllOf(m5));
    });

    part("cancelled before anything is signed, the present one stays", async (life) => {
      const { leader, other } = await bystander(life);
      const was = (await authorityAt(other)).fingerprint;
      await certificates(life, leader, "rotate-authority", "--hold");
      await untilAllReady(life, other);
      await certificates(life, other, "cancel");
      expect(await authorityAt(other)).toMatchObject({ fingerprint: was, change: null });
      for (const member of life.cluster.members)
        await life.until(`${member.name} trusts that one alone`, () => showsAllOf(member));
      await life.untilWhole();
    });

    part(
      "cancelled once members have certificates of the new one, they go back the same way",
      async (life) => {
        const { other } = await bystander(life);
        const before = await life.now();
        let was = "";
        // It may be over before anybody can say so; then the next one is cancelled.
        await life.until("one is cancelled while members sign anew", async () => {
          was = (await authorityAt(other)).fingerprint;
          await certificates(life, other, "rotate-authority", "--no-wait");
          await life.until("it signs", async () => (await authorityAt(other)).fingerprint !== was);
          return (await life.ask(other, "certificates", "cancel")).exitCode === 0;
        });
        await life.until("it is over", async () => (await authorityAt(other)).change === null);
        expect((await authorityAt(other)).fingerprint).toBe(was);
        const operations = await other.api.get<OperationDocument[]>("/v1/operations");
        const last = operations.find(({ kind }) => kind === "authority-change");
        expect(last).toMatchObject({ status: "failed" });
        expect(last?.log.map(({ message }) => message).join()).toContain(
          "signed by the authority from before again",
        );
        for (const member of life.cluster.members) {
          await life.until(`${member.name} shows the one from before`, () => showsAllOf(member));
          expect(fingerprint(caOf(member))).toBe(was);
        }
        await life.untilWritesGoOn();
        const after = await life.now();
        expect(after.raft.term).toBe(before.raft.term);
        expect(after.failoverCount).toBe(before.failoverCount);
        await life.expectNothingLost();
      },
    );

    part("a member that was removed while it was away is told what to do", async (life) => {
      const m1 = life.cluster.member("m1");
      const { reign } = await life.now();
      const gone = life.cluster.member(reign?.primary === "m5" ? "m4" : "m5");
      const was = (await authorityAt(m1)).fingerprint;
      await life.cluster.killEverything(gone);
      await certificates(life, m1, "rotate-authority", "--no-wait");
      await life.seen("it is waited for", (each) =>
        warned(each).some((text) => text.includes(`${gone.name} (it is not heard)`)),
      );
      const removed = await life.ask(m1, "member", "remove", gone.name);
      expect({ code: removed.exitCode, said: removed.exitCode === 0 ? "" : removed.stderr }).toEqual({
        code: 0,
        said: "",
      });
      await untilReplaced(life, m1, was);
      await life.cluster.start(gone);
      await life.until("it says what to do", async () =>
        readFileSync(gone.logPath, "utf8").includes("join as a new member, with an empty data-dir"),
      );
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });
  },
);
