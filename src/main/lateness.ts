/** How late this thread wakes up: what steals its time (a busy machine, a long turn) also delays its heartbeats. */

/** Ten seconds of a leader's wake-ups. */
const SAMPLES_MAX = 200;
/** Of fewer the 99th percentile says nothing. */
const SAMPLES_MIN = 20;
const WINDOW_MS = 10_000;

interface Sample {
  readonly atMs: number;
  readonly lateMs: number;
}

export class Lateness {
  readonly #samples: Sample[] = [];
  #lateSinceMs: number | null = null;

  /** A wake-up at `nowMs` that was planned `lateMs` earlier. */
  add(lateMs: number, nowMs: number, limitMs: number): void {
    this.#samples.push({ atMs: nowMs, lateMs: Math.max(0, lateMs) });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    if (this.p99Ms(nowMs) <= limitMs) this.#lateSinceMs = null;
    else this.#lateSinceMs ??= nowMs;
  }

  /** 0 where too little is known. */
  p99Ms(nowMs: number): number {
    while (this.#samples[0] !== undefined && this.#samples[0].atMs < nowMs - WINDOW_MS) this.#samples.shift();
    if (this.#samples.length < SAMPLES_MIN) return 0;
    // Of up to 200 samples that is the second worst.
    let worst = 0;
    let second = 0;
    for (const { lateMs } of this.#samples) {
      if (lateMs > worst) {
        second = worst;
        worst = lateMs;
      } else if (lateMs > second) {
        second = lateMs;
      }
    }
    return second;
  }

  /** Since when the 99th percentile is beyond the limit; null: it is not. */
  get lateSinceMs(): number | null {
    return this.#lateSinceMs;
  }
}
