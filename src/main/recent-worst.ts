/** How bad it was lately: the worst of the last ten seconds, and how often it was beyond a limit. */

const BUCKET_MS = 1000;
const BUCKETS = 10;

/** For how long a measurement counts. */
export const RECENT_MS = BUCKET_MS * BUCKETS;

interface Bucket {
  number: number;
  worstMs: number;
  count: number;
  slowCount: number;
}

export class RecentWorst {
  readonly #slowMs: number;
  readonly #buckets: Bucket[] = [];

  /** @param slowMs what takes longer is counted as slow. */
  constructor(slowMs: number) {
    this.#slowMs = slowMs;
  }

  add(durationMs: number, nowMs: number): void {
    const number = Math.floor(nowMs / BUCKET_MS);
    let bucket = this.#buckets.at(-1);
    if (bucket === undefined || bucket.number < number) {
      bucket = { number, worstMs: 0, count: 0, slowCount: 0 };
      this.#buckets.push(bucket);
      if (this.#buckets.length > BUCKETS) this.#buckets.shift();
    }
    bucket.worstMs = Math.max(bucket.worstMs, durationMs);
    bucket.count += 1;
    if (durationMs > this.#slowMs) bucket.slowCount += 1;
  }

  /** 0 where nothing was measured. */
  worstMs(nowMs: number): number {
    return this.#recent(nowMs).reduce((worst, bucket) => Math.max(worst, bucket.worstMs), 0);
  }

  slowCount(nowMs: number): number {
    return this.#recent(nowMs).reduce((sum, bucket) => sum + bucket.slowCount, 0);
  }

  count(nowMs: number): number {
    return this.#recent(nowMs).reduce((sum, bucket) => sum + bucket.count, 0);
  }

  #recent(nowMs: number): readonly Bucket[] {
    const first = Math.floor(nowMs / BUCKET_MS) - BUCKETS;
    return this.#buckets.filter(({ number }) => number > first);
  }
}
