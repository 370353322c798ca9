/** HAProxy before the members, as the README has it: clients know one address for writes and one for reads. */

import { afterAll, expect } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import type { LocalCluster } from "../../src/demo/local-cluster.ts";
import { addApiPort, type ClusterLife, describeLife, LOGIN, makeCluster } from "../support/cluster-life.ts";
import { remember, removed } from "../support/left-behind.ts";
import { nextPort } from "../support/ports-in-turn.ts";
import { readmeBlocks } from "../support/readme.ts";
import { bareEnvironment } from "../support/tested-binary.ts";

const HAPROXY = ["/usr/sbin/haproxy", Bun.which("haproxy") ?? ""].find((path) => existsSync(path));
const WRITE_PORT = nextPort(10_000, 30_000);
const READ_PORT = nextPort(10_000, 30_000);
const OLD_WRITE_PORT = nextPort(10_000, 30_000);

/** Each with a port for health checks without TLS, too. */
let healthPorts: ReadonlyMap<string, number>;
function withHealthPorts(): LocalCluster {
  const cluster = makeCluster(3);
  healthPorts = addApiPort(cluster, "health-listen");
  return cluster;
}

/** As it was written for Patroni. */
function oldSection({ cluster }: ClusterLife): string {
  const servers = cluster.members.map(
    ({ name, postgresPort }) =>
      `    server ${name} 127.0.0.1:${postgresPort} maxconn 100 check no-check-ssl port ${healthPorts.get(name)}`,
  );
  return `
listen postgres
    bind 127.0.0.1:${OLD_WRITE_PORT}
    option httpchk
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
${servers.join("\n")}
`;
}

/** The README's file, with the ports of this machine's members. */
function configuration({ cluster }: ClusterLife, caFile: string): string {
  const [text = ""] = readmeBlocks("haproxy");
  const placed = text
    .replaceAll(/server (m\d) \S+/g, (_, name: string) => {
      const { apiPort, postgresPort } = cluster.member(name);
      return `server ${name} 127.0.0.1:${postgresPort} port ${apiPort}`;
    })
    .replace(" port 8008 ", " ")
    .replace(/ca-file \S+/, `ca-file ${caFile}`);
  expect(placed).toContain(`ca-file ${caFile}`);
  return placed.replace(":5000", `127.0.0.1:${WRITE_PORT}`).replace(":5001", `127.0.0.1:${READ_PORT}`);
}

let haproxy: Bun.Subprocess | null = null;
const balancer = { remove: () => haproxy?.kill("SIGKILL") };
remember(balancer);
afterAll(() => {
  balancer.remove();
  removed(balancer);
});

async function standbyAnswers(port: number): Promise<boolean | null> {
  const sql = postgres({
    host: "127.0.0.1",
    port,
    ...LOGIN,
    max: 1,
    connect_timeout: 5,
    onnotice: () => undefined,
  });
  try {
    const [row] = await sql<{ standby: boolean }[]>`select pg_is_in_recovery() as standby`;
    return row?.standby ?? null;
  } catch {
    // Nobody there for now, or the session was ended: the caller asks again.
    return null;
  } finally {
    await sql.end({ timeout: 0 });
  }
}

describeLife(
  "three members behind HAProxy",
  withHealthPorts,
  (part) => {
    part("take writes at one address and reads at the other", async (life) => {
      if (HAPROXY === undefined) throw new Error("HAProxy is not installed");
      await life.bringUp();
      const [first] = life.cluster.members;
      if (first === undefined) throw new Error("a cluster has members");
      const ca = await life.ask(first, "certificates", "ca");
      const [caFile, file] = ["ca.crt", "haproxy.cfg"].map((name) => join(life.cluster.root, name)) as [
        string,
        string,
      ];
      writeFileSync(caFile, ca.stdout);
      writeFileSync(file, configuration(life, caFile) + oldSection(life));
      haproxy = Bun.spawn([HAPROXY, "-db", "-f", file], {
        env: bareEnvironment(),
        stdout: Bun.file(join(life.cluster.root, "haproxy.log")),
        stderr: Bun.file(join(life.cluster.root, "haproxy.log")),
      });
      await life.startWriting({ name: "haproxy", host: "127.0.0.1", port: WRITE_PORT });
      await life.until("a standby reads", async () => (await standbyAnswers(READ_PORT)) === true);
      await life.until("the primary writes", async () => (await standbyAnswers(WRITE_PORT)) === false);
      await life.until(
        "the primary writes, the old way",
        async () => (await standbyAnswers(OLD_WRITE_PORT)) === false,
      );
    });

    part("go on at the same address when the primary crashes", async (life) => {
      const primary = await life.primary();
      life.cluster.killPostmaster(primary);
      await life.successorOf(primary);
      await life.untilWritesGoOn();
      await life.untilWhole();
      await life.expectNothingLost();
    });

    part("go on when the primary's host stands still, whose sessions HAProxy ends", async (life) => {
      const primary = await life.primary();
      life.cluster.freezeEverything(primary);
      try {
        await life.until("another takes writes", async () => {
          const others = life.cluster.members.filter((member) => member !== primary);
          const seen = await Promise.all(others.map((member) => life.cluster.cluster(member)));
          return seen.some((each) => each?.isWritable === true && each.reign?.primary !== primary.name);
        });
        await life.untilWritesGoOn();
        await life.until("a standby reads", async () => (await standbyAnswers(READ_PORT)) === true);
      } finally {
        life.cluster.thawEverything(primary);
      }
      await life.untilWhole();
      await life.expectNothingLost();
    });

    part("go on at the same address through a planned switchover", async (life) => {
      const primary = await life.primary();
      const [to] = await life.standbys();
      if (to === undefined) throw new Error("there is no standby");
      expect(await life.ask(primary, "switchover", "--to", to.name)).toMatchObject({ exitCode: 0 });
      await life.untilWritesGoOn();
      await life.untilWhole();
      await life.until("the primary writes", async () => (await standbyAnswers(WRITE_PORT)) === false);
      await life.expectNothingLost();
    });
  },
  HAPROXY === undefined ? "HAProxy is not installed" : null,
);
