/** Something dies in the middle of something else: the phase is waited for, and then it is killed. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import { realClock } from "../support/postgres-clock.ts";
import type { Fault, Injected, Scene } from "./fault.ts";
import { isolate } from "./network-faults.ts";

const CAUGHT_MS_MAX = 20_000;
const LOOK_MS = 2;
/** For as long an old primary writes what nobody acknowledges: enough to have to be rewound. */
const APART_MS = 4_000;

/** @returns whether it was seen in time. Where it was not, the fault comes a little late. */
async function caught(condition: () => Promise<boolean> | boolean): Promise<boolean> {
  const untilMs = performance.now() + CAUGHT_MS_MAX;
  while (performance.now() < untilMs) {
    if (await condition()) return true;
    await realClock.sleep(LOOK_MS);
  }
  return false;
}

async function appointedAfter({ cluster, primary }: Scene): Promise<LocalMember | null> {
  let appointed: LocalMember | null = null;
  await caught(async () => {
    const reign = (await cluster.seen())?.reign;
    if (reign == null || reign.primary === primary.name) return false;
    appointed = cluster.local.member(reign.primary);
    return true;
  });
  return appointed;
}

function successorDies(die: (scene: Scene, successor: LocalMember) => Promise<void> | void): Fault["inject"] {
  return async (scene): Promise<Injected> => {
    const { cluster, primary } = scene;
    cluster.signal(primary, "postmaster", "SIGKILL");
    const successor = await appointedAfter(scene);
    if (successor !== null) await die(scene, successor);
    return {
      what: `${primary.name}, then ${successor?.name ?? "nobody: none was appointed in time"}`,
      mend: () => Promise.all(cluster.members.map((member) => cluster.boot(member))),
    };
  };
}

/** It works there; then everything on that host is killed, and started again. */
async function dieWhile(scene: Scene, victim: LocalMember, part: "clone" | "rewind"): Promise<Injected> {
  const { cluster } = scene;
  const wasCaught = await caught(() => cluster.pids(victim, part).length > 0);
  await cluster.killAllOf(victim);
  return {
    what: `${victim.name}${wasCaught ? "" : `, which was not seen at ${part}`}`,
    mend: () => cluster.boot(victim),
  };
}

async function dieInRewind(scene: Scene): Promise<Injected> {
  const { cluster, primary } = scene;
  isolate(scene, primary, cluster.othersThan(primary));
  await realClock.sleep(APART_MS);
  cluster.network.mend();
  return dieWhile(scene, primary, "rewind");
}

async function dieInClone(scene: Scene): Promise<Injected> {
  const { primary, standbys } = scene;
  const victim = standbys[0] ?? primary;
  await primary.api.post(`/v1/members/${victim.name}/reinitialize`, {});
  return dieWhile(scene, victim, "clone");
}

/** The server that is cloned from dies meanwhile. */
async function sourceDiesInClone(scene: Scene): Promise<Injected> {
  const { cluster, primary, standbys } = scene;
  const victim = standbys[0] ?? primary;
  await primary.api.post(`/v1/members/${victim.name}/reinitialize`, {});
  const wasCaught = await caught(() => cluster.pids(victim, "clone").length > 0);
  cluster.signal(primary, "postmaster", "SIGKILL");
  return { what: `${primary.name}, source of ${victim.name}${wasCaught ? "" : ", not seen at clone"}` };
}

async function primaryDiesInCohortChange(scene: Scene): Promise<Injected> {
  const { cluster, primary, standbys } = scene;
  const lost = standbys[0] ?? primary;
  cluster.signal(lost, "postmaster", "SIGKILL");
  const wasCaught = await caught(async () => {
    const reign = (await cluster.seen())?.reign;
    return reign != null && (reign.pendingCohort !== null || !reign.cohort.standbys.includes(lost.name));
  });
  cluster.signal(primary, "postmaster", "SIGKILL");
  return { what: `${primary.name}, while ${lost.name} left${wasCaught ? "" : " (not seen)"}` };
}

async function switchoverThen(
  scene: Scene,
  die: (target: LocalMember) => Promise<unknown> | unknown,
): Promise<Injected> {
  const { cluster, primary, leader, standbys } = scene;
  const target = leader === primary ? (standbys[0] ?? leader) : leader;
  await primary.api.post("/v1/switchover", { to: target.name });
  await caught(async () => (await cluster.seen())?.reign?.primary === target.name);
  await die(target);
  return {
    what: `${target.name}, which led as it became primary`,
    mend: () => Promise.all(cluster.members.map((member) => cluster.boot(member))),
  };
}

export const PHASE_FAULTS: readonly Fault[] = [
  {
    name: "postmaster of the successor killed as it is promoted",
    expects: "nothing",
    inject: successorDies(
      ({ cluster }, successor) => void cluster.signal(successor, "postmaster", "SIGKILL"),
    ),
  },
  {
    name: "host of the successor dies as it is promoted",
    expects: "nothing",
    inject: successorDies(({ cluster }, successor) => cluster.killHost(successor)),
  },
  {
    name: "host of the successor dies as it is promoted (five)",
    setup: "five",
    expects: "writes",
    inject: successorDies(({ cluster }, successor) => cluster.killHost(successor)),
  },
  { name: "old primary dies while it is rewound", expects: "writes", inject: dieInRewind },
  { name: "standby dies while it is cloned", expects: "writes", inject: dieInClone },
  { name: "primary dies while a standby is cloned from it", expects: "nothing", inject: sourceDiesInClone },
  { name: "primary dies while the cohort changes", expects: "nothing", inject: primaryDiesInCohortChange },
  {
    name: "host of primary and leader dies in a switchover",
    expects: "nothing",
    inject: (scene) => switchoverThen(scene, (target) => scene.cluster.killHost(target)),
  },
  {
    name: "old primary killed in a switchover",
    expects: "nothing",
    inject: async (scene) => {
      const { cluster, primary, standbys } = scene;
      await primary.api.post("/v1/switchover", { to: standbys[0]?.name });
      await realClock.sleep(scene.random.integer(0, 200));
      await cluster.killAllOf(primary);
      return { what: primary.name, mend: () => cluster.boot(primary) };
    },
  },
];
