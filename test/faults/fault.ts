/** What can happen to a cluster, and what has to be seen of it. */

import type { LocalMember } from "../../src/demo/local-cluster.ts";
import type { SeededRandom } from "../support/seeded-random.ts";
import type { FaultCluster } from "./fault-cluster.ts";

/** Made once for all faults that want it so. */
export type Setup =
  | "three"
  | "five"
  | "three, async"
  | "three, small disks"
  | "three, disks that stall"
  | "three, clocks of their own";

/**
 * What must be seen before it is mended:
 * - `failover`: another member is primary, and writes are acknowledged by it;
 * - `writes`: writes are acknowledged, by whomever; `no failover`: by the same primary in the same reign;
 * - `nothing`: writes may stand still for as long as it lasts.
 *
 * Once it is mended, the cluster has to be whole again by itself, always.
 */
export type Expectation = "failover" | "writes" | "no failover" | "nothing";

/** What a fault finds: a cluster that is whole. */
export interface Scene {
  readonly cluster: FaultCluster;
  readonly primary: LocalMember;
  readonly leader: LocalMember;
  /** In an order of the seed's choice. */
  readonly standbys: readonly LocalMember[];
  readonly random: SeededRandom;
  /** How long what is frozen stays so. */
  readonly freezeMs: number;
  /** How long what goes on for a while does. */
  readonly rollingMs: number;
}

/** What a fault leaves. */
export interface Injected {
  /** To be mended not before so much time has passed, whatever is seen. 0 if it does not say. */
  readonly lastsMs?: number;
  /** Nothing to be done if it does not say: what broke is left to heal by itself. */
  mend?(): Promise<unknown> | unknown;
  /** Whom it hit and how, for the report. */
  readonly what: string;
  /** When it began, on this process's monotonic clock, where that needed a preparation. */
  readonly beganMs?: number;
}

export interface Fault {
  readonly name: string;
  /** `three` if it does not say. */
  readonly setup?: Setup;
  readonly expects: Expectation;
  /** `async` durability: what was acknowledged may be gone, and is counted instead. */
  readonly mayLose?: boolean;
  inject(scene: Scene): Promise<Injected> | Injected;
}
