/**
 * What the service manager is told of this process, by the protocol of `sd_notify(3)`: that it is up, that it lives
 * (`WatchdogSec`), that it ends. One that hangs is replaced then, whatever the durability; where nobody asked, nobody is told.
 */
import { closeSync } from "node:fs";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { openDatagram, sendDatagram } from "../supervisor/libc.ts";
import { STAND_IN_VARIABLE } from "../supervisor/member-guard.ts";

export interface ServiceManagerOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly processId: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Told so many times within what the service manager allows: one that comes late is no reason to end anybody. */
const SHARE = 4;

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  /** Null: nobody is to be told. */
  readonly #path: string | null;
  readonly #abort = new AbortController();
  /** Why it could not be told last: said once. */
  #complaint: string | null = null;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const { environment } = options;
    // Of a process that it did not start it wants to hear nothing.
    const isStandIn = environment[STAND_IN_VARIABLE] !== undefined;
    this.#path = isStandIn ? null : (environment["NOTIFY_SOCKET"] ?? null);
  }

  /** It is up. From now on the service manager hears that it lives, as long as `isAlive` and this process turn. */
  ready(isAlive: () => boolean): void {
    this.#tell("READY=1");
    const everyMs = this.#everyMs();
    if (everyMs !== null) void this.#keepTelling(everyMs, isAlive);
  }

  /** It ends, and is not to be taken for one that hangs meanwhile. */
  stopping(): void {
    this.#abort.abort();
    this.#tell("STOPPING=1");
  }

  /** Null: it does not wait for a sign of life of this process. */
  #everyMs(): number | null {
    const { environment, processId } = this.#options;
    const allowedUs = Number(environment["WATCHDOG_USEC"] ?? "");
    const whose = environment["WATCHDOG_PID"] ?? String(processId);
    if (this.#path === null || !Number.isFinite(allowedUs) || allowedUs <= 0) return null;
    return whose === String(processId) ? allowedUs / 1_000 / SHARE : null;
  }

  async #keepTelling(everyMs: number, isAlive: () => boolean): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      if (isAlive()) this.#tell("WATCHDOG=1");
      await this.#options.clock.sleep(everyMs, signal).catch(() => {
        // Aborted: the loop sees it.
      });
    }
  }

  #tell(state: string): void {
    if (this.#path === null) return;
    const file = openDatagram(this.#path);
    const why = typeof file === "string" ? file : sendDatagram(file, Buffer.from(state));
    if (typeof file !== "string") closeSync(file);
    const complaint = why === "sent" ? null : why;
    if (complaint !== null && complaint !== this.#complaint)
      this.#options.log.warn("service-manager.not-told", { state, why });
    this.#complaint = complaint;
  }
}
