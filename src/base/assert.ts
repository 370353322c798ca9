/** A broken promise of our own code. Nobody catches it: the process ends and says which promise was broken. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * Holds our own code to a promise, in production too.
 *
 * `promise` states what is true, positively ("the log has no gap"). What the *world* may do wrong is never asserted:
 * that is a `Result`.
 *
 * @throws {AssertionError} if `condition` is false.
 */
export function assert(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new AssertionError(`broken promise: ${promise}`);
}

/** Ends a `switch` over a union: a forgotten case does not compile, and one that slips through throws. */
export function unreachable(value: never): never {
  throw new AssertionError(`broken promise: every case is handled, but got ${JSON.stringify(value)}`);
}

/** The value, which our own code promises is there. */
export function defined<T>(value: T | null | undefined, promise: string): T {
  assert(value !== null && value !== undefined, promise);
  return value;
}
