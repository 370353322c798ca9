/**
 * WAL that the primary has no more: by default it keeps half a gigabyte of what its standbys have had, here nothing, so that a few
 * megabytes are enough.
 */

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";

/** Several segments. */
const FILL = "insert into filling select repeat('x', 1000) from generate_series(1, 40000)";

describeLife(
  "WAL that is gone from the primary",
  () => makeCluster(3),
  (part) => {
    part("is kept no longer than the parameters say", async (life) => {
      await life.bringUp();
      await life.startWriting();
      const primary = await life.primary();
      expect(await life.ask(primary, "config", "set", "wal_keep_size=0")).toMatchObject({ exitCode: 0 });
      for (const member of life.cluster.members)
        await life.until(`${member.name} keeps none`, async () => {
          return (await life.sql(member, "show wal_keep_size")) === "0";
        });
      await life.sql(primary, "create table filling (line text)");
    });

    part("before a fork is not needed: who forked off is rewound all the same", async (life) => {
      const former = await life.primary();
      await life.ledger.stop();
      const redo = await slowCheckpoint(life, former);
      for (const standby of await life.standbys()) await life.cluster.killEverything(standby);
      const answer = life.sql(former, "insert into filling values ('acknowledged by nobody')");
      await life.until("the row is flushed, and waits for a standby", async () => {
        const waiting =
          "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query like '%nobody%'";
        return (await life.sql(former, waiting)) === "1";
      });
      await life.cluster.killEverything(former);
      expect(await answer).toContain("server closed the connection unexpectedly");

      const others = life.cluster.members.filter((member) => member !== former);
      await Promise.all(others.map((member) => life.cluster.start(member)));
      const successor = await life.successorOf(former);
      await untilGone(life, successor, redo);
      await life.cluster.start(former);
      await life.untilWhole();
      expect(life.countEvents(former, "supervisor.rewind.started")).toBe(1);
      expect(life.countEvents(former, "supervisor.rewind.wal-put-back")).toBe(1);
      expect(life.countEvents(former, "supervisor.clone.started")).toBe(0);
      await life.expectNothingLost();
    });

    part("while a standby was away: it is built anew by itself", async (life) => {
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there is no standby");
      const clones = life.countEvents(standby, "supervisor.clone.started");
      const primary = await life.primary();
      const at = await life.sql(standby, "select pg_last_wal_replay_lsn()");
      await life.cluster.killEverything(standby);
      await life.sql(primary, FILL);
      await untilGone(life, primary, at);
      await life.cluster.start(standby);
      await life.until("it is built anew", async () => {
        return life.countEvents(standby, "supervisor.clone.started") === clones + 1;
      });
      await life.untilWhole();
      expect(readFileSync(standby.logPath, "utf8")).toContain("which the primary has no more");
      expect(await life.sql(standby, "select count(*) > 80000 from filling")).toBe("t");
      await life.expectNothingLost();
    });
  },
);

/**
 * Writes go on while the checkpoint is made: recovery from it begins segments before its record. (PostgreSQL's own pg_rewind keeps
 * what follows the record.) @returns where recovery begins.
 */
async function slowCheckpoint(life: ClusterLife, primary: LocalMember): Promise<string> {
  await life.until("a checkpoint takes long", async () => {
    await life.sql(primary, FILL);
    await Promise.all([life.sql(primary, FILL), life.sql(primary, "checkpoint")]);
    const isLong = "select checkpoint_lsn - redo_lsn > 3 * (4 << 20) from pg_control_checkpoint()";
    return (await life.sql(primary, isLong)) === "t";
  });
  return life.sql(primary, "select redo_lsn from pg_control_checkpoint()");
}

/** A checkpoint ends what nobody needs that it knows of; the first of a reign comes by itself. */
async function untilGone(life: ClusterLife, primary: LocalMember, lsn: string): Promise<void> {
  await life.until(`${primary.name} has given up the WAL at ${lsn}`, async () => {
    await life.sql(primary, "checkpoint");
    const gone = `select min(substr(name, 9)) > substr(pg_walfile_name('${lsn}'), 9) from pg_ls_waldir() where length(name) = 24`;
    return (await life.sql(primary, gone)) === "t";
  });
}
