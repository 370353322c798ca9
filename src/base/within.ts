import type { Clock } from "./clock.ts";

/** Something did not answer in time. It may still be at work. */
export class DeadlineExceeded extends Error {
  override readonly name = "DeadlineExceeded";

  constructor(what: string, deadlineMs: number) {
    super(`${what}: no answer within ${deadlineMs} ms`);
  }
}

/**
 * Waits for `work`, but not for longer than `deadlineMs`. The work itself is not ended: its owner must do that.
 *
 * @throws {DeadlineExceeded} when the time is over; whatever `work` rejects with before.
 */
export async function within<T>(
  work: PromiseLike<T>,
  deadlineMs: number,
  { clock, what }: { readonly clock: Clock; readonly what: string },
): Promise<T> {
  const done = new AbortController();
  const late = clock.sleep(deadlineMs, done.signal).then(() => {
    throw new DeadlineExceeded(what, deadlineMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort();
  }
}
