/**
 * Scenarios that Patroni is accepted with, played here under their names ("feature: scenario"). Where its store says
 * something there, the API does here. `roadmap/tables/patroni-scenarios.md` has all of them.
 */

import { expect } from "bun:test";
import type { OperationDocument } from "../../src/api/documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster, socketOf } from "../support/cluster-life.ts";

describeLife(
  "as Patroni is accepted",
  () => makeCluster(3),
  (part) => {
    part("basic replication: check replication of a single table", async (life) => {
      await life.bringUp();
      const primary = await life.primary();
      await life.sql(primary, "create table mytest (id int); insert into mytest values (1), (2)");
      for (const standby of await life.standbys()) {
        await life.until(`${standby.name} has both rows`, async () => {
          return (await life.sql(standby, "select count(*) from mytest")) === "2";
        });
        expect(await life.sql(standby, "insert into mytest values (3)")).toContain("read-only");
      }
      await life.startWriting();
    });

    part("basic replication: check restart of sync replica", async (life) => {
      const [first, second] = await standbysOf(life);
      for (const standby of [first, second])
        await untilCodes(life, standby, { "/quorum": 200, "/async": 503 });
      await life.cluster.killEverything(first);
      // Of a quorum of one among one, every commit waits for it.
      await untilCodes(life, second, { "/sync": 200, "/quorum": 503 });
      await life.untilWritesGoOn();
      await life.cluster.start(first);
      await life.untilWhole();
      for (const standby of [first, second])
        await untilCodes(life, standby, { "/quorum": 200, "/sync": 503 });
    });

    part("basic replication: check multi sync replication", async (life) => {
      const standbys = await standbysOf(life);
      await changeDurability(life, { mode: "quorum", synchronousStandbys: 2, onQuorumLoss: "block" });
      for (const standby of standbys) await untilCodes(life, standby, { "/sync": 200, "/quorum": 503 });
      expect(await ruleOf(life)).toStartWith("ANY 2 (");
      await changeDurability(life, { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" });
      for (const standby of standbys) await untilCodes(life, standby, { "/sync": 503, "/quorum": 200 });
      expect(await ruleOf(life)).toStartWith("ANY 1 (");
      await life.untilWritesGoOn();
    });

    part("quorum commit: nosync node is removed from voters and synchronous_standby_names", async (life) => {
      const [first, second] = await standbysOf(life);
      await first.api.patch(`/v1/members/${first.name}`, { isNoSync: true });
      await untilCodes(life, first, { "/async": 200, "/quorum": 503 });
      await untilCodes(life, second, { "/sync": 200 });
      await life.untilWritesGoOn();
      await first.api.patch(`/v1/members/${first.name}`, { isNoSync: false });
      await untilCodes(life, first, { "/async": 503, "/quorum": 200 });
    });

    part("quorum commit: switch from quorum replication to good old multisync and back", async (life) => {
      // Our other way to keep commits is `async`: the rule goes, and comes back with everybody in it.
      await changeDurability(life, { mode: "async", maxLagBytes: 16_777_216 });
      await life.until("no commit waits for a standby", async () => (await ruleOf(life)) === "");
      for (const standby of await standbysOf(life)) await untilCodes(life, standby, { "/async": 200 });
      await life.untilWritesGoOn();
      await changeDurability(life, { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" });
      for (const standby of await standbysOf(life)) await untilCodes(life, standby, { "/quorum": 200 });
      expect(await ruleOf(life)).toStartWith("ANY 1 (");
    });

    part("priority replication: check failover priority 0 prevents leaderships", async (life) => {
      const primary = await life.primary();
      const [barred, other] = await standbysOf(life);
      await barred.api.patch(`/v1/members/${barred.name}`, { isNoFailover: true });
      await life.seen(`${barred.name} is never promoted`, ({ members }) =>
        members.some(({ name, tags }) => name === barred.name && tags.isNoFailover),
      );
      const refused = await life.ask(barred, "switchover", "--to", barred.name);
      expect(refused.exitCode).not.toBe(0);
      expect(refused.stderr).toContain("no-failover");
      await primary.api.post<OperationDocument>("/v1/switchover", {});
      expect((await life.successorOf(primary)).name).toBe(other.name);
      await life.untilWhole();
      await barred.api.patch(`/v1/members/${barred.name}`, { isNoFailover: false });
    });

    part("priority replication: check higher failover priority is respected", async (life) => {
      const primary = await life.primary();
      const [, preferred] = await standbysOf(life);
      await preferred.api.patch(`/v1/members/${preferred.name}`, { failoverPriority: 10 });
      await life.seen(`${preferred.name} is preferred`, ({ members }) =>
        members.some(({ name, tags }) => name === preferred.name && tags.failoverPriority === 10),
      );
      await primary.api.post<OperationDocument>("/v1/switchover", {});
      expect((await life.successorOf(primary)).name).toBe(preferred.name);
      await life.untilWhole();
    });

    part("patroni api: check the scheduled switchover", async (life) => {
      const primary = await life.primary();
      const [target, other] = await standbysOf(life);
      const inSeconds = (seconds: number) => new Date(Date.now() + 1_000 * seconds).toISOString();
      const schedule = (seconds: number) =>
        life.ask(other, "switchover", "--to", target.name, "--at", inSeconds(seconds));
      await other.api.post("/v1/pause", { reason: "as Patroni is accepted" });
      const refused = await schedule(3_600);
      expect([refused.exitCode, refused.stderr]).toEqual([3, expect.stringContaining("is paused")]);
      await other.api.delete("/v1/pause");
      // One that is taken back is as if it had never been.
      expect((await schedule(3_600)).exitCode).toBe(0);
      expect((await life.ask(primary, "status")).stdout).toContain(`to ${target.name} is scheduled for`);
      expect((await life.ask(target, "switchover", "--cancel")).exitCode).toBe(0);
      await other.api.post("/v1/switchover", { to: target.name, at: inSeconds(4) });
      const { switchoverCount } = await life.now();
      expect((await life.successorOf(primary)).name).toBe(target.name);
      await life.untilWhole();
      expect(await life.now()).toMatchObject({
        switchoverCount: switchoverCount + 1,
        scheduledSwitchover: null,
      });
      for (const member of life.cluster.members) {
        const isPrimary = member === target;
        await untilCodes(life, member, {
          "/primary": isPrimary ? 200 : 503,
          "/replica": isPrimary ? 503 : 200,
        });
      }
      const operations = await other.api.get<OperationDocument[]>("/v1/operations");
      expect(
        operations.filter(({ kind, by }) => kind === "switchover" && by !== "leader").at(0),
      ).toMatchObject({
        member: target.name,
        status: "succeeded",
      });
      await life.untilWritesGoOn();
    });

    part("patroni api: check the switchover via the API in the pause mode", async (life) => {
      const primary = await life.primary();
      const [target] = await standbysOf(life);
      await primary.api.post("/v1/pause", { reason: "as Patroni is accepted" });
      await primary.api.post<OperationDocument>("/v1/switchover", { to: target.name });
      expect((await life.successorOf(primary)).name).toBe(target.name);
      await life.untilWhole();
      for (const member of life.cluster.members) {
        const isPrimary = member === target;
        await untilCodes(life, member, {
          "/primary": isPrimary ? 200 : 503,
          "/replica": isPrimary ? 503 : 200,
        });
      }
      await target.api.delete("/v1/pause");
      await life.expectNothingLost();
    });
  },
);

async function standbysOf(life: ClusterLife): Promise<readonly [LocalMember, LocalMember]> {
  const [first, second] = await life.standbys();
  if (first === undefined || second === undefined) throw new Error("two follow");
  return [first, second];
}

/** Waits until each path answers with its code. */
function untilCodes(
  life: ClusterLife,
  member: LocalMember,
  codes: Readonly<Record<string, number>>,
): Promise<void> {
  return life.until(`${member.name} answers ${JSON.stringify(codes)}`, async () => {
    const answers = await Promise.all(Object.keys(codes).map((path) => codeOf(member, path)));
    return Object.values(codes).every((code, index) => answers[index] === code);
  });
}

async function codeOf(member: LocalMember, path: string): Promise<number> {
  return (await fetch(`http://localhost${path}`, { unix: socketOf(member) })).status;
}

async function changeDurability(life: ClusterLife, durability: object): Promise<void> {
  await (await life.primary()).api.patch("/v1/topology", { durability });
}

async function ruleOf(life: ClusterLife): Promise<string> {
  return life.sql(await life.primary(), "show synchronous_standby_names");
}
