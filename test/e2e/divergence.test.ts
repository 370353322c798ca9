/**
 * An old primary that really forked off: it flushed a row that no standby ever received, and that nobody was told is safe.
 * Meanwhile the others go on without it. When it comes back, its history is not the cluster's any more.
 */

import { expect } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { describeLife, makeCluster, stateDirectoryOf } from "../support/cluster-life.ts";

const IN_DOUBT = "flushed-here-and-acknowledged-by-nobody";

describeLife(
  "an old primary that forked off",
  () => makeCluster(3),
  (part) => {
    let former: LocalMember | null = null;
    const theFormer = (): LocalMember => {
      if (former === null) throw new Error("there is no former primary");
      return former;
    };

    part("stays primary when it loses everybody, and acknowledges nothing", async (life) => {
      await life.bringUp();
      await life.startWriting();
      former = await life.primary();
      const primary = theFormer();
      await life.sql(primary, "create table doubt (word text)");
      await life.ledger.stop();
      for (const standby of await life.standbys()) await life.cluster.killEverything(standby);
      const postmaster = life.cluster.postmasterPid(primary);

      // It comes back only when the server is killed, with an error.
      const answer = life.sql(primary, `insert into doubt values ('${IN_DOUBT}')`);
      await life.until("the row is flushed, and waits for a standby", async () => {
        const waiting = await life.sql(
          primary,
          "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query like '%doubt%'",
        );
        return waiting === "1";
      });
      await life.until("it knows that nobody leads", async () => {
        const seen = await life.cluster.cluster(primary);
        return seen !== null && seen.raft.leader === null;
      });
      expect(life.cluster.postmasterPid(primary)).toBe(postmaster);
      expect(await life.sql(primary, "select pg_is_in_recovery()")).toBe("f");
      await life.until("it says that commits wait", async () => {
        const seen = await life.cluster.cluster(primary);
        return seen !== null && !seen.isWritable;
      });

      await life.cluster.killEverything(primary);
      expect(await answer).toContain("server closed the connection unexpectedly");
    });

    part(
      "is replaced by one of the others as soon as they are back, with every acknowledged row",
      async (life) => {
        const primary = theFormer();
        const others = life.cluster.members.filter((member) => member !== primary);
        await Promise.all(others.map((member) => life.cluster.start(member)));
        const successor = await life.successorOf(primary);
        expect(await life.sql(successor, "select count(*) from doubt")).toBe("0");
        await life.sql(successor, "insert into doubt values ('the present history')");
        await life.expectNothingLost();
      },
    );

    part("is rewound when it comes back, and what it had alone is kept aside", async (life) => {
      const primary = theFormer();
      await life.cluster.start(primary);
      await life.untilWhole();
      expect(life.countEvents(primary, "supervisor.rewind.started")).toBe(1);
      expect(await life.sql(primary, "select word from doubt")).toBe("the present history");

      const forked = join(stateDirectoryOf(primary), "forked");
      const [fork = "", ...more] = readdirSync(forked);
      expect(more).toEqual([]);
      const segments = readdirSync(join(forked, fork)).map((name) => readFileSync(join(forked, fork, name)));
      expect(segments.some((segment) => segment.includes(IN_DOUBT))).toBe(true);
      await life.expectNothingLost();
    });
  },
);
