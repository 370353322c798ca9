import type { PostgresStatus } from "../cluster/observation.ts";

/** A walreceiver calls itself streaming until its upstream's refusal has come: only one that goes on for so long gets WAL. */
const FED_MS = 300;
/** A standby that has got nothing for so long is looked at, and again after as long. */
const LOOK_EVERY_MS = 1_000;

/** Since when a standby has got no WAL, and when to look how far it comes without. */
export class Hunger {
  #hungrySinceMs: number | null = null;
  #fedSinceMs: number | null = null;
  #lookedAtMs = 0;

  /** What was just seen. */
  note(postgres: PostgresStatus, nowMs: number): void {
    const isStandby = postgres.kind === "standby" || postgres.kind === "starting";
    const isFed = postgres.kind === "standby" && postgres.walReceiver?.status === "streaming";
    this.#fedSinceMs = isFed ? (this.#fedSinceMs ?? nowMs) : null;
    const isOver = this.#fedSinceMs !== null && nowMs - this.#fedSinceMs >= FED_MS;
    this.#hungrySinceMs = !isStandby || isOver ? null : (this.#hungrySinceMs ?? nowMs);
  }

  /** Whether the next look is to be one at its WAL, too. True once a second at most. */
  isLookDue(nowMs: number): boolean {
    if (this.#hungrySinceMs === null) return false;
    if (nowMs - Math.max(this.#hungrySinceMs, this.#lookedAtMs) < LOOK_EVERY_MS) return false;
    this.#lookedAtMs = nowMs;
    return true;
  }
}
