/** The kinds of clusters that faults ask for. */

import type { Setup } from "./fault.ts";
import { FaultCluster } from "./fault-cluster.ts";

export function bringUp(setup: Setup): Promise<FaultCluster> {
  switch (setup) {
    case "three":
      return FaultCluster.bringUp({ size: 3 });
    case "five":
      return FaultCluster.bringUp({ size: 5 });
    case "three, small disks":
    case "three, disks that stall":
    case "three, clocks of their own":
      return FaultCluster.bringUp({ size: 3 });
  }
}
