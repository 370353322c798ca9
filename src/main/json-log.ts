import pino from "pino";
import type { Log } from "../base/log.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** One JSON object a line on standard output: `time`, `level`, `event`, and the fields of the event. */
export function jsonLog(level: LogLevel, bound: Readonly<Record<string, unknown>>): Log {
  const logger = pino(
    {
      level,
      base: bound,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: "event",
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous: the line that says why a process ends must be out before it does.
    pino.destination({ dest: 1, sync: true }),
  );
  return {
    error: (event, fields) => logger.error(fields ?? {}, event),
    warn: (event, fields) => logger.warn(fields ?? {}, event),
    info: (event, fields) => logger.info(fields ?? {}, event),
    debug: (event, fields) => logger.debug(fields ?? {}, event),
  };
}
