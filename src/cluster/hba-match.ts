/**
 * Which rule a connection meets, as `check_hba` of PostgreSQL decides it: the first that fits, and none means no.
 *
 * What only the server knows (of which roles a user is a member, what a name resolves to) may be unknown here. Then a rule
 * may or may not fit, and that is said.
 */
import { containsNetwork, parseIpAddress, parseIpNetwork } from "../base/ip-network.ts";
import type { HbaRule } from "./hba-rule.ts";
import { tokenOf } from "./hba-text.ts";

export interface Attempt {
  readonly user: string;
  readonly database: string;
  /** Physical replication: it names no database. */
  readonly isReplication: boolean;
  /** Null: over the Unix socket. */
  readonly network: { readonly address: string; readonly encryption: "none" | "ssl" | "gss" } | null;
}

export interface Facts {
  /** Of the server: before 16, `/…` is a name like any other. Null: not known. */
  readonly major: number | null;
  /** Roles that the user is a member of, directly or not. Null: not known. */
  readonly memberOf: readonly string[] | null;
}

export interface Met {
  /** The first rule that surely fits; null: none does, and the connection is refused. */
  readonly index: number | null;
  /** Rules before it that may fit as well, and what would have to be known. */
  readonly open: readonly { readonly index: number; readonly unknown: string }[];
}

/** `true`, `false`, or what would have to be known. */
type Fit = boolean | string;

const FIRST_MAJOR_WITH_REGULAR_EXPRESSIONS = 16;

/** The rule that decides about a connection. */
export function meetRule(rules: readonly HbaRule[], attempt: Attempt, facts: Facts): Met {
  const open: { readonly index: number; readonly unknown: string }[] = [];
  for (const [index, rule] of rules.entries()) {
    const fit = fitsRule(rule, attempt, facts);
    if (fit === true) return { index, open };
    if (typeof fit === "string") open.push({ index, unknown: fit });
  }
  return { index: null, open };
}

function fitsRule(rule: HbaRule, attempt: Attempt, facts: Facts): Fit {
  return allOf([
    fitsType(rule, attempt),
    attempt.network === null ? true : fitsAddress(rule.address ?? "", attempt.network.address),
    anyOf(rule.databases.map((name) => fitsDatabase(name, attempt, facts))),
    anyOf(rule.users.map((name) => fitsUser(name, attempt, facts))),
  ]);
}

function fitsType({ type }: HbaRule, { network }: Attempt): boolean {
  if (type === "local" || network === null) return type === "local" && network === null;
  const isSsl = network.encryption === "ssl";
  const isGss = network.encryption === "gss";
  const excluded = {
    host: false,
    hostssl: !isSsl,
    hostnossl: isSsl,
    hostgssenc: !isGss,
    hostnogssenc: isGss,
  };
  return !excluded[type];
}

function fitsAddress(wanted: string, given: string): Fit {
  if (wanted === "all") return true;
  const client = parseIpNetwork(given);
  if (!client.ok) return "the client's address";
  const isLoopback = given === "::1" || given.startsWith("127.");
  if (wanted === "samehost")
    return given === "127.0.0.1" || given === "::1" ? true : "the server's own addresses";
  if (wanted === "samenet") return isLoopback ? true : "the networks of the server's own addresses";
  const network = parseIpNetwork(wanted);
  if (network.ok) return containsNetwork(network.value, client.value);
  return `whether ${given} is called '${wanted}', forwards and backwards`;
}

function fitsDatabase(name: string, attempt: Attempt, facts: Facts): Fit {
  const { text, isQuoted } = tokenOf(name);
  if (attempt.isReplication) return text === "replication" && !isQuoted;
  if (!isQuoted) {
    if (text === "all") return true;
    if (text === "sameuser") return attempt.database === attempt.user;
    if (text === "samerole") return isMember(attempt.database, attempt, facts);
    if (text === "replication") return false;
  }
  return fitsName(text, attempt.database, facts);
}

function fitsUser(name: string, attempt: Attempt, facts: Facts): Fit {
  const { text, isQuoted } = tokenOf(name);
  if (text.startsWith("+") && !isQuoted) return isMember(text.slice(1), attempt, facts);
  if (text === "all" && !isQuoted) return true;
  return fitsName(text, attempt.user, facts);
}

/** Everybody is a member of the role of the same name. That somebody is a superuser makes nobody a member. */
function isMember(role: string, { user }: Attempt, { memberOf }: Facts): Fit {
  if (role === user || memberOf?.includes(role) === true) return true;
  return memberOf === null ? `whether ${user} is a member of the role ${role}` : false;
}

function fitsName(wanted: string, given: string, { major }: Facts): Fit {
  if (!wanted.startsWith("/") || (major !== null && major < FIRST_MAJOR_WITH_REGULAR_EXPRESSIONS))
    return wanted === given;
  const isFit = matches(wanted.slice(1), given);
  if (isFit === null) return `whether '${given}' matches ${wanted}, which only PostgreSQL can say`;
  return major === null && isFit !== (wanted === given) ? "the version of PostgreSQL" : isFit;
}

/** What the two languages of regular expressions have in common; beyond that null. */
function matches(expression: string, text: string): boolean | null {
  const isCommon = !/\\[^.d\-_+*?^$()[\]{}|/\\]|\(\?|\[\[|\*\*|\*:/.test(expression);
  if (!isCommon) return null;
  try {
    return new RegExp(expression, "u").test(text);
  } catch {
    // PostgreSQL may understand it all the same.
    return null;
  }
}

function allOf(fits: readonly Fit[]): Fit {
  if (fits.includes(false)) return false;
  return fits.find((fit) => typeof fit === "string") ?? true;
}

function anyOf(fits: readonly Fit[]): Fit {
  if (fits.includes(true)) return true;
  return fits.find((fit) => typeof fit === "string") ?? false;
}

/** Whether the text of an attempt's address is one. */
export function isAddress(text: string): boolean {
  return parseIpAddress(text) !== null;
}
