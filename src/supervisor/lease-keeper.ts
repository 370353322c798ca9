import type { Epoch } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { HostTime } from "./host-time.ts";
import { extended, isStanding, type Lease, type LeaseExtension, stopsAtMs, stopTimes } from "./lease.ts";
import { LeaseFile } from "./lease-file.ts";
import type { Postmaster } from "./postmaster.ts";
import type { SupervisorLook } from "./protocol.ts";
import { RequestRefused } from "./refused.ts";
import type { Watchdog } from "./watchdog.ts";

export interface LeaseKeeperOptions {
  readonly leaseFile: string;
  readonly hostTime: HostTime;
  readonly postmaster: Postmaster;
  readonly watchdog: Watchdog;
  readonly log: Log;
  /** PostgreSQL runs, and its directory says that it was promoted. */
  readonly isPrimary: () => boolean;
  /** A pledge was given for this epoch: nothing is extended any more, and no primary made. */
  readonly isPledged: (epoch: Epoch) => boolean;
  /** Called often while PostgreSQL reigns under a lease. */
  readonly onReigning: (lease: Lease) => void;
  /** The lease is over, and nothing of PostgreSQL runs that reigned under it. */
  readonly onEnded: (epoch: Epoch) => void;
}

const TICK_MS = 20;

/**
 * Holds PostgreSQL to its lease, whatever becomes of the member: when the lease ends, PostgreSQL ends before it. The time
 * of the end is looked for in ticks, on the host's own time: a timer alone would sleep through a suspended host.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #file: LeaseFile;
  #lease: Lease | null = null;
  /** PostgreSQL was opened under the lease, or had been when it was given. */
  #isReigning = false;
  #isEnding = false;
  #timer: Timer | null = null;

  /** Takes up the lease that an earlier supervisor of this boot held. */
  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#file = new LeaseFile(options.leaseFile);
    const { kept } = this.#file;
    if (kept === null) return;
    if (kept.bootId !== options.hostTime.bootId) {
      // Of another boot: over, and so is every PostgreSQL that reigned under it.
      this.#keep();
      return;
    }
    const { epoch, untilMs, durationMs, isReigning } = kept;
    this.#lease = { epoch, untilMs, durationMs };
    this.#isReigning = isReigning;
    options.log.info("supervisor.lease.found", { epoch, remainingMs: untilMs - options.hostTime.nowMs() });
    this.#startTicking();
  }

  /** The lease that stands, for a look. Null while PostgreSQL is being stopped at its end, and once it was pledged away. */
  get held(): NonNullable<SupervisorLook["lease"]> | null {
    const nowMs = this.#options.hostTime.nowMs();
    if (this.#isEnding || !isStanding(this.#lease, nowMs)) return null;
    const { epoch, untilMs } = this.#lease;
    return this.#options.isPledged(epoch) ? null : { epoch, remainingMs: untilMs - nowMs };
  }

  /** There is a PostgreSQL to hold to its lease, be that pledged away or about to end. */
  get isHolding(): boolean {
    return this.#lease !== null && this.#mayReign();
  }

  /**
   * When this resolves, the next supervisor holds PostgreSQL to a lease too: that there is one, that is, not to its last
   * extension. What it finds may end earlier, never later.
   */
  async extend(extension: LeaseExtension): Promise<void> {
    // What is being stopped is not taken back: it stands as a standby in a moment.
    if (this.#isEnding) return;
    const { hostTime, isPrimary } = this.#options;
    const lease = extended(this.#lease, extension, hostTime.nowMs());
    if (lease === null || lease === this.#lease) return;
    const isSame = lease.epoch === this.#lease?.epoch;
    const isReigning = (isSame && this.#isReigning) || isPrimary();
    const isKnown = isSame && isReigning === this.#isReigning;
    this.#lease = lease;
    this.#isReigning = isReigning;
    this.#startTicking();
    if (isKnown) this.#keep();
    else await this.#file.keep(this.#kept());
  }

  /**
   * PostgreSQL is about to be opened under the lease of `epoch`. When this resolves, the next supervisor knows it too.
   *
   * @throws {RequestRefused} `no-lease`, or `no-watchdog` where one is required and does not work.
   */
  async beginReign(epoch: Epoch): Promise<void> {
    const lease = this.#requireStanding(epoch);
    if (!this.#options.watchdog.arm(lease.durationMs))
      throw new RequestRefused("no-watchdog", "a watchdog device is required here, and none works");
    this.#isReigning = true;
    await this.#file.keep(this.#kept());
    this.#requireStanding(epoch);
  }

  /** Commits are guarded by standbys again: PostgreSQL needs no lease for `epoch`. */
  release(epoch: Epoch): void {
    if (this.#lease === null || this.#lease.epoch > epoch || this.#isEnding) return;
    this.#drop();
    this.#options.log.info("supervisor.lease.released", { epoch });
  }

  /** Nothing is left of what ran, and whatever is started now is a standby. */
  reignIsOver(): void {
    if (!this.#isReigning) return;
    this.#isReigning = false;
    this.#options.watchdog.release();
    this.#keep();
  }

  /** Looks at the time. @returns whether PostgreSQL is being stopped because the lease ends. */
  tick(): boolean {
    const lease = this.#lease;
    if (lease === null) {
      this.stopTicking();
      return false;
    }
    const { hostTime, watchdog, onReigning, log } = this.#options;
    const nowMs = hostTime.nowMs();
    if (nowMs >= stopsAtMs(lease) && !this.#isEnding) {
      this.#end(lease, nowMs).catch((error: unknown) => {
        log.error("supervisor.lease.not-ended", { epoch: lease.epoch, error: String(error) });
      });
    }
    if (this.#isEnding) return true;
    if (this.#isReigning) {
      if (watchdog.arm(lease.durationMs)) watchdog.keep(lease.untilMs - nowMs);
      onReigning(lease);
    }
    return false;
  }

  stopTicking(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #startTicking(): void {
    this.#timer ??= setInterval(() => this.tick(), TICK_MS);
  }

  #requireStanding(epoch: Epoch): Lease {
    const lease = this.#lease;
    const nowMs = this.#options.hostTime.nowMs();
    if (lease?.epoch === epoch && !this.#isEnding && isStanding(lease, nowMs)) return lease;
    throw new RequestRefused("no-lease", `no lease stands here for epoch ${epoch}`);
  }

  /** Acts before it writes or logs anything: the disk that would take that may be what hangs. */
  async #end(lease: Lease, nowMs: number): Promise<void> {
    const { postmaster, hostTime, onEnded, log } = this.#options;
    this.#isEnding = true;
    try {
      const { epoch } = lease;
      const mayReign = this.#mayReign();
      const { fastMs, immediateMs } = stopTimes(lease, nowMs);
      const isGone = !mayReign || (await postmaster.stop("fast", fastMs, immediateMs));
      const fields = { epoch, wasReigning: mayReign, leftMs: lease.untilMs - hostTime.nowMs() };
      if (isGone) {
        this.#drop();
        onEnded(epoch);
        log.warn("supervisor.lease.ended", fields);
      } else {
        // It is tried again at the next tick; a watchdog is not fed any more.
        log.error("supervisor.lease.not-ended", fields);
      }
    } finally {
      this.#isEnding = false;
    }
  }

  #mayReign(): boolean {
    return this.#isReigning || this.#options.isPrimary();
  }

  #drop(): void {
    this.#lease = null;
    this.#isReigning = false;
    this.#options.watchdog.release();
    this.#keep();
    this.stopTicking();
  }

  #kept() {
    const { bootId } = this.#options.hostTime;
    return this.#lease === null ? null : { ...this.#lease, bootId, isReigning: this.#isReigning };
  }

  #keep(): void {
    this.#file.keep(this.#kept()).catch((error: unknown) => {
      // The one on disk ends earlier, which is safe; this process holds PostgreSQL to the one in memory.
      this.#options.log.warn("supervisor.lease.not-kept", { error: String(error) });
    });
  }
}
