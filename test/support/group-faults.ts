/** What can be done to the processes and to the network of a group of three. */

import { expect } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { defined } from "../../src/base/assert.ts";
import { EXIT_DISK_FULL } from "../../src/main/worker-protocol.ts";
import type { ConsensusGroup, GroupMember } from "./consensus-group.ts";
import type { Fault } from "./group-trial.ts";
import type { NamespaceHost, NamespaceNetwork } from "./network-namespaces.ts";
import { realClock } from "./postgres-clock.ts";
import { fillDisk, freeDisk } from "./small-disk.ts";

const PULSES = 3;
const NOTICED_MS_MAX = 30_000;
const GROWN_MS_MAX = 60_000;
const WRITES_AT_ONCE = 256;
const ELECTED_MS_MAX = 20_000;

/** Of processes: they are killed, they stand still, they are asked to end. */
export const PROCESS_FAULTS: readonly Fault[] = [
  {
    title: "the leader is killed",
    async strike({ group, leader, followers }) {
      await group.kill(leader);
      return { able: followers, mend: () => group.start(leader) };
    },
  },
  {
    title: "the leader is killed and started at once",
    async strike({ group, leader, followers }) {
      await group.kill(leader);
      await group.start(leader);
      return { able: followers, mend: () => undefined };
    },
  },
  {
    title: "a follower is killed",
    async strike({ group, leader, followers: [victim, other] }) {
      await group.kill(victim);
      return { able: [leader, other], mend: () => group.start(victim) };
    },
  },
  {
    title: "the leader and a follower are killed at once",
    async strike({ group, leader, followers: [victim] }) {
      await group.kill(leader, victim);
      return { able: [], mend: () => Promise.all([group.start(leader), group.start(victim)]) };
    },
  },
  {
    title: "all are killed at once",
    async strike({ group }) {
      await group.kill(...group.members);
      return { able: [], mend: () => Promise.all(group.members.map((member) => group.start(member))) };
    },
  },
  {
    title: "the leader stands still",
    strike({ group, leader, followers }) {
      group.pause(leader);
      return { able: followers, mend: () => group.resume(leader) };
    },
  },
  {
    title: "a follower stands still",
    strike({ group, leader, followers: [victim, other] }) {
      group.pause(victim);
      return { able: [leader, other], mend: () => group.resume(victim) };
    },
  },
  {
    title: "the leader stands still again and again, about as long as an election takes",
    async strike({ group, leader, random }) {
      for (let count = 0; count < PULSES; count += 1) {
        group.pause(leader);
        await realClock.sleep(random.integer(300, 900));
        group.resume(leader);
        await realClock.sleep(random.integer(50, 500));
      }
      return { able: group.members, mend: () => undefined };
    },
  },
  {
    title: "one after the other is killed and started, faster than they elect",
    async strike({ group, random }) {
      for (let count = 0; count < PULSES; count += 1) {
        const victim = defined(random.pick(group.members), "a group has members");
        await group.kill(victim);
        await group.start(victim);
        await realClock.sleep(random.integer(20, 400));
      }
      return { able: group.members, mend: () => undefined };
    },
  },
  {
    title: "all stand still",
    strike({ group }) {
      group.pause(...group.members);
      return { able: [], mend: () => group.resume(...group.members) };
    },
  },
  {
    title: "the leader stands still, and its successor is killed meanwhile",
    async strike({ group, leader, followers }) {
      group.pause(leader);
      await group.kill(followers[0]);
      return {
        able: [],
        mend: async () => {
          group.resume(leader);
          await group.start(followers[0]);
        },
      };
    },
  },
  {
    title: "the leader is asked to end",
    async strike({ group, leader, term, followers }) {
      const before = followers.map((member) => group.roleChanges(member).length);
      await group.stop(leader);
      const next = await group.agreedLeader();
      // Handed on: one term later, and nobody had to find out by silence.
      expect(next.term).toBe(term + 1);
      const changes = followers.flatMap((member, at) => group.roleChanges(member).slice(before[at]));
      expect(changes).not.toContainEqual({ role: "pre-candidate", term });
      return { able: followers, mend: () => group.start(leader) };
    },
  },
  {
    title: "one after the other is asked to end and started again, the leader last",
    async strike({ group, leader, followers }) {
      for (const member of [...followers, leader]) {
        await group.stop(member);
        await group.start(member);
        await group.agreedLeader();
      }
      return { able: group.members, mend: () => undefined };
    },
  },
  {
    title: "a follower is asked to end",
    async strike({ group, leader, term, followers: [victim, other] }) {
      await group.stop(victim);
      expect(await group.agreedLeader()).toEqual({ leader, term });
      return { able: [leader, other], mend: () => group.start(victim) };
    },
  },
];

/** Of the network between members, whose hosts are those of `network`. Clients still reach everybody. */
export function networkFaults(network: NamespaceNetwork): readonly Fault[] {
  const hostOf = ({ host }: GroupMember): NamespaceHost => {
    const found = network.hosts.find(({ address }) => address === host.address);
    if (found === undefined) throw new Error(`${host.address} is none of this network's hosts`);
    return found;
  };
  const mend = () => network.mend();
  return [
    {
      title: "the leader is cut off",
      strike({ leader, followers }) {
        for (const other of followers) network.cutBothWays(hostOf(leader), hostOf(other));
        return { able: followers, mend };
      },
    },
    {
      title: "a follower is cut off",
      strike({ leader, followers: [victim, other] }) {
        for (const each of [leader, other]) network.cutBothWays(hostOf(victim), hostOf(each));
        return { able: [leader, other], mend };
      },
    },
    {
      title: "the leader is deaf: it sends, and nothing arrives",
      strike({ leader, followers }) {
        for (const other of followers) network.cut(hostOf(other), hostOf(leader));
        return { able: followers, mend };
      },
    },
    {
      title: "the leader is mute: it hears, and nothing leaves",
      strike({ leader, followers }) {
        for (const other of followers) network.cut(hostOf(leader), hostOf(other));
        return { able: followers, mend };
      },
    },
    {
      title: "a follower is deaf",
      strike({ leader, followers: [victim, other] }) {
        for (const each of [leader, other]) network.cut(hostOf(each), hostOf(victim));
        return { able: [leader, other], mend };
      },
    },
    {
      title: "a follower is mute",
      strike({ leader, followers: [victim, other] }) {
        for (const each of [leader, other]) network.cut(hostOf(victim), hostOf(each));
        return { able: [leader, other], mend };
      },
    },
    {
      title: "the link between the leader and a follower is cut",
      strike({ leader, followers: [victim, other] }) {
        network.cutBothWays(hostOf(leader), hostOf(victim));
        return { able: [other], mend };
      },
    },
    {
      title: "the leader does not hear one follower",
      strike({ leader, followers: [victim, other] }) {
        network.cut(hostOf(victim), hostOf(leader));
        return { able: [other], mend };
      },
    },
    {
      title: "the followers do not reach each other",
      strike({ leader, followers: [one, other] }) {
        network.cutBothWays(hostOf(one), hostOf(other));
        return { able: [leader, one, other], mend };
      },
    },
    {
      title: "nobody reaches anybody",
      strike({ group }) {
        for (const one of group.members) {
          for (const other of group.othersThan(one)) network.cut(hostOf(one), hostOf(other));
        }
        return { able: [], mend };
      },
    },
    {
      title: "the leader is cut off, and killed and started there",
      async strike({ group, leader, followers }) {
        for (const other of followers) network.cutBothWays(hostOf(leader), hostOf(other));
        await group.until("the others have a leader", ELECTED_MS_MAX, () =>
          isLedByAnother(group, leader, followers[0]),
        );
        await group.kill(leader);
        await group.start(leader);
        return { able: followers, mend };
      },
    },
    {
      title: "the leader is cut off, and all are killed before they reach each other again",
      async strike({ group, leader, followers }) {
        for (const other of followers) network.cutBothWays(hostOf(leader), hostOf(other));
        return {
          able: followers,
          mend: async () => {
            await group.kill(...group.members);
            network.mend();
            await Promise.all(group.members.map((member) => group.start(member)));
          },
        };
      },
    },
    {
      title: "the leader is cut off, and then its successor instead",
      async strike({ group, leader, followers: [one, other], random }) {
        for (const each of [one, other]) network.cutBothWays(hostOf(leader), hostOf(each));
        await group.until("another leads", ELECTED_MS_MAX, () => isLedByAnother(group, leader, one));
        const successor = (await group.ask(one))?.raft.leader === one.name ? one : other;
        network.mend();
        if (random.chance(50)) await group.agreedLeader();
        const rest = group.othersThan(successor);
        for (const each of rest) network.cutBothWays(hostOf(successor), hostOf(each));
        return { able: rest, mend };
      },
    },
  ];
}

/** Of disks. The last member needs a small one of its own (`giveSmallDisk`). */
export const DISK_FAULTS: readonly Fault[] = [
  {
    title: "the disk of the last member is full",
    async strike({ group }) {
      const victim = lastOf(group);
      await fillUntilNoticed(group, victim);
      await group.until("another leads", ELECTED_MS_MAX, () => isLedByAnother(group, victim, firstOf(group)));
      return { able: group.othersThan(victim), mend: () => makeRoom(group, victim) };
    },
  },
  {
    title: "the disk of the last member is full, and its ballast is not enough",
    async strike({ group }) {
      const victim = lastOf(group);
      await fillUntilNoticed(group, victim);
      fillDisk(victim);
      expect(await group.ended(victim)).toBe(EXIT_DISK_FULL);
      return {
        able: group.othersThan(victim),
        mend: () => makeRoom(group, victim),
      };
    },
  },
  {
    title: "the last member loses its disk, and is replaced under a new id",
    async strike({ group }) {
      const victim = lastOf(group);
      await group.kill(victim);
      wipe(victim);
      await growLog(group, group.othersThan(victim));
      return {
        able: group.othersThan(victim),
        mend: async () => {
          group.outsiders.add(victim);
          await group.start(victim);
          await group.join(victim, firstOf(group), { replaces: victim.name });
          await group.untilAllVote();
          group.outsiders.delete(victim);
          // The log no longer began at its beginning: it came by snapshot.
          expect((await group.consensus(victim))?.floorIndex).toBeGreaterThan(0);
        },
      };
    },
  },
];

/** Writes until these members have forgotten how their log began. */
async function growLog(group: ConsensusGroup, members: readonly GroupMember[]): Promise<void> {
  const { token, caPem } = group.access;
  const through = defined(members[0], "somebody is left");
  const write = async (isNoFailover: boolean): Promise<void> => {
    const response = await fetch(`https://${through.apiAddress}/v1/members/${through.name}`, {
      method: "PATCH",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ isNoFailover }),
      tls: { ca: caPem },
    });
    await response.arrayBuffer();
  };
  await group.until("the beginning of the log is forgotten", GROWN_MS_MAX, async () => {
    await Promise.all(Array.from({ length: WRITES_AT_ONCE }, (_, count) => write(count % 2 === 0)));
    const seen = await Promise.all(members.map((member) => group.consensus(member)));
    return seen.every((each) => each !== null && each.floorIndex > 0);
  });
}

async function fillUntilNoticed(group: ConsensusGroup, victim: GroupMember): Promise<void> {
  const before = group.logged(victim, "disk.full").length;
  fillDisk(victim);
  await group.until("it says that its disk is full", NOTICED_MS_MAX, async () => {
    return group.logged(victim, "disk.full").length > before;
  });
}

/** A member that was left with its ballast goes on with it; one that used it up has ended, and is started again. */
async function makeRoom(group: ConsensusGroup, victim: GroupMember): Promise<void> {
  const before = group.logged(victim, "disk.room").length;
  freeDisk(victim);
  if (victim.process !== null && victim.process.exitCode === null) {
    await group.until("it says that there is room again", NOTICED_MS_MAX, async () => {
      return group.logged(victim, "disk.room").length > before || victim.process?.exitCode !== null;
    });
  }
  if (victim.process !== null && victim.process.exitCode !== null)
    expect(await group.ended(victim)).toBe(EXIT_DISK_FULL);
  if (victim.process === null) await group.start(victim);
}

function firstOf(group: ConsensusGroup): GroupMember {
  return defined(group.members[0], "a group has members");
}

function lastOf(group: ConsensusGroup): GroupMember {
  return defined(group.members.at(-1), "a group has members");
}

function wipe({ dataDirectory }: GroupMember): void {
  for (const name of readdirSync(dataDirectory)) rmSync(join(dataDirectory, name), { recursive: true });
}

async function isLedByAnother(
  group: ConsensusGroup,
  former: GroupMember,
  asked: GroupMember,
): Promise<boolean> {
  const leader = (await group.ask(asked))?.raft.leader ?? null;
  return leader !== null && leader !== former.name;
}
