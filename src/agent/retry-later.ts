const FIRST_MS = 50;
const LAST_MS = 10_000;

/**
 * Holds back a plan that keeps being decided although it was carried out: something does not take. The waits double from
 * 50 ms to 10 s, and begin anew as soon as another plan is carried out.
 */
export class RetryLater {
  #key = "";
  #count = 0;
  #doneAtMs = 0;

  /** Milliseconds until the plan may be carried out again; 0: now. */
  delayMs(key: string, nowMs: number): number {
    if (key !== this.#key) return 0;
    const pauseMs = Math.min(FIRST_MS * 2 ** (this.#count - 1), LAST_MS);
    return Math.max(0, this.#doneAtMs + pauseMs - nowMs);
  }

  /** The plan was carried out, well or badly. */
  done(key: string, nowMs: number): void {
    this.#count = key === this.#key ? this.#count + 1 : 1;
    this.#key = key;
    this.#doneAtMs = nowMs;
  }
}
