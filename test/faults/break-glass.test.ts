/** Break-glass access on hosts of their own: while the network is cut, and while wall clocks jump. It ends in its time. */

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { NewBreakGlassDocument } from "../../src/api/break-glass-documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { socketOf } from "../support/cluster-life.ts";
import { logIn, openSession, rolesOf, type Stage } from "../support/glass-sessions.ts";
import { NamespaceNetwork } from "../support/network-namespaces.ts";
import { guacamole } from "../support/tested-binary.ts";
import type { FaultCluster } from "./fault-cluster.ts";
import { bringUp, setClock } from "./setups.ts";

const MS_MAX = 170_000;
const WAIT_MS_MAX = 60_000;
const HOUR_S = 3_600;
const SOON = "12s";
const refusal = NamespaceNetwork.refusal();
const hasFakeTime = readdirSync("/usr/lib")
  .map(String)
  .some((each) => readdirIfAny(`/usr/lib/${each}/faketime`));

test.skipIf(refusal !== null)(
  "ends on a primary that is cut off from everybody, and on its successor, both in time",
  () =>
    onHosts("three", async (cluster, stage) => {
      const former = await cluster.primary();
      const key = await request(cluster, former, SOON);
      const session = await openSession(stage, former, key);
      for (const other of cluster.othersThan(former))
        cluster.network.cutBothWays(cluster.hostOf(former), cluster.hostOf(other));
      const successor = await successorOf(cluster, former);
      const there = await openSession(stage, successor, key);
      expect(await session.ended).toContain("terminating connection");
      expect(await there.ended).toContain("terminating connection");
      // The successor's member makes an end of the role; the one that is cut off asks nobody either.
      for (const member of [successor, former])
        await stage.until(
          `${member.name} lets nobody in`,
          async () => logIn(stage, member, key) !== "superuser",
        );
      await stage.until("no role is left", async () => (await rolesOf(stage, successor)) === "");
      cluster.network.mend();
      await cluster.untilWhole();
      await stage.until("nor on who was cut off", async () => (await rolesOf(stage, former)) === "");
    }),
  MS_MAX,
);

test.skipIf(refusal !== null || !hasFakeTime)(
  "is not lengthened by wall clocks that go back, and ended at once by those that go ahead",
  () =>
    onHosts("three, clocks of their own", async (cluster, stage) => {
      const primary = await cluster.primary();
      const [short, long] = [await request(cluster, primary, SOON), await request(cluster, primary, "30m")];
      const session = await openSession(stage, primary, short);
      const other = await openSession(stage, primary, long);
      for (const member of cluster.members) setClock(cluster, member, -HOUR_S);
      expect(await session.ended).toContain("terminating connection");
      await stage.until(
        "its role is gone",
        async () => !(await rolesOf(stage, primary)).includes(short.role),
      );
      expect(other.isOpen()).toBe(true);
      setClock(cluster, primary, HOUR_S);
      expect(await other.ended).toContain("terminating connection");
      await stage.until("no role is left", async () => (await rolesOf(stage, primary)) === "");
      for (const member of cluster.members) setClock(cluster, member, 0);
      await cluster.untilWhole();
      expect(logIn(stage, primary, long)).not.toBe("superuser");
    }),
  MS_MAX,
);

/** What is written meanwhile is looked at, too: none of it may be lost. */
async function onHosts(
  setup: Parameters<typeof bringUp>[0],
  body: (cluster: FaultCluster, stage: Stage) => Promise<void>,
): Promise<void> {
  const cluster = await bringUp(setup);
  const stage: Stage = {
    binDirectory: cluster.local.binDirectory,
    until: (what, condition) => cluster.until(what, WAIT_MS_MAX, condition),
    sql: (member, text) => cluster.sql(member, text),
  };
  try {
    await body(cluster, stage);
    expect(await cluster.findBroken()).toEqual([]);
  } catch (error) {
    process.stdout.write(`${await cluster.describe()}\n`);
    throw error;
  } finally {
    await cluster.remove();
  }
}

/** For whoever comes from where this process is, as the hosts see it. */
async function request(
  cluster: FaultCluster,
  through: LocalMember,
  duration: string,
): Promise<NewBreakGlassDocument> {
  const from = cluster.hostOf(through).address.replace(/\d+$/, "254");
  const asked = ["break-glass", "request", "--reason", "INC-1", "--from", from, "--for", duration];
  const run = await guacamole(...asked, "--output", "json", "--socket", socketOf(through));
  if (run.exitCode !== 0) throw new Error(run.stderr);
  return JSON.parse(run.stdout) as NewBreakGlassDocument;
}

async function successorOf(cluster: FaultCluster, former: LocalMember): Promise<LocalMember> {
  await cluster.until(`another member than ${former.name} takes writes`, WAIT_MS_MAX, async () => {
    const seen = await cluster.seen();
    return seen?.isWritable === true && seen.reign?.primary !== former.name;
  });
  return cluster.primary();
}

function readdirIfAny(directory: string): boolean {
  try {
    return readdirSync(directory).includes("libfaketime.so.1");
  } catch {
    return false;
  }
}
