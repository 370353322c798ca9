/** Wakes the worker when Raft's clock has to move, and knows how late it was. */
import { Lateness } from "./lateness.ts";
import { type DueTicks, type TickMode, TickSchedule } from "./tick-schedule.ts";

export interface WakerPorts {
  nowMs(): number;
  mode(): TickMode;
  heartbeatTicks(): number;
  /** Who wakes later than this, again and again, is about to lose its followers. */
  lateLimitMs(): number;
  /** Time has passed. Whatever waited in the sockets was read before, if this thread was late. */
  onWake(due: DueTicks): void;
}

export class Waker {
  readonly lateness = new Lateness();
  readonly #ports: WakerPorts;
  readonly #schedule: TickSchedule;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isStopped = false;

  constructor(ports: WakerPorts) {
    this.#ports = ports;
    this.#schedule = new TickSchedule(ports.nowMs());
  }

  /** A leader was heard: what was quiet before does not count. */
  leaderHeard(nowMs: number): void {
    this.#schedule.leaderHeard(nowMs);
  }

  /** Plans the next time, instead of what was planned before. */
  sleep(): void {
    if (this.#isStopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const { nowMs, mode, heartbeatTicks, lateLimitMs } = this.#ports;
    const sleepMs = this.#schedule.plan(nowMs(), mode(), heartbeatTicks());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const wokenMs = nowMs();
      this.lateness.add(this.#schedule.lateMs(wokenMs), wokenMs, lateLimitMs());
      // After a pause the sockets may hold what we would otherwise miss; two turns, so that they have been read.
      if (this.#schedule.isLate(wokenMs)) setImmediate(() => setImmediate(() => this.#wake()));
      else this.#wake();
    }, sleepMs);
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #wake(): void {
    if (!this.#isStopped) this.#ports.onWake(this.#schedule.takeDue(this.#ports.nowMs()));
  }
}
