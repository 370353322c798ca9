import type { Clock } from "../base/clock.ts";

/** The real time: monotonic from `performance`, whose origin all threads of a process are brought to by `Bun.nanoseconds`. */
export const systemClock: Clock = {
  nowMs: () => Bun.nanoseconds() / 1e6,
  wallMs: () => Date.now(),
  sleep: (durationMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, durationMs);
      signal?.addEventListener("abort", onAbort, { once: true });
    }),
};
