import { err, ok, type Result } from "./result.ts";

/** A range of IP addresses. The bits behind the prefix are zero. */
export interface IpNetwork {
  readonly bytes: readonly number[];
  readonly prefixLength: number;
}

/** Reads `10.0.0.0/8`, `2001:db8::/32`; without a prefix one address. Bits behind the prefix are dropped. */
export function parseIpNetwork(text: string): Result<IpNetwork, string> {
  const [host = "", prefix, ...rest] = text.split("/");
  const bytes = parseIpAddress(host);
  if (bytes === null || rest.length > 0) return err(`'${text}' is no IP address`);
  const bits = bytes.length * 8;
  if (prefix === undefined) return ok({ bytes, prefixLength: bits });
  if (!/^(0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > bits)
    return err(`'${text}' has a prefix that is not between 0 and ${bits}`);
  return ok(maskedTo({ bytes, prefixLength: Number(prefix) }));
}

/** The bytes of an address, 4 or 16; null where it is none. Only the full dotted form of IPv4 is taken. */
export function parseIpAddress(text: string): readonly number[] | null {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** How many leading bits a netmask sets; null where it is none, or has holes. */
export function prefixOfMask(text: string): { readonly prefixLength: number; readonly bits: number } | null {
  const bytes = parseIpAddress(text);
  if (bytes === null) return null;
  const digits = bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const match = /^(1*)0*$/.exec(digits);
  return match === null ? null : { prefixLength: match[1]?.length ?? 0, bits: digits.length };
}

/** As PostgreSQL shows it: always with its prefix. */
export function formatIpNetwork({ bytes, prefixLength }: IpNetwork): string {
  return `${formatIpAddress(bytes)}/${prefixLength}`;
}

/** Whether every address of `inner` is one of `outer`. An IPv4 network holds no IPv6 address. */
export function containsNetwork(outer: IpNetwork, inner: IpNetwork): boolean {
  if (outer.bytes.length !== inner.bytes.length || inner.prefixLength < outer.prefixLength) return false;
  const masked = maskedTo({ bytes: inner.bytes, prefixLength: outer.prefixLength });
  return masked.bytes.every((byte, index) => byte === outer.bytes[index]);
}

function maskedTo({ bytes, prefixLength }: IpNetwork): IpNetwork {
  const masked = bytes.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8));
    return byte & (0xff << (8 - bits)) & 0xff;
  });
  return { bytes: masked, prefixLength };
}

function parseIpv4(text: string): readonly number[] | null {
  const parts = text.split(".");
  const isWhole = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part));
  const bytes = parts.map(Number);
  return isWhole && bytes.every((byte) => byte <= 255) ? bytes : null;
}

function parseIpv6(text: string): readonly number[] | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half) => (half === "" ? [] : groupsOf(half)));
  if (head === undefined || head === null || tail === null) return null;
  if (tail === undefined) return head.length === 16 ? head : null;
  const missing = 16 - head.length - tail.length;
  return missing < 2 ? null : [...head, ...Array.from({ length: missing }, () => 0), ...tail];
}

/** The bytes of groups between colons; the last one may be an IPv4 address. */
function groupsOf(text: string): readonly number[] | null {
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    const ipv4 = group.includes(".") && index === groups.length - 1 ? parseIpv4(group) : null;
    if (ipv4 !== null) bytes.push(...ipv4);
    else if (/^[0-9A-Fa-f]{1,4}$/.test(group))
      bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff);
    else return null;
  }
  return bytes;
}

function formatIpAddress(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  );
  // The longest run of zeros, of at least two, is left out (RFC 5952).
  const { at, length } = longestRun(groups);
  if (length < 2) return groups.join(":");
  return `${groups.slice(0, at).join(":")}::${groups.slice(at + length).join(":")}`;
}

function longestRun(groups: readonly string[]): { readonly at: number; readonly length: number } {
  let longest = { at: 0, length: 0 };
  for (const at of groups.keys()) {
    const zeros = groups.slice(at).findIndex((group) => group !== "0");
    const length = zeros === -1 ? groups.length - at : zeros;
    if (length > longest.length) longest = { at, length };
  }
  return longest;
}
