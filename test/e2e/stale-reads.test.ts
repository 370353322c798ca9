/** A primary that can no longer know that it is one answers nothing, where its owner asked for that. */

import { expect } from "bun:test";
import postgres from "postgres";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { describeLife, LOGIN, makeCluster } from "../support/cluster-life.ts";

describeLife(
  "three members that refuse stale reads",
  () => makeCluster(3),
  (part) => {
    part("read and write as ever, and survive their leader", async (life) => {
      await life.bringUp("orders");
      await life.startWriting();
      const primary = await life.primary();
      await primary.api.patch("/v1/topology", {
        durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block", staleReads: "refuse" },
      });
      await life.untilWritesGoOn();
      const { raft } = await life.seen("a standby leads", (seen) => seen.raft.leader !== primary.name);
      await life.cluster.killMemberProcess(life.cluster.member(raft.leader ?? ""));
      await life.seen("another leads", (seen) => seen.raft.leader !== raft.leader && seen.isWritable);
      await life.untilWritesGoOn();
      expect(await life.now()).toMatchObject({ failoverCount: 0 });
      await life.cluster.start(life.cluster.member(raft.leader ?? ""));
      await life.untilWhole();
    });

    part("let nobody read from a primary that hears of no majority any more", async (life) => {
      const primary = await life.primary();
      const others = await life.standbys();
      expect(await canRead(primary)).toBe(true);
      for (const other of others) await life.cluster.killMemberProcess(other);
      await life.until("the primary has ended", async () => !(await canRead(primary)));
      for (const other of others) await life.cluster.start(other);
      await life.untilWritesGoOn();
      await life.untilWhole();
      await life.expectNothingLost();
    });

    part("fail over once the old primary has ended", async (life) => {
      const primary = await life.primary();
      await life.cluster.killEverything(primary);
      const after = await life.seen(
        "another reigns",
        (seen) => seen.isWritable && seen.reign?.primary !== primary.name,
      );
      expect(after.failoverCount).toBeGreaterThan(0);
      await life.untilWritesGoOn();
      await life.cluster.start(primary);
      await life.untilWhole();
      await life.expectNothingLost();
    });
  },
);

async function canRead(member: LocalMember): Promise<boolean> {
  const sql = postgres({
    host: "127.0.0.1",
    port: member.postgresPort,
    ...LOGIN,
    max: 1,
    connect_timeout: 1,
  });
  try {
    await sql.unsafe("SELECT 1 FROM ledger LIMIT 1");
    return true;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 }).catch(() => {
      // The server ended in the middle of the goodbye.
    });
  }
}
