/** What clients of a group of three see while a member's disk fills up, and while one is lost and the member replaced. */

import { test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { loopbackHosts } from "../support/consensus-group.ts";
import { DISK_FAULTS } from "../support/group-faults.ts";
import { repeatTrials, TRIALS_MS_MAX } from "../support/group-trial.ts";
import { giveSmallDisk, mountRefusal } from "../support/small-disk.ts";

const DISK_MEGABYTES = 48;
const refusal = mountRefusal();

test.skipIf(refusal !== null)(
  `what clients see through full and lost disks is linearizable, and nothing acknowledged is lost${refusal === null ? "" : ` (${refusal})`}`,
  () =>
    repeatTrials((seed) => ({
      seed,
      hosts: loopbackHosts(3),
      faults: DISK_FAULTS,
      prepare: ({ members }) => giveSmallDisk(defined(members.at(-1), "there are members"), DISK_MEGABYTES),
    })),
  TRIALS_MS_MAX,
);
