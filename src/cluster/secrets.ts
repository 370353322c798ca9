/**
 * What is a secret in what is agreed, by the place where it stands, and how it is shown: not at all. Names of people's own choice
 * (of roles, databases, members, rules) are no places: a role may be called `secret_agent`, and is shown. A field that nobody listed
 * here is a secret if its word says so, so that one that is added later is masked rather than shown.
 */

import { MADE_KINDS, OBJECT_KINDS } from "./grants.ts";

/** What a value holds, as far as secrets go. */
export type Place =
  | { readonly kind: "secret" }
  /** An object of fields; whatever is not named holds no secret, unless its word says so. */
  | { readonly kind: "fields"; readonly fields: Readonly<Record<string, Place>> }
  /** An object by names, or a list: each holds the same. */
  | { readonly kind: "names"; readonly each: Place }
  /** An object by the names of PostgreSQL's parameters. */
  | { readonly kind: "settings" };

/** Whether the value of this parameter is to be hidden. */
export type Hides = (parameter: string) => boolean;

const SECRET: Place = { kind: "secret" };
const PLAIN = fields({});
/** Parameters by their names. */
export const SETTINGS_PLACE: Place = { kind: "settings" };

/** Of a rule for connections. */
export const RULE_PLACE: Place = fields({
  options: fields({ ldapbindpasswd: SECRET, radiussecrets: SECRET }),
});

const ROLE = fields({
  password: SECRET,
  logins: fields({ selfVerifier: SECRET, aVerifier: SECRET, bVerifier: SECRET }),
  memberOf: names(PLAIN),
  settings: SETTINGS_PLACE,
  databaseSettings: names(SETTINGS_PLACE),
});
/** Privileges, by role. */
const GRANTS = names(PLAIN);
const OF_OBJECTS = Object.fromEntries(OBJECT_KINDS.map((kind) => [kind, names(GRANTS)]));
/** By the role that makes objects. */
const DEFAULT_GRANTS = names(fields(Object.fromEntries(MADE_KINDS.map((kind) => [kind, GRANTS]))));
const DATABASE = fields({
  settings: SETTINGS_PLACE,
  extensions: names(PLAIN),
  schemas: names(fields({ privileges: GRANTS, ...OF_OBJECTS, defaultPrivileges: DEFAULT_GRANTS })),
  privileges: GRANTS,
  defaultPrivileges: DEFAULT_GRANTS,
});

/** Of a `ClusterSpec`. */
export const SPEC_PLACE: Place = fields({
  postgres: fields({
    parameters: fields({
      cluster: SETTINGS_PLACE,
      primary: SETTINGS_PLACE,
      standby: SETTINGS_PLACE,
      members: names(SETTINGS_PLACE),
    }),
  }),
  access: fields({ hba: names(RULE_PLACE) }),
  declared: fields({ roles: names(ROLE), databases: names(DATABASE) }),
});

/** Of a `ClusterState`. */
export const STATE_PLACE: Place = fields({
  spec: SPEC_PLACE,
  authority: fields({ privateKeyPem: SECRET }),
  authorityChange: fields({ other: fields({ privateKeyPem: SECRET }) }),
  members: names(PLAIN),
  tokens: names(fields({ secretHash: SECRET })),
  joinTokens: names(fields({ secretHash: SECRET })),
  breakGlass: names(fields({ verifier: SECRET })),
});

const SECRET_WORD = /secret|passw(?!ord_encryption)|passphrase|verifier|privatekey|hash$/i;
/** Commands and connection strings: what a password is written into where there is no better place. */
const CARRIERS: ReadonlySet<string> = new Set([
  "archive_cleanup_command",
  "archive_command",
  "primary_conninfo",
  "recovery_end_command",
  "restore_command",
  "ssl_passphrase_command",
]);
const CARRIER_WORD = /\..*(?:command|program)$/;
/** In settings that are strings of their own: connection strings and URLs. */
const PASSWORD_SAID = /(passw(?:or)?d\s*=\s*)(?:'[^']*'|\S+)/gi;
const PASSWORD_IN_URL = /(:\/\/[^\s:/@]+:)[^\s@]+@/g;

export const MASK = "***";

function fields(of: Readonly<Record<string, Place>>): Place {
  return { kind: "fields", fields: of };
}

function names(each: Place): Place {
  return { kind: "names", each };
}

/** Whether the value of a parameter is a secret, whoever asks: parameters have names that mean something. */
export function isSecretParameter(name: string): boolean {
  return SECRET_WORD.test(name);
}

/** Whether a secret may be written into the value of a parameter: only who may say it sees it. */
export function mayCarrySecret(name: string): boolean {
  return CARRIERS.has(name) || CARRIER_WORD.test(name) || isSecretParameter(name);
}

/** What stands in an object at this key. */
export function placeIn(place: Place, key: string, hides: Hides = isSecretParameter): Place {
  switch (place.kind) {
    case "secret":
      return SECRET;
    case "names":
      return place.each;
    case "settings":
      return hides(key) ? SECRET : PLAIN;
    default: {
      const field = Object.hasOwn(place.fields, key) ? place.fields[key] : undefined;
      return field ?? (SECRET_WORD.test(key) ? SECRET : PLAIN);
    }
  }
}

/** What stands in a list. */
export function placeInList(place: Place): Place {
  return place.kind === "names" ? place.each : place;
}

/** What stands at a path of keys. */
export function placeAt(place: Place, path: readonly string[], hides: Hides = isSecretParameter): Place {
  return path.reduce((at, key) => placeIn(at, key, hides), place);
}

/** The same value, as JSON has it, with every secret in it masked. Where there is none, there is nothing to mask. */
export function masked(value: unknown, place: Place, hides: Hides = isSecretParameter): unknown {
  if (value === null || value === undefined) return null;
  if (place.kind === "secret") return MASK;
  if (typeof value === "string") return maskedText(value);
  if (Array.isArray(value)) return value.map((each) => masked(each, placeInList(place), hides));
  if (typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) =>
      each === undefined ? [] : [[key, masked(each, placeIn(place, key, hides), hides)]],
    ),
  );
}

/** A text with the passwords masked that are said in it. */
export function maskedText(text: string): string {
  return text.replace(PASSWORD_SAID, `$1${MASK}`).replace(PASSWORD_IN_URL, `$1${MASK}@`);
}

/** Whether a text holds a mask instead of a password that was said in it. */
export function hasMask(text: string): boolean {
  const [said, inUrl] = [PASSWORD_SAID, PASSWORD_IN_URL].map((each) => text.match(each) ?? []);
  return [...(said ?? []), ...(inUrl ?? [])].some((found) => found.includes(MASK));
}

/**
 * What somebody means who was shown the value of a parameter masked, and sends it back: the same value.
 *
 * @returns null where it is a mask, and there is nothing that it could stand for.
 */
export function unmasked(parameter: string, given: string, present: string | undefined): string | null {
  if (given === MASK && mayCarrySecret(parameter)) return present ?? null;
  if (present !== undefined && given === maskedText(present)) return present;
  return hasMask(given) ? null : given;
}
