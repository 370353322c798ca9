/** Every fault there is. */

import { ASYNC_FAULTS } from "./async-faults.ts";
import { CLOCK_FAULTS } from "./clock-faults.ts";
import { DISK_FAULTS } from "./disk-faults.ts";
import { DOUBLE_FAULTS } from "./double-faults.ts";
import type { Fault } from "./fault.ts";
import { NETWORK_FAULTS } from "./network-faults.ts";
import { PHASE_FAULTS } from "./phase-faults.ts";
import { PROCESS_FAULTS } from "./process-faults.ts";

export const FAULTS: readonly Fault[] = [
  ...PROCESS_FAULTS,
  ...NETWORK_FAULTS,
  ...PHASE_FAULTS,
  ...DOUBLE_FAULTS,
  ...DISK_FAULTS,
  ...CLOCK_FAULTS,
  ...ASYNC_FAULTS,
];
