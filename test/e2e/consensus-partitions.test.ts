/** What clients of a group of three see while its network is cut, in one direction or both. */

import { afterAll, test } from "bun:test";
import { networkFaults } from "../support/group-faults.ts";
import { repeatTrials, TRIALS_MS_MAX } from "../support/group-trial.ts";
import { NamespaceNetwork } from "../support/network-namespaces.ts";

const refusal = NamespaceNetwork.refusal();
const network = refusal === null ? new NamespaceNetwork(3) : null;
afterAll(() => network?.remove());

test.skipIf(network === null)(
  `what clients see through partitions is linearizable, and nothing acknowledged is lost${refusal === null ? "" : ` (${refusal})`}`,
  () =>
    repeatTrials((seed) => {
      if (network === null) throw new Error("there is a network");
      return { seed, hosts: network.hosts, faults: networkFaults(network) };
    }),
  TRIALS_MS_MAX,
);
