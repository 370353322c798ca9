/** Hosts do not reach each other, in one direction or both. The writers and the reader reach all of them. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import type { Fault, Injected, Scene } from "./fault.ts";

type Way = "both" | "deaf" | "mute";

/** Long enough for everybody to have noticed, and for a needless failover to show. */
const LASTS_MS = { min: 3_000, max: 6_000 };

/** Cuts the host of `victim` off from `others`; deaf: nothing arrives, mute: nothing leaves. */
export function isolate(
  { cluster }: Scene,
  victim: LocalMember,
  others: readonly LocalMember[],
  way: Way = "both",
): void {
  const { network } = cluster;
  for (const other of others) {
    if (way !== "deaf") network.cut(cluster.hostOf(victim), cluster.hostOf(other));
    if (way !== "mute") network.cut(cluster.hostOf(other), cluster.hostOf(victim));
  }
}

function cut(
  choose: (scene: Scene) => { readonly victim: LocalMember; readonly others?: readonly LocalMember[] },
  way: Way = "both",
): Fault["inject"] {
  return (scene): Injected => {
    const { cluster, random } = scene;
    const { victim, others = cluster.othersThan(victim) } = choose(scene);
    isolate(scene, victim, others, way);
    return {
      what: `${victim.name} from ${others.map(({ name }) => name).join(", ")}`,
      lastsMs: random.integer(LASTS_MS.min, LASTS_MS.max),
      mend: () => cluster.network.mend(),
    };
  };
}

const primary = (scene: Scene) => ({ victim: scene.primary });
const leader = (scene: Scene) => ({ victim: scene.leader });
const oneStandby = ({ primary, standbys }: Scene) => ({ victim: primary, others: standbys.slice(0, 1) });
const leaderAlone = ({ primary, leader, standbys }: Scene) => ({
  victim: primary,
  others: primary === leader ? standbys.slice(0, 1) : [leader],
});
const standbysOfEachOther = ({ standbys }: Scene) => {
  const [victim, ...others] = standbys;
  if (victim === undefined) throw new Error("a cluster has standbys");
  return { victim, others };
};

export const NETWORK_FAULTS: readonly Fault[] = [
  { name: "host of the primary cut off", expects: "failover", inject: cut(primary) },
  { name: "host of the leader cut off", expects: "writes", inject: cut(leader) },
  { name: "host of the primary deaf", expects: "writes", inject: cut(primary, "deaf") },
  { name: "host of the primary mute", expects: "writes", inject: cut(primary, "mute") },
  { name: "host of the leader deaf", expects: "writes", inject: cut(leader, "deaf") },
  { name: "host of the leader mute", expects: "writes", inject: cut(leader, "mute") },
  { name: "primary and one standby cut from each other", expects: "writes", inject: cut(oneStandby) },
  { name: "primary does not reach one standby", expects: "writes", inject: cut(oneStandby, "mute") },
  { name: "primary does not hear one standby", expects: "writes", inject: cut(oneStandby, "deaf") },
  { name: "primary and leader cut from each other", expects: "writes", inject: cut(leaderAlone) },
  { name: "standbys cut from each other", expects: "writes", inject: cut(standbysOfEachOther) },
  {
    name: "nobody reaches anybody",
    expects: "nothing",
    inject: (scene) => {
      const { cluster, random } = scene;
      for (const member of cluster.members) isolate(scene, member, cluster.othersThan(member));
      return {
        what: "all from all",
        lastsMs: random.integer(LASTS_MS.min, LASTS_MS.max),
        mend: () => cluster.network.mend(),
      };
    },
  },
];
