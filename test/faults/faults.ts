/** Every fault there is. */

import type { Fault } from "./fault.ts";
import { NETWORK_FAULTS } from "./network-faults.ts";
import { PROCESS_FAULTS } from "./process-faults.ts";

export const FAULTS: readonly Fault[] = [...PROCESS_FAULTS, ...NETWORK_FAULTS];
