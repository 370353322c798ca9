/** The two stories that everything else is for, on every PostgreSQL that is here. */

import { expect } from "bun:test";
import { describeLife, makeCluster } from "../support/cluster-life.ts";
import { postgresMajors } from "../support/postgres-majors.ts";

for (const installation of postgresMajors()) {
  describeLife(
    `three members with PostgreSQL ${installation.major}`,
    () => makeCluster(3, installation),
    (part) => {
      part("are brought up from nothing: formed, joined, initialised, and all stream", async (life) => {
        await life.form();
        const before = await life.now();
        expect(before.isInitialized).toBe(false);
        expect(before.members.map(({ name, state }) => `${name} ${state}`)).toHaveLength(3);
        expect(life.cluster.members.map((member) => life.cluster.postmasterPid(member))).toEqual([
          null,
          null,
          null,
        ]);

        await life.cluster.initialize();
        await life.untilWhole();
        const seen = await life.now();
        expect(seen.raft.voters).toEqual(["m1", "m2", "m3"]);
        expect(seen.reign).toMatchObject({ primary: "m1", epoch: 1 });
        expect(seen.members.map(({ role }) => role)).toEqual(["primary", "standby", "standby"]);
        expect(new Set(seen.members.map(({ timeline }) => timeline)).size).toBe(1);
        await life.startWriting();
      });

      part(
        "lose nothing when the primary's postmaster crashes: another takes over, the old one rejoins",
        async (life) => {
          const primary = await life.primary();
          const postmaster = life.cluster.postmasterPid(primary);
          life.cluster.killPostmaster(primary);
          const successor = await life.successorOf(primary);
          expect(successor).not.toBe(primary);
          await life.untilWritesGoOn();
          await life.untilWhole();
          const seen = await life.now();
          expect(seen).toMatchObject({ failoverCount: 1, switchoverCount: 0, reign: { epoch: 2 } });
          expect(seen.members.find(({ name }) => name === primary.name)).toMatchObject({
            role: "standby",
            state: "streaming",
          });
          expect(life.cluster.postmasterPid(primary)).not.toBe(postmaster);
          await life.expectNothingLost();
        },
      );

      part(
        "lose nothing when a whole member dies: another takes over, and it is back after a restart",
        async (life) => {
          const primary = await life.primary();
          await life.cluster.killEverything(primary);
          await life.successorOf(primary);
          await life.untilWritesGoOn();
          await life.cluster.start(primary);
          await life.untilWhole();
          const seen = await life.now();
          expect(seen).toMatchObject({ failoverCount: 2, reign: { epoch: 3 } });
          expect(seen.members.find(({ name }) => name === primary.name)).toMatchObject({
            role: "standby",
            state: "streaming",
          });
          await life.expectNothingLost();
        },
      );
    },
  );
}
