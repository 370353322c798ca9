/** Time, as our code gets it. Only `main` knows the real one; tests and the simulator bring their own. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start: for every duration and deadline. Never jumps back. */
  nowMs(): number;
  /** Milliseconds since 1970, for people to read, and for what people named a time of. Never for a duration or a deadline. */
  wallMs(): number;
  /** Resolves after `durationMs`; rejects with the signal's reason if it is aborted first. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}
