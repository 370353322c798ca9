/**
 * Certificates that end soon, have ended, or are the owner's own, on a whole cluster. Nobody's clock is set: the members get
 * certificates of another time.
 */
import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { readCertificate, selfSigned } from "../../src/peer/certificates.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";
import { replaceCertificate } from "../support/short-certificate.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Due after well over half a minute: time enough to start three members again. */
const SHORT = { before: MINUTE, after: 90_000 };

const directoryOf = (member: LocalMember) => join(member.directory, "member");
const certificateOf = (member: LocalMember) =>
  readFileSync(join(directoryOf(member), "tls", "member.crt"), "utf8");
const endOf = (member: LocalMember) => readCertificate(certificateOf(member)).notAfterMs;
const endsIn = (pem: string) => readCertificate(pem).notAfterMs;

/** When the certificate ends that somebody shows on a port, as anybody who connects sees it. */
async function shownEnd(port: number, ...more: readonly string[]): Promise<number | null> {
  const run = Bun.spawn(["openssl", "s_client", "-connect", `127.0.0.1:${port}`, ...more], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const pem = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(await run.stdout.text());
  await run.exited;
  return pem === null ? null : endsIn(pem[0]);
}

/** Of the peer transport, the API and PostgreSQL. */
function shownEnds(member: LocalMember): Promise<readonly (number | null)[]> {
  return Promise.all([
    shownEnd(member.peerPort),
    shownEnd(member.apiPort),
    shownEnd(member.postgresPort, "-starttls", "postgres"),
  ]);
}

function replaced(member: LocalMember, fromMs: number, untilMs: number): Promise<string> {
  return replaceCertificate(directoryOf(member), { fromMs, untilMs });
}

function renewals(member: LocalMember): readonly string[] {
  const lines = readFileSync(member.logPath, "utf8").split("\n");
  return lines
    .filter((line) => line.includes('"certificate.renewed"'))
    .map((line) => (JSON.parse(line) as { readonly reason: string }).reason);
}

/** Which processes stream, and to whom: others after any break. */
function streams(life: ClusterLife, primary: LocalMember): Promise<string> {
  return life.sql(
    primary,
    "SELECT string_agg(application_name || ' ' || pid, ',' ORDER BY pid) FROM pg_stat_replication",
  );
}

describeLife(
  "three members whose certificates end",
  () => makeCluster(3),
  (part) => {
    part("renew them by themselves under writers; nothing ends for it", async (life) => {
      await life.bringUp("orders");
      await life.startWriting();
      await Promise.all(
        life.cluster.members.map(async (member) => {
          await life.cluster.killMemberProcess(member);
          const short = await replaced(member, Date.now() - SHORT.before, Date.now() + SHORT.after);
          await life.cluster.start(member);
          await life.until(`${member.name} shows the short one`, async () =>
            (await shownEnds(member)).every((end) => end === endsIn(short)),
          );
        }),
      );
      await life.untilWhole();
      const before = await life.now();
      const primary = await life.primary();
      const [streaming, postmaster] = [await streams(life, primary), life.cluster.postmasterPid(primary)];
      const pids = life.cluster.members.map((member) => member.process?.pid);
      expect(life.cluster.members.flatMap(renewals)).toEqual([]);
      await life.until("each is renewed", async () =>
        life.cluster.members.every((member) => endOf(member) > Date.now() + 300 * DAY),
      );
      for (const member of life.cluster.members) {
        await life.until(`${member.name} shows it`, async () =>
          (await shownEnds(member)).every((end) => end === endOf(member)),
        );
        expect(renewals(member)).toEqual(["ends-soon"]);
      }
      await life.untilWritesGoOn();
      expect(await life.now()).toMatchObject({ failoverCount: 0, reign: { epoch: before.reign?.epoch } });
      expect(await streams(life, primary)).toBe(streaming);
      expect(life.cluster.postmasterPid(primary)).toBe(postmaster);
      expect(life.cluster.members.map((member) => member.process?.pid)).toEqual(pids);
      await life.expectNothingLost();
    });

    part("log in to each other with the new ones", async (life) => {
      const primary = await life.primary();
      const before = await streams(life, primary);
      await life.sql(primary, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
      await life.until("other streams stand", async () => {
        const now = await streams(life, primary);
        return now !== before && now.split(",").length === 2;
      });
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there are three members");
      await life.cluster.killMemberProcess(standby);
      await life.cluster.start(standby);
      await life.untilWhole();
    });

    part("come back where one was away until its certificate had ended", async (life) => {
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there are three members");
      await life.cluster.killEverything(standby);
      await replaced(standby, Date.now() - 400 * DAY, Date.now() - 35 * DAY);
      await life.cluster.start(standby);
      await life.untilWhole();
      expect(renewals(standby).at(-1)).toBe("expired");
      await life.untilWritesGoOn();
    });

    part("come back where all were away for longer than a year", async (life) => {
      for (const member of life.cluster.members) await life.cluster.killEverything(member);
      for (const member of life.cluster.members)
        await replaced(member, Date.now() - 800 * DAY, Date.now() - 435 * DAY);
      await Promise.all(life.cluster.members.map((member) => life.cluster.start(member)));
      await life.untilWhole();
      for (const member of life.cluster.members) expect(renewals(member).at(-1)).toBe("expired");
      await life.untilWritesGoOn();
      await life.expectNothingLost();
      const [first] = life.cluster.members;
      if (first === undefined) throw new Error("there are three members");
      const list = await life.ask(first, "member", "list");
      expect(list.stdout).toContain(new Date(endOf(first)).toISOString().slice(0, 10));
    });

    part("show their owner's own on the API, and another once its files change", async (life) => {
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there are three members");
      const files = { crt: join(standby.directory, "own.crt"), key: join(standby.directory, "own.key") };
      const put = async (ageDays: number): Promise<number> => {
        const own = await selfSigned("db.example.com", ["127.0.0.1"], Date.now() - ageDays * DAY);
        writeFileSync(files.crt, own.certificatePem);
        writeFileSync(files.key, own.privateKeyPem);
        return endsIn(own.certificatePem);
      };
      const first = await put(10);
      const config = readFileSync(standby.configPath, "utf8");
      const keys = `[api]\ncertificate-file = "${files.crt}"\nkey-file = "${files.key}"\n`;
      writeFileSync(standby.configPath, config.replace("[api]\n", keys));
      await life.cluster.killMemberProcess(standby);
      await life.cluster.start(standby);
      await life.untilWhole();
      const { pid } = standby.process ?? {};
      await life.until("the API shows it", async () => (await shownEnd(standby.apiPort)) === first);
      expect(await shownEnd(standby.peerPort)).toBe(endOf(standby));
      expect(await shownEnd(standby.postgresPort, "-starttls", "postgres")).toBe(endOf(standby));
      const name = ["-servername", "member.guacamole.internal"];
      expect(await shownEnd(standby.apiPort, ...name)).toBe(endOf(standby));

      writeFileSync(files.key, "half of a ke");
      await life.seen("that is said", ({ warnings }) =>
        warnings.some(({ code, text }) => code === "certificate" && text.includes("own.key")),
      );
      expect(await shownEnd(standby.apiPort)).toBe(first);

      const second = await put(5);
      await life.until("the API shows the other", async () => (await shownEnd(standby.apiPort)) === second);
      await life.seen("all is well", ({ warnings }) => warnings.every(({ code }) => code !== "certificate"));
      const endpoint = ["--endpoint", `127.0.0.1:${standby.apiPort}`, "--ca", files.crt];
      const asked = await life.ask(standby, "status", ...endpoint, "--token", life.token);
      expect({ code: asked.exitCode, errors: asked.stderr }).toEqual({ code: 0, errors: "" });
      expect(standby.process?.pid).toBe(pid);
      await life.expectNothingLost();
    });
  },
);
