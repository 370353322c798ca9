import type { Random } from "../../src/base/random.ts";

/** Chance that repeats: the same seed gives the same numbers (mulberry32; 32 bits of state, no BigInt). */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  integer(min: number, max: number): number {
    return min + Math.floor(this.#fraction() * (max - min + 1));
  }

  /** True in `percent` of 100 cases; fractions are fine. */
  chance(percent: number): boolean {
    return this.#fraction() * 100 < percent;
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.integer(0, items.length - 1)];
  }

  /** A whole number from 0 on: mostly small, now and then several times `mean`. */
  exponential(mean: number): number {
    return Math.floor(-Math.log(1 - this.#fraction()) * mean);
  }

  /** The same items in another order. */
  shuffle<T>(items: readonly T[]): readonly T[] {
    const shuffled = [...items];
    for (let at = shuffled.length - 1; at > 0; at -= 1) {
      const other = this.integer(0, at);
      [shuffled[at], shuffled[other]] = [shuffled[other] as T, shuffled[at] as T];
    }
    return shuffled;
  }

  /** An independent source: what it is asked for does not change what this one answers next. */
  fork(): SeededRandom {
    return new SeededRandom(this.integer(0, 0xffffffff));
  }

  #fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}
