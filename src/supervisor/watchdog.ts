import type { Log } from "../base/log.ts";
import type { WatchdogDevice } from "./watchdog-device.ts";

/** `automatic`: used where it works. `required`: no primary is made under a lease without it. */
export type WatchdogMode = "off" | "automatic" | "required";

export const WATCHDOG_MODES: readonly WatchdogMode[] = ["off", "automatic", "required"];

/** Null: there is no such mode. */
export function parseWatchdogMode(text: string): WatchdogMode | null {
  return WATCHDOG_MODES.find((mode) => mode === text) ?? null;
}

export interface WatchdogOptions {
  readonly mode: WatchdogMode;
  /** Opens the device, which begins to count at once. @throws {Error} saying why it cannot be used. */
  readonly open: () => WatchdogDevice;
  readonly nowMs: () => number;
  readonly log: Log;
}

/** A device that is there but held (by the supervisor before us, which is ending) is asked for again so often. */
const TRY_AGAIN_MS = 1_000;
/** The share of a lease that may pass between two renewals, so that the device is fed in time. */
const RENEWAL_SHARE = 1 / 4;

/**
 * Resets the host should it not be able to end PostgreSQL before its lease ends: because everything on it stands still, or
 * because this process was killed and nobody took its place.
 *
 * The device resets the host `timeout` after it was fed last. So it is fed only while more than that is left of the lease:
 * whenever the last feeding was, the reset comes before the end.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  #device: WatchdogDevice | null = null;
  #timeoutMs = 0;
  #leaseMs = 0;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #wasWarned = false;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /**
   * A lease of this length is held, and PostgreSQL reigns under it or is about to.
   *
   * @returns false if a watchdog is required and does not work.
   */
  arm(leaseMs: number): boolean {
    const { mode, open, nowMs, log } = this.#options;
    if (mode === "off") return true;
    if (this.#device !== null && this.#leaseMs === leaseMs) return true;
    if (nowMs() - this.#triedAtMs < TRY_AGAIN_MS) return mode !== "required";
    this.#triedAtMs = nowMs();
    let device = this.#device;
    this.#device = null;
    try {
      device ??= open();
      this.#timeoutMs = device.setTimeout(timeoutSeconds(leaseMs)) * 1_000;
      if (this.#timeoutMs >= leaseMs)
        throw new Error(`it cannot be set below ${this.#timeoutMs} ms, and a lease lasts ${leaseMs} ms`);
      this.#device = device;
      this.#leaseMs = leaseMs;
      this.#wasWarned = false;
      log.info("supervisor.watchdog.armed", { timeoutMs: this.#timeoutMs, leaseMs });
      return true;
    } catch (error) {
      if (device !== null) this.#disarm(device);
      if (!this.#wasWarned) log.warn("supervisor.watchdog.unusable", { mode, error: String(error) });
      this.#wasWarned = true;
      return mode !== "required";
    }
  }

  /** So much is left of the lease. */
  keep(remainingMs: number): void {
    if (this.#device === null || remainingMs <= this.#timeoutMs) return;
    try {
      this.#device.feed();
    } catch (error) {
      // It counts on, and may well reset the host: the next look opens it anew, where that is possible.
      this.#options.log.error("supervisor.watchdog.not-fed", { error: String(error) });
      this.#device = null;
    }
  }

  /** Nothing reigns under a lease here any more: the host is not reset. */
  release(): void {
    if (this.#device === null) return;
    this.#disarm(this.#device);
    this.#device = null;
  }

  #disarm(device: WatchdogDevice): void {
    try {
      device.disarm();
      this.#options.log.info("supervisor.watchdog.disarmed");
    } catch (error) {
      this.#options.log.error("supervisor.watchdog.not-disarmed", { error: String(error) });
    }
  }
}

/**
 * What the device is set to, in the whole seconds it knows. As long as can be: what is left of a lease swings between all of
 * it and all but what passes until the next renewal, so with a longer timeout the device would starve while all is well.
 */
export function timeoutSeconds(leaseMs: number): number {
  return Math.max(1, Math.floor((leaseMs * (1 - RENEWAL_SHARE)) / 1_000));
}
