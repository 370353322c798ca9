import type { EventQueue } from "./event-queue.ts";

const LINES_MAX = 20_000;

/**
 * What happened, as a person reads it. Words cost more than the world itself, so they are only made when somebody wants
 * them: a world that fails is lived again, with a trace.
 */
export class Trace {
  readonly lines: string[] = [];
  readonly #queue: EventQueue;
  readonly #isWanted: boolean;
  #hash = 0x811c9dc5;

  constructor(queue: EventQueue, isWanted: boolean) {
    this.#queue = queue;
    this.#isWanted = isWanted;
  }

  /** Of all that was noted: times and order always, words if they are wanted. */
  get hash(): number {
    return this.#hash;
  }

  note(text: () => string): void {
    this.#hash = Math.imul(this.#hash ^ this.#queue.sequence ^ (this.#queue.now << 8), 0x01000193) >>> 0;
    if (!this.#isWanted) return;
    this.lines.push(`${String(this.#queue.now).padStart(6)} ${text()}`);
    if (this.lines.length > LINES_MAX) this.lines.splice(0, LINES_MAX / 2);
  }
}
