/** What an operator and a bad week do to a cluster that writes all the time. In the end not one acknowledged row is missing. */

import { expect } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster, stateDirectoryOf } from "../support/cluster-life.ts";

describeLife(
  "a cluster under load",
  () => makeCluster(3),
  (part) => {
    part("goes on writing when the leader that is not the primary dies, and elects another", async (life) => {
      await life.bringUp();
      await life.startWriting();
      const primary = await life.primary();
      const { raft, reign } = await life.seen(
        "the leader has moved off the primary's host",
        (seen) => seen.raft.leader !== primary.name,
      );
      const leader = life.cluster.member(raft.leader ?? "");
      const postmasters = pidsOf(life);

      await life.cluster.killMemberProcess(leader);
      const after = await life.seen("there is another leader", (seen) => seen.raft.leader !== leader.name);
      await life.untilWritesGoOn();
      expect(after.raft.term).toBeGreaterThan(raft.term);
      expect(after).toMatchObject({
        failoverCount: 0,
        reign: { epoch: reign?.epoch, primary: primary.name },
      });
      expect(pidsOf(life)).toEqual(postmasters);

      await life.cluster.start(leader);
      await life.untilWhole();
      expect(pidsOf(life)).toEqual(postmasters);
      expect((await life.now()).reign?.epoch).toBe(reign?.epoch ?? -1);
    });

    part(
      "does not notice that the primary's member process is restarted: PostgreSQL is untouched",
      async (life) => {
        const primary = await life.primary();
        const [observer] = await life.standbys();
        const before = await life.now();
        const postmasters = pidsOf(life);
        const supervisor = life.cluster.supervisorPid(primary);

        await life.cluster.killMemberProcess(primary);
        // Long enough that its silence alone would have been a reason to act.
        await life.until("its silence is noticed", async () => {
          const seen = observer === undefined ? null : await life.cluster.cluster(observer);
          const silentMs = seen?.members.find(({ name }) => name === primary.name)?.seenAgoMs ?? 0;
          return silentMs > 2_000;
        });
        await life.untilWritesGoOn();
        await life.cluster.start(primary);
        await life.untilWhole();

        expect(pidsOf(life)).toEqual(postmasters);
        expect(life.cluster.supervisorPid(primary)).toBe(supervisor);
        const after = await life.now();
        expect(after.reign).toMatchObject({ epoch: before.reign?.epoch, primary: primary.name });
        expect(after.failoverCount).toBe(0);
      },
    );

    part("starts a killed supervisor again, which finds the very same postmaster", async (life) => {
      const primary = await life.primary();
      const postmasters = pidsOf(life);
      const supervisor = life.cluster.supervisorPid(primary);
      expect(supervisor).not.toBeNull();
      if (supervisor !== null) process.kill(supervisor, "SIGKILL");
      await life.until("another supervisor is there", async () => {
        const found = life.cluster.supervisorPid(primary);
        return found !== null && found !== supervisor;
      });
      await life.untilWritesGoOn();
      await life.untilWhole();
      expect(pidsOf(life)).toEqual(postmasters);
      expect(await life.now()).toMatchObject({ failoverCount: 0, reign: { primary: primary.name } });

      // It looks after it as the first one did: a crash is seen, and another takes over.
      life.cluster.killPostmaster(primary);
      await life.successorOf(primary);
      await life.untilWhole();
      await life.expectNothingLost();
    });

    part(
      "changes its primary on demand: the old one follows without a rewind, and nothing is lost",
      async (life) => {
        const primary = await life.primary();
        const [target] = await life.standbys();
        if (target === undefined) throw new Error("there is no standby");
        const before = await life.seen("every standby is in the cohort", ({ members }) =>
          members.every(({ name, isInCohort }) => isInCohort || name === primary.name),
        );
        const rewinds = rewindsOf(life, primary);

        const switched = await life.ask(primary, "switchover", "--to", target.name);
        expect(switched).toMatchObject({
          exitCode: 0,
          stdout: `The switchover of ${target.name} succeeded.\n`,
        });
        await life.untilWhole();
        const after = await life.now();
        expect(after.reign).toMatchObject({
          primary: target.name,
          epoch: (before.reign?.epoch ?? 0) + 1,
          reason: "switchover",
        });
        expect(after).toMatchObject({
          failoverCount: before.failoverCount,
          switchoverCount: before.switchoverCount + 1,
        });
        expect(rewindsOf(life, primary)).toBe(rewinds);
        await life.untilWritesGoOn();
        await life.expectNothingLost();
      },
    );

    part("refuses a switchover to the primary itself and to nobody, and says what to do", async (life) => {
      const primary = await life.primary();
      const itself = await life.ask(primary, "switchover", "--to", primary.name);
      expect(itself.exitCode).toBe(3);
      expect(itself.stderr).toContain("it is the primary already");
      const nobody = await life.ask(primary, "switchover", "--to", "m9");
      expect(nobody.exitCode).toBe(3);
      expect(nobody.stderr).toContain("Members are: m1, m2, m3");
    });

    part("builds a standby anew on demand, but never its primary", async (life) => {
      const primary = await life.primary();
      const [standby] = await life.standbys();
      if (standby === undefined) throw new Error("there is no standby");
      const inode = statSync(standby.dataDirectory).ino;
      const epoch = (await life.now()).reign?.epoch ?? -1;

      const rebuilt = await life.ask(primary, "member", "reinit", standby.name);
      expect(rebuilt).toMatchObject({
        exitCode: 0,
        stdout: `The reinitialize of ${standby.name} succeeded.\n`,
      });
      await life.untilWhole();
      expect(statSync(standby.dataDirectory).ino).not.toBe(inode);
      expect((await life.now()).reign?.epoch).toBe(epoch);
      await life.until("what was kept aside is removed", async () =>
        readdirSync(join(standby.dataDirectory, "..")).every((name) => !name.endsWith(".aside")),
      );

      const refused = await life.ask(primary, "member", "reinit", primary.name);
      expect(refused.exitCode).toBe(3);
      expect(refused.stderr).toContain("it is the primary already");
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });

    part("is whole again, with every row, after everything everywhere was killed at once", async (life) => {
      const { clusterId, systemIdentifier } = await life.now();
      for (const member of life.cluster.members) await life.cluster.killEverything(member);
      await Promise.all(life.cluster.members.map((member) => life.cluster.start(member)));
      await life.untilWhole();
      await life.untilWritesGoOn();
      expect(await life.now()).toMatchObject({ clusterId, systemIdentifier });
      await life.expectNothingLost();
    });
  },
);

function pidsOf({ cluster }: ClusterLife): readonly (number | null)[] {
  return cluster.members.map((member) => cluster.postmasterPid(member));
}

/** By two witnesses: what its supervisor logged, and what was kept of a fork. */
function rewindsOf(life: ClusterLife, member: LocalMember): string {
  const kept = readdirSync(join(stateDirectoryOf(member), "forked"));
  return `${life.countEvents(member, "supervisor.rewind.started")} rewinds, kept: ${kept.join(" ")}`;
}
