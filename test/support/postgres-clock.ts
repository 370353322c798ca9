import type { Clock } from "../../src/base/clock.ts";
import type { Log } from "../../src/base/log.ts";

/** Real time, for tests with real processes. */
export const realClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: (durationMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", cancel);
        resolve();
      }, durationMs);
      const cancel = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", cancel, { once: true });
    }),
};

/** Writes each event as one line of JSON to standard error. */
export const stderrLog: Log = {
  error: (event, fields) => write("error", event, fields),
  warn: (event, fields) => write("warn", event, fields),
  info: (event, fields) => write("info", event, fields),
  debug: (event, fields) => write("debug", event, fields),
};

function write(level: string, event: string, fields: object | undefined): void {
  process.stderr.write(`${JSON.stringify({ level, event, ...fields })}\n`);
}
