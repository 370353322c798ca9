/**
 * One rule of `pg_hba.conf`, with the meaning that PostgreSQL gives it. A name is written as in the file: double quotes take
 * the meaning of a keyword away (`"all"` is a database of that name), `/…` is a regular expression, `+…` a role's members.
 */
import { formatIpNetwork, parseIpAddress, parseIpNetwork } from "../base/ip-network.ts";
import { err, ok, type Result } from "../base/result.ts";
import { formatToken, readToken, type Token } from "./hba-token.ts";

export interface HbaRule {
  /** Of this rule among the others, for whoever wants to speak of it. Absent: it has its place only. */
  readonly name?: string;
  readonly type: HbaType;
  readonly databases: readonly string[];
  readonly users: readonly string[];
  /** Absent for `local` only: `all`, `samehost`, `samenet`, a range as CIDR, a host name, or `.suffix`. */
  readonly address?: string;
  readonly method: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly comment?: string;
  /** In force only while the member is one of these. Absent: both. */
  readonly roles?: readonly HbaRole[];
  /** In force only on the members of these names. Absent: all. */
  readonly members?: readonly string[];
}

export const HBA_TYPES = ["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"] as const;
export type HbaType = (typeof HBA_TYPES)[number];

export const HBA_ROLES = ["primary", "standby"] as const;
export type HbaRole = (typeof HBA_ROLES)[number];

/** How a line of `pg_ident.conf` maps a name that the system vouches for to a database user. */
export interface IdentMap {
  readonly map: string;
  /** `/…`: a regular expression, whose first group may stand as `\1` in the database user. */
  readonly systemUser: string;
  readonly databaseUser: string;
}

/** What operators want of access, instead of the rules that apply where they said nothing. */
export interface AccessSpec {
  /** The generation that said so: what a member reports to have in force. */
  readonly revision: number;
  readonly hba: readonly HbaRule[];
  readonly identMaps?: readonly IdentMap[];
}

export const RULES_MAX = 2_000;
export const IDENT_MAPS_MAX = 500;
const NAMES_MAX = 200;
const COMMENT_MAX = 2_000;
const OPTIONS_MAX = 40;
/** No name is a number. */
export const RULE_NAME = /^[a-z][a-z0-9_.-]{0,39}$/;
const NAME_MAX = 500;
/** Names of maps that are guacamole's own begin so. */
const OWN_PREFIX = "guacamole";

const DATABASE_KEYWORDS: ReadonlySet<string> = new Set(["all", "sameuser", "samerole", "replication"]);
const USER_KEYWORDS: ReadonlySet<string> = new Set(["all"]);
const NO_KEYWORDS: ReadonlySet<string> = new Set();
const ADDRESS_KEYWORDS: ReadonlySet<string> = new Set(["all", "samehost", "samenet"]);

/** Authentication methods, and the options that each takes beside those of the connection's type. */
const METHODS: Readonly<Record<string, readonly string[]>> = {
  trust: [],
  reject: [],
  "scram-sha-256": [],
  md5: [],
  password: [],
  gss: ["include_realm", "krb_realm", "map"],
  ident: ["map"],
  peer: ["map"],
  pam: ["pamservice", "pam_use_hostname"],
  ldap: [
    "ldapurl",
    "ldaptls",
    "ldapscheme",
    "ldapserver",
    "ldapport",
    "ldapbinddn",
    "ldapbindpasswd",
    "ldapsearchattribute",
    "ldapsearchfilter",
    "ldapbasedn",
    "ldapprefix",
    "ldapsuffix",
  ],
  radius: ["radiusservers", "radiussecrets", "radiusports", "radiusidentifiers"],
  cert: ["map"],
};
const CERTIFICATE_OPTIONS = ["clientcert", "clientname"] as const;

/** Begins the comment that says, in a file, for which roles and members the next rule is. */
export const SCOPE_WORD = "guacamole:";

/** Options whose values are secrets. */
export const SECRET_OPTIONS: ReadonlySet<string> = new Set(["ldapbindpasswd", "radiussecrets"]);

/** In its canonical form, so that equal rules are written equally. The error says what is wrong, in a sentence. */
export function checkRule(rule: HbaRule): Result<HbaRule, string> {
  const { name, type, comment, roles, members } = rule;
  if (name !== undefined && !RULE_NAME.test(name))
    return err(
      "a rule's name begins with a letter and has at most 40 lower-case letters, digits, dots, dashes and underscores",
    );
  // The old name for it.
  const method = type === "local" && rule.method === "ident" ? "peer" : rule.method;
  const databases = checkNames("databases", rule.databases, DATABASE_KEYWORDS);
  if (!databases.ok) return databases;
  const users = checkNames("users", rule.users, USER_KEYWORDS);
  if (!users.ok) return users;
  const address = checkAddress(type, rule.address);
  if (!address.ok) return address;
  const known = checkMethod(type, method);
  if (known !== null) return err(known);
  const options = checkOptions(type, method, rule.options ?? {});
  if (!options.ok) return options;
  if (comment !== undefined && !isComment(comment))
    return err(
      `a comment is text of at most ${COMMENT_MAX} characters, without control characters, and no line of it begins with '${SCOPE_WORD}'`,
    );
  if (roles !== undefined && roles.length === 0)
    return err("roles is empty: the rule would never be in force");
  if (members !== undefined && members.length === 0)
    return err("members is empty: the rule would never be in force");
  const isEverywhere = roles === undefined || HBA_ROLES.every((role) => roles.includes(role));
  return ok({
    ...(name === undefined ? {} : { name }),
    type,
    databases: databases.value,
    users: users.value,
    ...(address.value === null ? {} : { address: address.value }),
    method,
    ...(Object.keys(options.value).length === 0 ? {} : { options: options.value }),
    ...(comment === undefined || comment.trim() === "" ? {} : { comment: trimLines(comment) }),
    ...(isEverywhere ? {} : { roles: HBA_ROLES.filter((role) => roles.includes(role)) }),
    ...(members === undefined ? {} : { members: [...new Set(members)].sort() }),
  });
}

/** In its canonical form. The error says what is wrong, in a sentence. */
export function checkIdentMap({ map, systemUser, databaseUser }: IdentMap): Result<IdentMap, string> {
  const checked: string[] = [];
  for (const [name, value] of Object.entries({ map, systemUser, databaseUser })) {
    const token = readToken(value);
    if (!token.ok) return err(`${name}: ${token.error}`);
    const wrong = whyNoName(token.value) ?? (hasControls(value) ? "control characters are in it" : null);
    if (wrong !== null) return err(`${name}: ${wrong}`);
    checked.push(canonicalName(token.value, name === "databaseUser" ? USER_KEYWORDS : NO_KEYWORDS));
  }
  const [mapName = "", system = "", database = ""] = checked;
  if (mapName.replace(/^"/, "").startsWith(OWN_PREFIX))
    return err(`maps whose names begin with '${OWN_PREFIX}' are guacamole's own`);
  return ok({ map: mapName, systemUser: system, databaseUser: database });
}

function checkNames(
  field: string,
  names: readonly string[],
  keywords: ReadonlySet<string>,
): Result<readonly string[], string> {
  if (names.length === 0) return err(`${field} is empty`);
  if (names.length > NAMES_MAX) return err(`${field} has more than ${NAMES_MAX} names`);
  const checked: string[] = [];
  for (const name of names) {
    const token = readToken(name);
    if (!token.ok) return err(`${field}: ${token.error}`);
    const wrong = whyNoName(token.value);
    if (wrong !== null) return err(`${field}: ${wrong}`);
    checked.push(canonicalName(token.value, keywords));
  }
  return ok([...new Set(checked)]);
}

function whyNoName({ text, isQuoted }: Token): string | null {
  if (text === "" || hasControls(text)) return "a name is empty, or has control characters";
  if (text.length > NAME_MAX) return `a name is longer than ${NAME_MAX} characters`;
  if (text.startsWith("@") && !isQuoted)
    return `'${text}' names another file, which is not replicated: write the names themselves`;
  if (text === "+" && !isQuoted) return "'+' needs the name of a role behind it";
  return null;
}

/** Quotes stay only where they mean something. */
function canonicalName({ text, isQuoted }: Token, keywords: ReadonlySet<string>): string {
  // The old word for it.
  if (text === "samegroup" && !isQuoted && keywords.has("samerole")) return "samerole";
  const isSpecial = keywords.has(text) || text === "samegroup" || /^[@+]/.test(text);
  return formatToken(text, isQuoted && isSpecial);
}

function checkAddress(type: HbaType, address: string | undefined): Result<string | null, string> {
  if (type === "local")
    return address === undefined ? ok(null) : err("a rule for 'local' has no address: it is the Unix socket");
  if (address === undefined) return err(`a rule for '${type}' needs an address; 'all' is every one`);
  if (ADDRESS_KEYWORDS.has(address)) return ok(address);
  if (address.includes("/") || parseIpAddress(address) !== null) {
    const network = parseIpNetwork(address);
    return network.ok ? ok(formatIpNetwork(network.value)) : network;
  }
  return isHostName(address)
    ? ok(address.toLowerCase())
    : err(`'${address.slice(0, 80)}' is no address: a range as CIDR, a host name, all, samehost or samenet`);
}

/** Also `.suffix`. Whatever looks like a number is an address that is not written out, and PostgreSQL would read it so. */
function isHostName(text: string): boolean {
  const labels = text.replace(/^\./, "").split(".");
  const isForm = labels.every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label));
  const last = labels.at(-1) ?? "";
  return text.length <= 253 && isForm && !/^(\d+|0x[0-9a-f]*)$/i.test(last);
}

function checkMethod(type: HbaType, method: string): string | null {
  if (METHODS[method] === undefined) {
    const known = Object.keys(METHODS).join(", ");
    return `'${method.slice(0, 40)}' is no authentication method that guacamole knows (${known})`;
  }
  if (method === "peer" && type !== "local") return "'peer' works on the Unix socket only (type local)";
  if (method === "cert" && type !== "hostssl") return "'cert' needs type hostssl";
  if (method === "gss" && type === "local") return "'gss' does not work on the Unix socket";
  return null;
}

function checkOptions(
  type: HbaType,
  method: string,
  options: Readonly<Record<string, string>>,
): Result<Readonly<Record<string, string>>, string> {
  const names = Object.keys(options).sort();
  if (names.length > OPTIONS_MAX) return err(`options has more than ${OPTIONS_MAX} entries`);
  const known = [...(METHODS[method] ?? []), ...(type === "hostssl" ? CERTIFICATE_OPTIONS : [])];
  for (const name of names) {
    const value = options[name] ?? "";
    if (!known.includes(name)) {
      const what = known.length === 0 ? "none" : known.join(", ");
      return err(`'${name.slice(0, 40)}' is no option of '${method}' on '${type}' (there: ${what})`);
    }
    if (value.length > COMMENT_MAX || hasControls(value))
      return err(
        `the value of ${name} must be at most ${COMMENT_MAX} characters, without control characters`,
      );
  }
  return ok(Object.fromEntries(names.map((name) => [name, options[name] ?? ""])));
}

/** What says for whom a rule is, in a file, would be taken for that. */
function isComment(text: string): boolean {
  const isScope = text.split("\n").some((line) => line.trim().startsWith(SCOPE_WORD));
  return text.length <= COMMENT_MAX && !hasControls(text.replaceAll("\n", "")) && !isScope;
}

function trimLines(text: string): string {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.join("\n").trim();
}

function hasControls(text: string): boolean {
  return [...text].some((character) => character < " " || character === "\u007f");
}
