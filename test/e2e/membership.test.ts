/** Members come, go, are replaced, and vote, while clients write; and the day a majority is gone for good. */
import { expect } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ClusterDocument, ConsensusDocument } from "../../src/api/documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import {
  type ClusterLife,
  describeLife,
  makeCluster,
  socketOf,
  stateDirectoryOf,
} from "../support/cluster-life.ts";
import { guacamole } from "../support/tested-binary.ts";

const EXIT_REMOVED = 77;

/** The group is as wanted, and no change of it is under way. */
async function untilGroup(
  life: ClusterLife,
  voters: readonly string[],
  learners: readonly string[],
): Promise<void> {
  await life.until(`${voters.join(", ")} vote, and ${learners.join(", ") || "nobody"} learns`, async () => {
    const seen = await life.cluster.anyCluster();
    if (seen?.raft.leader == null) return false;
    const { group, isChanging } = await consensusOf(life.cluster.member(seen.raft.leader));
    const isSame = (a: readonly string[], b: readonly string[]) =>
      [...a].sort().join() === [...b].sort().join();
    return !isChanging && isSame(group.voters, voters) && isSame(group.learners, learners);
  });
}

function consensusOf(member: LocalMember): Promise<ConsensusDocument> {
  return member.api.get<ConsensusDocument>("/v1/consensus");
}

async function joinAlso(life: ClusterLife, member: LocalMember): Promise<void> {
  await life.cluster.start(member);
  await life.cluster.join(member, life.cluster.member("m1"));
}

/** `guacamole member …`, asked of a member that stays. */
async function membership(
  life: ClusterLife,
  asked: LocalMember,
  ...args: readonly string[]
): Promise<string> {
  const { exitCode, stdout, stderr } = await life.ask(asked, "member", ...args);
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

/** It was told, has stopped its PostgreSQL, and has ended by itself. */
async function expectRetired(life: ClusterLife, member: LocalMember): Promise<void> {
  const exitCode = await member.process?.exited;
  expect(exitCode).toBe(EXIT_REMOVED);
  expect(life.cluster.postmasterPid(member)).toBeNull();
  member.process = null;
}

function names({ members }: ClusterDocument): readonly string[] {
  return members.map(({ name }) => name);
}

/** Another member leads than the primary: where it leads, it hands over. */
async function leaderBesideNobody(life: ClusterLife): Promise<LocalMember> {
  const seen = await life.seen(
    "the leader is not beside the primary",
    ({ raft, reign }) => raft.leader !== null && raft.leader !== reign?.primary,
  );
  return life.cluster.member(seen.raft.leader ?? "");
}

describeLife(
  "members that come and go while clients write",
  () => makeCluster(5),
  (part) => {
    part(
      "three become five: each learns first, and none votes before there are three, then five",
      async (life) => {
        const [m1, m2, m3, m4, m5] = life.cluster.members as readonly [
          LocalMember,
          LocalMember,
          LocalMember,
          LocalMember,
          LocalMember,
        ];
        await life.cluster.start(m1);
        await m1.api.post("/v1/form", { name: "members" });
        await life.seen("the first member leads", ({ raft }) => raft.leader === "m1");
        await joinAlso(life, m2);
        await untilGroup(life, ["m1"], ["m2"]);
        await joinAlso(life, m3);
        await untilGroup(life, ["m1", "m2", "m3"], []);
        await life.cluster.initialize();
        await life.untilWhole();
        await life.startWriting();
        await joinAlso(life, m4);
        await untilGroup(life, ["m1", "m2", "m3"], ["m4"]);
        await joinAlso(life, m5);
        await untilGroup(life, ["m1", "m2", "m3", "m4", "m5"], []);
        await life.seen("five members", (seen) => names(seen).length === 5);
        await life.untilWhole();
        await life.expectNothingLost();
      },
    );

    part("a vote is given up and taken back, as somebody wishes", async (life) => {
      const m1 = life.cluster.member("m1");
      await membership(life, m1, "demote-voter", "m5");
      const { raft } = await life.seen("three vote", (seen) => seen.raft.voters.length === 3);
      expect(raft.learners).toContain("m5");
      await membership(life, m1, "promote-voter", "m5");
      await untilGroup(life, ["m1", "m2", "m3", "m4", "m5"], []);
      await membership(life, m1, "set", "m5", "--voting", "auto", "--failover-priority", "3");
    });

    part("a standby is removed: out of the cohort, out of the group, stopped, and told", async (life) => {
      const leader = await leaderBesideNobody(life);
      const standby = (await life.standbys()).find((each) => each !== leader && each.name !== "m1");
      if (standby === undefined) throw new Error("a standby that does not lead");
      await membership(life, leader, "remove", standby.name);
      await expectRetired(life, standby);
      await life.untilWhole();
      await life.untilWritesGoOn();
      expect(names(await life.now())).not.toContain(standby.name);
      // Started again, it says why it takes no part.
      await expect(life.cluster.start(standby)).rejects.toThrow("was removed from its cluster");
      await life.expectNothingLost();
    });

    part("the leader is removed: it hands over first", async (life) => {
      const leader = await leaderBesideNobody(life);
      await membership(life, await life.primary(), "remove", leader.name);
      await expectRetired(life, leader);
      await life.untilWhole();
      await life.untilWritesGoOn();
      expect(names(await life.now())).toHaveLength(3);
      await untilGroup(life, [...names(await life.now())], []);
      await life.expectNothingLost();
    });

    part("the primary is not removed", async (life) => {
      const primary = await life.primary();
      const refused = await life.ask(primary, "member", "remove", primary.name);
      expect(refused.exitCode).toBe(3);
      expect(refused.stderr).toContain("guacamole switchover");
    });

    part("a wiped member is replaced: it takes the name under a new id", async (life) => {
      const primary = await life.primary();
      const lost = (await membersOf(life)).find((each) => each !== primary);
      if (lost === undefined) throw new Error("a standby");
      const before = (await life.now()).members.find(({ name }) => name === lost.name)?.id;
      await life.cluster.killEverything(lost);
      wipe(lost);
      const made = await membership(life, primary, "replace", lost.name);
      const [, address = "", token = ""] = /guacamole join (\S+) --token (\S+)/.exec(made) ?? [];
      await life.cluster.start(lost);
      const joined = await guacamole("join", address, "--token", token, "--socket", socketOf(lost));
      expect([joined.exitCode, joined.stderr]).toEqual([0, ""]);
      await life.seen("the old one is gone", (seen) => names(seen).length === 3);
      await life.untilWhole();
      const after = (await life.now()).members.find(({ name }) => name === lost.name)?.id;
      expect(after).not.toBe(before);
      await untilGroup(life, [...names(await life.now())], []);
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });

    part("the newcomer counts like any other: the primary dies, and nothing is lost", async (life) => {
      const primary = await life.primary();
      await life.cluster.killEverything(primary);
      await life.successorOf(primary);
      await life.untilWritesGoOn();
      await life.cluster.start(primary);
      await life.untilWhole();
      await life.expectNothingLost();
    });

    part(
      "a majority is gone: nothing is promoted by itself, and one survivor goes on once told",
      async (life) => {
        const primary = await life.primary();
        const [survivor] = (await membersOf(life)).filter((each) => each !== primary);
        if (survivor === undefined) throw new Error("a survivor");
        for (const each of await membersOf(life)) await life.cluster.killEverything(each);
        const dataDir = join(survivor.directory, "member");
        const inspected = await guacamole("recover", "inspect", "--data-dir", dataDir, "--output", "json");
        expect(JSON.parse(inspected.stdout)).toMatchObject({ memberName: survivor.name, flaws: [] });
        const yes = ["--data-dir", dataDir, "--yes-i-lose-the-others", "members"];
        const forced = await guacamole("recover", "force-new-group", ...yes);
        expect([forced.exitCode, forced.stderr]).toEqual([0, ""]);
        await life.cluster.start(survivor);
        const alone = await life.seen("the survivor leads", ({ raft }) => raft.leader === survivor.name);
        expect(names(alone)).toEqual([survivor.name]);
        const held = await life.seen("it holds", ({ decision }) => decision?.reason === "reign-abandoned");
        expect(held.isWritable).toBe(false);

        await life.cluster.killMemberProcess(survivor);
        const told = await guacamole("recover", "force-new-group", "--make-primary", ...yes);
        expect([told.exitCode, told.stderr]).toEqual([0, ""]);
        await life.cluster.start(survivor);
        const reigning = await life.seen("the survivor takes writes", ({ isWritable }) => isWritable);
        expect(reigning.reign?.primary).toBe(survivor.name);
        expect(reigning.reign?.epoch).toBeGreaterThan(1_000);

        // The others come back as newcomers.
        wipe(primary);
        await life.cluster.start(primary);
        await life.cluster.join(primary, survivor);
        await life.seen("two members", (seen) => names(seen).length === 2);
        await life.untilWhole();
      },
    );
  },
);

/** As after a new disk. */
function wipe(member: LocalMember): void {
  for (const path of [member.dataDirectory, stateDirectoryOf(member), join(member.directory, "member")])
    rmSync(path, { recursive: true });
  mkdirSync(join(member.directory, "member"), { mode: 0o700 });
}

/** The machines of those who are members now. */
async function membersOf(life: ClusterLife): Promise<readonly LocalMember[]> {
  const present = names(await life.now());
  return life.cluster.members.filter(({ name }) => present.includes(name));
}
