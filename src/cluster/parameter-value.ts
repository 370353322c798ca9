/** Values of parameters as PostgreSQL reads them, before PostgreSQL does: type, unit, range. Pure. */
import { err, ok, type Result } from "../base/result.ts";
import type { ServerSetting } from "./server-settings.ts";

type Kind = Pick<ServerSetting, "type" | "unit" | "min" | "max" | "choices">;

const MEMORY = { B: 1, kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 } as const;
const TIME = { us: 1, ms: 1e3, s: 1e6, min: 60e6, h: 3_600e6, d: 86_400e6 } as const;
/** One line of a configuration file. */
const VALUE_LENGTH_MAX = 4_000;

/**
 * A value in the form in which the server shows it (`pg_settings.setting`), so that two ways of writing one value are equal.
 * The error is the end of a sentence that begins with the parameter's name, and never repeats the value.
 */
export function normalizeValue(text: string, kind: Kind): Result<string, string> {
  const flaw = flawOfText(text);
  if (flaw !== null) return err(flaw);
  switch (kind.type) {
    case "bool":
      return parseBool(text);
    case "enum":
      return parseEnum(text, kind.choices ?? []);
    case "integer":
    case "real":
      return parseNumber(text, kind);
    case "string":
      return ok(text);
    default:
      // A type of a newer PostgreSQL: the server itself is asked before anything is accepted.
      return ok(text);
  }
}

/** Why a text can be no value at all, whatever the parameter; null: it can. */
export function flawOfText(text: string): string | null {
  if (text.length > VALUE_LENGTH_MAX) return `must have at most ${VALUE_LENGTH_MAX} characters`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what would break the line.
  return /[\u0000-\u001f\u007f]/.test(text) ? "must be one line without control characters" : null;
}

const TRUE = ["true", "yes", "on", "1"];
const FALSE = ["false", "no", "off", "0"];

function parseBool(text: string): Result<string, string> {
  const word = text.trim().toLowerCase();
  if (word !== "" && word !== "o") {
    if (TRUE.some((each) => each.startsWith(word))) return ok("on");
    if (FALSE.some((each) => each.startsWith(word))) return ok("off");
  }
  return err("must be on or off");
}

function parseEnum(text: string, choices: readonly string[]): Result<string, string> {
  const word = text.trim().toLowerCase();
  const found = choices.find((choice) => choice.toLowerCase() === word);
  return found === undefined ? err(`must be one of ${choices.join(", ")}`) : ok(found);
}

const NUMBER = /^\s*([+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*$/;

function parseNumber(text: string, kind: Kind): Result<string, string> {
  const [, digits = "", unit = ""] = NUMBER.exec(text) ?? [];
  if (digits === "") return err(`must be a number${unitsAllowed(kind.unit)}`);
  const scaled = scale(numberOf(digits), unit, kind.unit);
  if (scaled === null) return err(wrongUnit(kind.unit));
  const value = kind.type === "integer" ? roundEven(scaled) : scaled;
  const min = kind.min === null ? Number.NEGATIVE_INFINITY : Number(kind.min);
  const max = kind.max === null ? Number.POSITIVE_INFINITY : Number(kind.max);
  if (!(value >= min && value <= max)) return err(`must be ${rangeOf(kind)}`);
  return ok(formatNumber(value));
}

/** As C's `strtol` with base 0 does, a leading zero makes a whole number octal. */
function numberOf(digits: string): number {
  const [, sign = "", body = ""] = /^([+-]?)(.*)$/.exec(digits) ?? [];
  const isOctal = /^0[0-7]+$/.test(body);
  const value = isOctal ? Number.parseInt(body, 8) : Number(body);
  return sign === "-" ? -value : value;
}

/** In the parameter's own unit; null where the value's unit does not fit it. */
function scale(value: number, unit: string, base: string | null): number | null {
  if (unit === "") return value;
  const [, count = "", word = ""] = /^(\d*)([A-Za-z]+)$/.exec(base ?? "") ?? [];
  for (const units of [MEMORY, TIME] as const) {
    const table: Readonly<Record<string, number>> = units;
    const from = Object.hasOwn(table, unit) ? table[unit] : undefined;
    const to = Object.hasOwn(table, word) ? table[word] : undefined;
    if (from !== undefined && to !== undefined) return (value * from) / ((Number(count) || 1) * to);
  }
  return null;
}

/** To the nearest, half to even: as C's `rint`. */
function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function formatNumber(value: number): string {
  return value === 0 ? "0" : String(value);
}

function unitsOf(base: string | null): readonly string[] {
  const word = /[A-Za-z]+$/.exec(base ?? "")?.[0] ?? "";
  if (Object.hasOwn(MEMORY, word)) return Object.keys(MEMORY);
  return Object.hasOwn(TIME, word) ? Object.keys(TIME) : [];
}

function unitsAllowed(base: string | null): string {
  const units = unitsOf(base);
  return units.length === 0 ? "" : `, in ${base} or with one of the units ${units.join(", ")}`;
}

function wrongUnit(base: string | null): string {
  return unitsOf(base).length === 0
    ? "must be a number without a unit"
    : `must have one of the units ${unitsOf(base).join(", ")} (or none, for ${base})`;
}

/** What values a parameter takes, for people. */
export function rangeOf({ type, unit, min, max, choices }: Kind): string {
  if (type === "bool") return "on or off";
  if (type === "enum") return `one of ${(choices ?? []).join(", ")}`;
  if (type === "string" || min === null || max === null) return "text";
  const of = unit === null ? "" : ` (in ${unit})`;
  return `from ${min} to ${max}${of}`;
}

const SHOWN_MEMORY = ["TB", "GB", "MB", "kB"] as const;
const SHOWN_TIME = ["d", "h", "min", "s", "ms"] as const;

/** A server's value as PostgreSQL's SHOW writes it: in the largest unit that leaves a whole number. */
export function showValue({ setting, unit, type }: Pick<ServerSetting, "setting" | "unit" | "type">): string {
  const value = Number(setting);
  if (unit === null || type !== "integer" || !(value > 0)) return setting;
  for (const shown of [...SHOWN_MEMORY, ...SHOWN_TIME]) {
    const inBase = scale(1, shown, unit);
    if (inBase !== null && inBase > 0 && Number.isInteger(value / inBase)) return `${value / inBase}${shown}`;
  }
  return `${setting}${/^\d/.test(unit) ? ` x ${unit}` : unit}`;
}
