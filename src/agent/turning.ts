import type { Clock } from "../base/clock.ts";

/**
 * A loop that turns when something happened, and at the latest after the time its last turn asked for.
 *
 * Turns never overlap; any number of wake-ups during a turn lead to one more.
 */
export class Turning {
  readonly #clock: Clock;
  readonly #turn: () => Promise<number>;
  readonly #stop = new AbortController();
  #wake: AbortController = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  /** `turn` does the work and resolves with the milliseconds until the next turn, should nothing wake it before. */
  constructor(clock: Clock, turn: () => Promise<number>) {
    this.#clock = clock;
    this.#turn = turn;
  }

  start(): void {
    this.#ended = this.#run();
  }

  /** Turns again as soon as the present turn is over. */
  wake(): void {
    this.#wake.abort();
  }

  /** No turn begins after this; resolves once the present one is over. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      const delayMs = await this.#turn();
      if (this.#stop.signal.aborted) return;
      await this.#sleep(delayMs);
    }
  }

  async #sleep(delayMs: number): Promise<void> {
    const { signal } = this.#wake;
    if (signal.aborted) return;
    try {
      await this.#clock.sleep(delayMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
