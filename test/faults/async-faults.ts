/** What `async` durability promises: one primary at a time, and nothing lost where nobody else took over. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import type { Fault, Injected, Scene } from "./fault.ts";
import type { Part } from "./host-processes.ts";
import { isolate } from "./network-faults.ts";

const LASTS_MS = 6_000;
const setup = "three, async";

function freeze(part: Part): Fault["inject"] {
  return ({ cluster, primary, freezeMs }): Injected => {
    cluster.signal(primary, part, "SIGSTOP");
    return {
      what: `${part} of ${primary.name}`,
      lastsMs: freezeMs,
      mend: () => cluster.signal(primary, "everything", "SIGCONT"),
    };
  };
}

function host(strike: (scene: Scene, victim: LocalMember) => Promise<void> | void): Fault["inject"] {
  return async (scene): Promise<Injected> => {
    const { cluster, primary } = scene;
    await strike(scene, primary);
    return {
      what: `the host of ${primary.name}`,
      lastsMs: LASTS_MS,
      mend: async () => {
        cluster.network.mend();
        cluster.signal(primary, "everything", "SIGCONT");
        await cluster.boot(primary);
      },
    };
  };
}

export const ASYNC_FAULTS: readonly Fault[] = [
  { name: "member of the primary frozen (async)", setup, expects: "no failover", inject: freeze("member") },
  {
    name: "member of the primary killed (async)",
    setup,
    expects: "writes",
    inject: (scene) => {
      scene.cluster.signal(scene.primary, "member", "SIGKILL");
      return { what: scene.primary.name, mend: () => scene.cluster.boot(scene.primary) };
    },
  },
  {
    name: "postmaster of the primary killed (async)",
    setup,
    expects: "writes",
    inject: ({ cluster, primary }) => {
      cluster.signal(primary, "postmaster", "SIGKILL");
      return { what: primary.name };
    },
  },
  {
    name: "host of the primary dies (async)",
    setup,
    expects: "failover",
    mayLose: true,
    inject: host(({ cluster }, victim) => cluster.killHost(victim)),
  },
  {
    name: "host of the primary cut off (async)",
    setup,
    expects: "failover",
    mayLose: true,
    inject: host((scene, victim) => isolate(scene, victim, scene.cluster.othersThan(victim))),
  },
  {
    name: "host of the primary frozen (async)",
    setup,
    expects: "failover",
    mayLose: true,
    inject: host(({ cluster }, victim) => void cluster.signal(victim, "everything", "SIGSTOP")),
  },
];
