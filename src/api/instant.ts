import { err, ok, type Result } from "../base/result.ts";

const INSTANT =
  /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?$/;

/**
 * A point in time as people write it, in RFC 3339: with a zone, so that it means the same on every host. Seconds may be left
 * out. The error ends a sentence that begins with the field's name.
 *
 * @returns milliseconds of the wall clock.
 */
export function parseInstant(text: string): Result<number, string> {
  const [, date, minutes, seconds = ":00", fraction = "", zone] = INSTANT.exec(text) ?? [];
  if (date === undefined || minutes === undefined) return err(`is no time: ${EXAMPLE}`);
  if (zone === undefined) return err(`has no zone, and would mean another time on each host: ${EXAMPLE}`);
  // A day that there is not would be taken for one of the next month.
  const day = new Date(`${date}T00:00:00Z`);
  const hasDay = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date);
  const wallMs = Date.parse(`${date}T${minutes}${seconds}${fraction.slice(0, 4)}${zone.toUpperCase()}`);
  return hasDay && !Number.isNaN(wallMs) ? ok(wallMs) : err(`is no time that there is: ${EXAMPLE}`);
}

const EXAMPLE = "write it like 2027-01-31T03:00:00+01:00 or 2027-01-31T02:00:00Z";
