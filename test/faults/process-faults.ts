/** Processes are killed, or stand still and go on. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { Fault, Injected, Scene } from "./fault.ts";
import type { Part } from "./host-processes.ts";

/** Until a service manager starts again what ended, or a host is back. */
const DOWN_MS_MAX = 3_000;

function downMs(random: SeededRandom): number {
  return random.chance(30) ? 0 : random.integer(0, DOWN_MS_MAX);
}

function kill(who: (scene: Scene) => LocalMember, ...parts: readonly Part[]): Fault["inject"] {
  return (scene) => {
    const victim = who(scene);
    for (const part of parts) scene.cluster.signal(victim, part, "SIGKILL");
    return {
      what: `${parts.join(" and ")} of ${victim.name}`,
      lastsMs: downMs(scene.random),
      // Only the member is started by somebody else, as a service manager does.
      mend: () => scene.cluster.boot(victim),
    };
  };
}

function freeze(who: (scene: Scene) => LocalMember, part: Part): Fault["inject"] {
  return (scene): Injected => {
    const victim = who(scene);
    const count = scene.cluster.signal(victim, part, "SIGSTOP");
    return {
      what: `${part} of ${victim.name}, ${count} processes`,
      lastsMs: scene.freezeMs,
      mend: () => scene.cluster.signal(victim, "everything", "SIGCONT"),
    };
  };
}

const primary = ({ primary }: Scene): LocalMember => primary;
const leader = ({ leader }: Scene): LocalMember => leader;
const standby = ({ standbys, primary }: Scene): LocalMember => standbys[0] ?? primary;

async function killHost({ cluster, random }: Scene, victim: LocalMember): Promise<Injected> {
  await cluster.killHost(victim);
  return {
    what: `the host of ${victim.name}`,
    lastsMs: downMs(random),
    mend: () => cluster.boot(victim),
  };
}

export const PROCESS_FAULTS: readonly Fault[] = [
  { name: "postmaster of the primary killed", expects: "failover", inject: kill(primary, "postmaster") },
  { name: "all of PostgreSQL killed on the primary", expects: "failover", inject: kill(primary, "postgres") },
  { name: "postmaster of a standby killed", expects: "no failover", inject: kill(standby, "postmaster") },
  { name: "member of the primary killed", expects: "writes", inject: kill(primary, "member") },
  { name: "supervisor of the primary killed", expects: "writes", inject: kill(primary, "supervisor") },
  {
    name: "member and supervisor of the primary killed",
    expects: "writes",
    inject: kill(primary, "member", "supervisor"),
  },
  { name: "member of the leader killed", expects: "writes", inject: kill(leader, "member") },
  {
    name: "all killed on the primary's host, and started at once",
    expects: "writes",
    inject: kill(primary, "everything"),
  },
  {
    name: "host of the primary dies",
    expects: "failover",
    inject: (scene) => killHost(scene, scene.primary),
  },
  { name: "host of the leader dies", expects: "writes", inject: (scene) => killHost(scene, scene.leader) },
  {
    name: "host of a standby dies",
    expects: "no failover",
    inject: (scene) => killHost(scene, standby(scene)),
  },
  { name: "postmaster of the primary frozen", expects: "writes", inject: freeze(primary, "postmaster") },
  {
    name: "all of PostgreSQL frozen on the primary",
    expects: "failover",
    inject: freeze(primary, "postgres"),
  },
  { name: "all of PostgreSQL frozen on a standby", expects: "writes", inject: freeze(standby, "postgres") },
  { name: "member of the primary frozen", expects: "writes", inject: freeze(primary, "member") },
  { name: "supervisor of the primary frozen", expects: "writes", inject: freeze(primary, "supervisor") },
  { name: "member of the leader frozen", expects: "writes", inject: freeze(leader, "member") },
  { name: "host of the primary frozen", expects: "failover", inject: freeze(primary, "everything") },
  { name: "host of the leader frozen", expects: "writes", inject: freeze(leader, "everything") },
];
