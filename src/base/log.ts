export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Logging, as our code gets it: a constant dotted event name that one can search for, and fields with units.
 *
 * error = an operation failed and had no effect · warn = it worked, but look · info = a step that was taken.
 */
export interface Log {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
}
