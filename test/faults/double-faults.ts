/** Two things at once, and everything in turn. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { realClock } from "../support/postgres-clock.ts";
import type { Fault, Injected, Scene } from "./fault.ts";
import type { Part } from "./host-processes.ts";
import { isolate } from "./network-faults.ts";

const LASTS_MS = 5_000;

function bootAll({ cluster }: Scene): Promise<unknown> {
  cluster.network.mend();
  return Promise.all(cluster.members.map((member) => cluster.boot(member)));
}

async function kill(scene: Scene, ...hosts: readonly LocalMember[]): Promise<Injected> {
  await Promise.all(hosts.map((member) => scene.cluster.killHost(member)));
  return {
    what: hosts.map(({ name }) => name).join(" and "),
    lastsMs: LASTS_MS,
    mend: () => bootAll(scene),
  };
}

/** The leader, or another one where the leader is the primary. */
function leaderOrStandby({ primary, leader, standbys }: Scene): LocalMember {
  return leader === primary ? (standbys[0] ?? leader) : leader;
}

/** Whatever can be killed on a host, and the host itself. */
const KILLED: readonly Part[] = ["member", "supervisor", "postmaster", "postgres", "everything"];
const PAUSE_MS = { min: 200, max: 2_500 };
const DOWN_MS = { min: 0, max: 3_000 };

/** One after the other, faster than it heals; whatever somebody else has to start is started after a while. */
async function rolling(scene: Scene): Promise<Injected> {
  const { cluster, random, rollingMs } = scene;
  const untilMs = performance.now() + rollingMs;
  const restarts = new Map<LocalMember, Promise<void>>();
  let count = 0;
  while (performance.now() < untilMs) {
    const victim = random.pick(cluster.members.filter((member) => !restarts.has(member)));
    const part = random.pick(KILLED) ?? "everything";
    const downMs = random.integer(DOWN_MS.min, DOWN_MS.max);
    if (victim !== undefined) {
      count += 1;
      if (part === "everything" && random.chance(50)) await cluster.killHost(victim);
      else cluster.signal(victim, part, "SIGKILL");
      const restart = realClock
        .sleep(downMs)
        .then(() => cluster.boot(victim))
        .finally(() => restarts.delete(victim));
      restarts.set(victim, restart);
    }
    await realClock.sleep(random.integer(PAUSE_MS.min, PAUSE_MS.max));
  }
  await Promise.all(restarts.values());
  return { what: `${count} times`, mend: () => bootAll(scene) };
}

export const DOUBLE_FAULTS: readonly Fault[] = [
  {
    name: "hosts of the primary and of the leader die",
    expects: "nothing",
    inject: (scene) => kill(scene, scene.primary, leaderOrStandby(scene)),
  },
  {
    name: "hosts of the primary and of the leader die (five)",
    setup: "five",
    expects: "writes",
    inject: (scene) => kill(scene, scene.primary, leaderOrStandby(scene)),
  },
  {
    name: "host of the primary dies (five)",
    setup: "five",
    expects: "failover",
    inject: (scene) => kill(scene, scene.primary),
  },
  {
    name: "hosts of two standbys die (five)",
    setup: "five",
    expects: "writes",
    inject: (scene) => kill(scene, ...scene.standbys.slice(0, 2)),
  },
  {
    name: "primary and leader cut off together (five)",
    setup: "five",
    expects: "failover",
    inject: (scene) => {
      const { cluster, primary } = scene;
      const other = leaderOrStandby(scene);
      const rest = cluster.othersThan(primary, other);
      for (const member of [primary, other]) isolate(scene, member, rest);
      return {
        what: `${primary.name} and ${other.name}`,
        lastsMs: LASTS_MS,
        mend: () => cluster.network.mend(),
      };
    },
  },
  {
    name: "primary cut off and leader cut off, each alone",
    expects: "nothing",
    inject: (scene) => {
      const { cluster, primary } = scene;
      const other = leaderOrStandby(scene);
      for (const member of [primary, other]) isolate(scene, member, cluster.othersThan(member));
      return {
        what: `${primary.name} and ${other.name}`,
        lastsMs: LASTS_MS,
        mend: () => cluster.network.mend(),
      };
    },
  },
  {
    name: "postmaster of the primary killed and its member frozen",
    expects: "nothing",
    inject: (scene) => {
      const { cluster, primary, freezeMs } = scene;
      cluster.signal(primary, "member", "SIGSTOP");
      cluster.signal(primary, "postmaster", "SIGKILL");
      return {
        what: primary.name,
        lastsMs: freezeMs,
        mend: () => cluster.signal(primary, "everything", "SIGCONT"),
      };
    },
  },
  {
    name: "postmaster of the primary killed and the leader's host cut off",
    expects: "nothing",
    inject: (scene) => {
      const { cluster, primary } = scene;
      const other = leaderOrStandby(scene);
      isolate(scene, other, cluster.othersThan(other));
      cluster.signal(primary, "postmaster", "SIGKILL");
      return {
        what: `${primary.name} and ${other.name}`,
        lastsMs: LASTS_MS,
        mend: () => cluster.network.mend(),
      };
    },
  },
  {
    name: "all hosts die at once",
    expects: "nothing",
    inject: (scene) => kill(scene, ...scene.cluster.members),
  },
  { name: "everything is killed in turn", expects: "nothing", inject: rolling },
  { name: "everything is killed in turn (five)", setup: "five", expects: "nothing", inject: rolling },
];
