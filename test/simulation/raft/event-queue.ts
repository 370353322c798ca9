import { assert, defined } from "../../../src/base/assert.ts";

interface Event {
  readonly at: number;
  readonly sequence: number;
  readonly run: () => void;
}

/** What is going to happen, in virtual time: a binary heap by (time, sequence). What is planned first comes first. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #now = 0;
  #sequence = 0;

  get now(): number {
    return this.#now;
  }

  /** How many things have been planned so far. */
  get sequence(): number {
    return this.#sequence;
  }

  in(delay: number, run: () => void): void {
    this.at(this.#now + delay, run);
  }

  at(moment: number, run: () => void): void {
    assert(moment >= this.#now, "nothing is planned for the past");
    this.#sequence += 1;
    this.#push({ at: moment, sequence: this.#sequence, run });
  }

  /** Lets the next thing happen, unless it is later than `moment`: then it becomes that time. */
  stepUntil(moment: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.at > moment) {
      this.#now = Math.max(this.#now, moment);
      return false;
    }
    this.#pop();
    this.#now = next.at;
    next.run();
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = defined(heap[parent], "a heap has no gap");
      if (!isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}
