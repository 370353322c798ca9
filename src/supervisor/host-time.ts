import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostUptimeMs } from "./libc.ts";

/** This host's own time: the same for every process on it, sleep included, moved by no setting of a clock. */
export interface HostTime {
  /** Names this boot of the host. */
  readonly bootId: string;
  /** Milliseconds since some moment that is of this boot alone. Whole, and never ahead. */
  nowMs(): number;
}

const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";
/** Boots lie so far apart in this time: 99 days, and 2^18 places for them, which a whole number still holds. */
const BOOT_SPACING_MS = 2 ** 33;
const BOOT_PLACES = 2 ** 18;

/**
 * The time of this boot. A stamp of another boot lies far in its past or its future, so that neither extends a lease here:
 * uptime alone begins anew, and a stamp of yesterday would look like one of today.
 */
export function hostTime(): HostTime {
  const bootId = readFileSync(BOOT_ID_FILE, "utf8").trim();
  const offsetMs = bootOffsetMs(bootId);
  return { bootId, nowMs: () => Math.floor(offsetMs + hostUptimeMs()) };
}

/** Where the time of a boot begins. */
export function bootOffsetMs(bootId: string): number {
  const place = createHash("sha256").update(bootId).digest().readUInt32BE(0) % BOOT_PLACES;
  return place * BOOT_SPACING_MS;
}
