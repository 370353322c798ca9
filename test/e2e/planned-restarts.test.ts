/** Planned restarts on real members, with writers all the time: nothing that was acknowledged is ever lost. */

import { expect } from "bun:test";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OperationDocument } from "../../src/api/documents.ts";
import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { type ClusterLife, describeLife, makeCluster } from "../support/cluster-life.ts";

/** `max_connections` of each member, in the order of the members. */
async function shown(life: ClusterLife): Promise<readonly string[]> {
  return Promise.all(life.cluster.members.map((member) => life.sql(member, "SHOW max_connections")));
}

function pids(life: ClusterLife): readonly (number | null)[] {
  return life.cluster.members.map((member) => life.cluster.postmasterPid(member));
}

async function asked(life: ClusterLife, ...args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await life.ask(await life.primary(), ...args);
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout;
}

/** Begins one, and returns at once. */
async function begun(life: ClusterLife, ...args: readonly string[]): Promise<OperationDocument> {
  const all = [...args, "--no-wait", "--output", "json"];
  return JSON.parse(await asked(life, ...all)) as OperationDocument;
}

async function operation(life: ClusterLife, id: string): Promise<OperationDocument> {
  return JSON.parse(await asked(life, "operation", "show", id, "--output", "json")) as OperationDocument;
}

async function ended(life: ClusterLife, id: string): Promise<OperationDocument> {
  let last: OperationDocument | null = null;
  await life.until("the operation has ended", async () => {
    const { exitCode, stdout } = await life.ask(
      life.cluster.member("m3"),
      "operation",
      "show",
      id,
      "--output",
      "json",
    );
    last = exitCode === 0 ? (JSON.parse(stdout) as OperationDocument) : null;
    return last !== null && last.status !== "running";
  });
  if (last === null) throw new Error("never seen");
  return last;
}

const told = ({ log }: OperationDocument) => log.map(({ message }) => message).join("\n");

describeLife(
  "planned restarts",
  () => makeCluster(3),
  (part) => {
    part("start a standby again, and the primary in place: no failover, the same reign", async (life) => {
      await life.bringUp("restarts");
      await life.startWriting();
      const before = await life.now();
      const [m1, m2, m3] = pids(life);
      await asked(life, "member", "restart", "m2");
      expect(pids(life)[1]).not.toBe(m2);
      await asked(life, "member", "restart", "m1", "--if-role", "primary");
      expect(pids(life)[0]).not.toBe(m1);
      expect(pids(life)[2]).toBe(m3);
      await life.untilWhole();
      await life.untilWritesGoOn();
      const after = await life.now();
      expect(after.reign?.epoch).toBe(before.reign?.epoch);
      expect(after.failoverCount).toBe(before.failoverCount);
      expect(after.members[0]?.timeline).toBe(before.members[0]?.timeline);
      const refused = await life.ask(
        life.cluster.member("m2"),
        "member",
        "restart",
        "m1",
        "--if-role",
        "standby",
      );
      expect(refused).toMatchObject({ exitCode: 3 });
      await asked(life, "member", "reload", "m3");
      await life.expectNothingLost();
    });

    part(
      "bring a limit that grows into effect: standbys first, the primary by a switchover",
      async (life) => {
        await asked(life, "config", "set", "max_connections=150", "--restart");
        expect(await shown(life)).toEqual(["150", "150", "150"]);
        await life.untilWhole();
        await life.untilWritesGoOn();
        expect((await life.now()).switchoverCount).toBe(1);
        const nothing = await life.ask(life.cluster.member("m1"), "restart", "--pending-only");
        expect(nothing).toMatchObject({ exitCode: 3 });
        await life.expectNothingLost();
      },
    );

    part("bring one that shrinks into effect: the primary first, in place", async (life) => {
      const primary = await life.primary();
      const { reign } = await life.now();
      await asked(life, "config", "set", "max_connections=120", "--restart");
      expect(await shown(life)).toEqual(["120", "120", "120"]);
      const after = await life.now();
      expect(after.reign?.epoch).toBe(reign?.epoch ?? -1);
      expect(await life.primary()).toBe(primary);
      const paused = await Promise.all(
        (await life.standbys()).map((member) => life.sql(member, "SELECT pg_is_wal_replay_paused()")),
      );
      expect(paused).toEqual(["f", "f"]);
      await life.untilWhole();
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });

    part("can be held, let go on and ended, through any member", async (life) => {
      const before = pids(life);
      const { id } = await begun(life, "restart");
      await asked(life, "operation", "pause", id);
      await life.until("it stands still", async () => {
        const { restart } = await operation(life, id);
        return restart?.isPaused === true && restart.members.every(({ state }) => state !== "restarting");
      });
      const held = pids(life);
      expect(held.filter((pid, index) => pid !== before[index]).length).toBeLessThanOrEqual(1);
      await life.untilWritesGoOn();
      expect(pids(life)).toEqual(held);
      await asked(life, "operation", "resume", id);
      expect((await ended(life, id)).status).toBe("succeeded");
      expect(pids(life).every((pid, index) => pid !== before[index])).toBe(true);
      const { id: second } = await begun(life, "restart");
      await asked(life, "operation", "cancel", second);
      const cancelled = await ended(life, second);
      expect([cancelled.status, told(cancelled)]).toEqual([
        "failed",
        expect.stringContaining("it was ended by"),
      ]);
      await life.untilWhole();
    });

    part("go on under another leader, when the leader is killed in the middle", async (life) => {
      const before = pids(life);
      const { id } = await begun(life, "restart", "--strategy", "in-place");
      await life.until("the first is under way", async () =>
        pids(life).some((pid, index) => pid !== before[index]),
      );
      const { raft } = await life.now();
      const leader = life.cluster.member(raft.leader ?? "");
      await life.cluster.killMemberProcess(leader);
      await life.cluster.start(leader);
      const done = await ended(life, id);
      expect([done.status, told(done)]).toEqual(["succeeded", expect.stringContaining("back")]);
      expect(pids(life).every((pid, index) => pid !== before[index])).toBe(true);
      await life.untilWhole();
      await life.untilWritesGoOn();
      await life.expectNothingLost();
    });

    part("end at the first member that does not come back, and touch nobody else", async (life) => {
      const [first] = (await life.standbys()) as readonly [LocalMember, LocalMember];
      const before = pids(life);
      const file = join(first.dataDirectory, "postgresql.conf");
      const good = readFileSync(file, "utf8");
      appendFileSync(file, "\nno_such_parameter = 1\n");
      const { id } = await begun(life, "restart", "--timeout", "8s");
      const failed = await ended(life, id);
      expect(failed.status).toBe("failed");
      expect(told(failed)).toContain(`${first.name} does not come back`);
      const touched = life.cluster.members.filter((_, index) => pids(life)[index] !== before[index]);
      expect(touched).toEqual([first]);
      await life.untilWritesGoOn();
      writeFileSync(file, good);
      await life.untilWhole();
      await life.expectNothingLost();
    });
  },
);
