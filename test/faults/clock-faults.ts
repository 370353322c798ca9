/** Wall clocks jump, there and back. Nothing may depend on them. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import type { Fault, Scene } from "./fault.ts";
import { setClock } from "./setups.ts";

const HOUR_S = 3_600;
/** Longer than what libfaketime remembers, and than any time of ours. */
const LASTS_MS = 6_000;
const BELIEVED_MS_MAX = 10_000;
const CLOSE_S = 60;

function jump(who: (scene: Scene) => readonly LocalMember[], seconds: number): Fault["inject"] {
  return async (scene) => {
    const hit = who(scene);
    for (const member of hit) setClock(scene.cluster, member, seconds);
    const beganMs = performance.now();
    for (const member of hit) await untilOff(scene, member, seconds);
    return {
      beganMs,
      what: hit.map(({ name }) => name).join(", "),
      lastsMs: LASTS_MS,
      mend: () => {
        for (const member of hit) setClock(scene.cluster, member, 0);
      },
    };
  };
}

/** PostgreSQL there believes it: a clock that did not jump would prove nothing. */
async function untilOff({ cluster }: Scene, member: LocalMember, seconds: number): Promise<void> {
  await cluster.until(`the clock of ${member.name} is off by ${seconds} s`, BELIEVED_MS_MAX, async () => {
    const told = Number(await cluster.sql(member, "select extract(epoch from clock_timestamp())"));
    return Math.abs(told - Date.now() / 1_000 - seconds) < CLOSE_S;
  });
}

const primary = (scene: Scene) => [scene.primary];
const leader = (scene: Scene) => [scene.leader];
const all = ({ cluster }: Scene) => cluster.members;
const setup = "three, clocks of their own";
const expects = "no failover";

export const CLOCK_FAULTS: readonly Fault[] = [
  { name: "clock of the primary's host an hour ahead", setup, expects, inject: jump(primary, HOUR_S) },
  { name: "clock of the primary's host an hour back", setup, expects, inject: jump(primary, -HOUR_S) },
  { name: "clock of the leader's host an hour ahead", setup, expects, inject: jump(leader, HOUR_S) },
  { name: "clock of the leader's host an hour back", setup, expects, inject: jump(leader, -HOUR_S) },
  { name: "all clocks an hour ahead", setup, expects, inject: jump(all, HOUR_S) },
  {
    name: "postmaster of the primary killed while its clock is an hour back",
    setup,
    expects: "failover",
    inject: (scene) => {
      const { cluster, primary: victim } = scene;
      setClock(cluster, victim, -HOUR_S);
      cluster.signal(victim, "postmaster", "SIGKILL");
      return { what: victim.name, lastsMs: LASTS_MS, mend: () => setClock(cluster, victim, 0) };
    },
  },
];
