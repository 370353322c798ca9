/** Several clusters are brought up on one machine at the same time, and none learns of the others. */

import { afterAll, expect, test } from "bun:test";
import { ClusterLife, makeCluster } from "../support/cluster-life.ts";

const lives: ClusterLife[] = [];

afterAll(async () => {
  for (const life of lives) await life.remove();
}, 120_000);

test("three clusters that are brought up at once do not disturb each other", async () => {
  for (const size of [3, 3, 1]) lives.push(new ClusterLife(makeCluster(size)));
  await Promise.all(lives.map((life, index) => life.bringUp(`cluster-${index}`)));

  const seen = await Promise.all(lives.map((life) => life.now()));
  expect(
    seen.map(({ name, members }) => `${name}: ${members.map((member) => member.name).join(" ")}`),
  ).toEqual(["cluster-0: m1 m2 m3", "cluster-1: m1 m2 m3", "cluster-2: m1"]);
  expect(new Set(seen.map(({ clusterId }) => clusterId)).size).toBe(3);
  expect(new Set(seen.map(({ systemIdentifier }) => systemIdentifier)).size).toBe(3);
  const tokens = lives.map(({ token }) => token);
  expect(new Set(tokens).size).toBe(3);
});

test("a failover in one of them is none in the others, nor is its end", async () => {
  const [first, ...others] = lives;
  if (first === undefined) throw new Error("no cluster was made");
  const pids = () =>
    others.flatMap(({ cluster }) => cluster.members.map((member) => cluster.postmasterPid(member)));
  const before = pids();
  expect(before).not.toContain(null);

  const primary = await first.primary();
  first.cluster.killPostmaster(primary);
  await first.successorOf(primary);
  await first.untilWhole();
  await first.remove();

  expect(pids()).toEqual(before);
  for (const life of others) {
    const seen = await life.now();
    expect(seen).toMatchObject({ isWritable: true, failoverCount: 0, reign: { epoch: 1, primary: "m1" } });
    expect(await life.cluster.isWhole()).toBe(true);
  }
});
