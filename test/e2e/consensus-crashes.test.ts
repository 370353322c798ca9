/** What clients of a group of three see while its processes are killed, stand still, and are asked to end. */

import { test } from "bun:test";
import { loopbackHosts } from "../support/consensus-group.ts";
import { PROCESS_FAULTS } from "../support/group-faults.ts";
import { repeatTrials, TRIALS_MS_MAX } from "../support/group-trial.ts";

test(
  "what clients see through kill -9, SIGSTOP and orderly ends is linearizable, and nothing acknowledged is lost",
  () => repeatTrials((seed) => ({ seed, hosts: loopbackHosts(3), faults: PROCESS_FAULTS })),
  TRIALS_MS_MAX,
);
