/** What is a secret in what is agreed, by the name that it goes by, and how it is shown: not at all. */

const SECRET = /secret|passw(?!ord_encryption)|passphrase|verifier|privatekey|hash$/i;
/** In settings that are strings of their own: connection strings and URLs. */
const PASSWORD_SAID = /(passw(?:or)?d\s*=\s*)(?:'[^']*'|\S+)/gi;
const PASSWORD_IN_URL = /(:\/\/[^\s:/@]+:)[^\s@]+@/g;

export const MASK = "***";

/** Whether a value of this name is a secret. */
export function isSecret(name: string): boolean {
  return SECRET.test(name);
}

/** Whether a value is, or holds, a mask instead of a secret. */
export function isMasked(name: string, value: string): boolean {
  if (isSecret(name)) return value === MASK;
  const [said, inUrl] = [PASSWORD_SAID, PASSWORD_IN_URL].map((each) => value.match(each) ?? []);
  return [...(said ?? []), ...(inUrl ?? [])].some((found) => found.includes(MASK));
}

/**
 * What somebody means who was shown a value with its secrets masked, and sends it back: the same value.
 *
 * @returns null where it is a mask, and there is nothing that it could stand for.
 */
export function unmasked(name: string, given: string, present: string | undefined): string | null {
  if (present !== undefined && given === withoutSecrets(present, name)) return present;
  return isMasked(name, given) ? null : given;
}

/** As JSON, with every secret in it masked. */
export function textWithoutSecrets(value: unknown): string {
  return JSON.stringify(value, (key, each: unknown) => {
    if (isSecret(key) && each !== null) return MASK;
    if (typeof each !== "string") return each;
    return each.replace(PASSWORD_SAID, `$1${MASK}`).replace(PASSWORD_IN_URL, `$1${MASK}@`);
  });
}

/** The same value, as JSON has it, with every secret in it masked; `name` is the one that it goes by itself. */
export function withoutSecrets(value: unknown, name = ""): unknown {
  if (isSecret(name) && value !== null && value !== undefined) return MASK;
  return value === undefined ? null : (JSON.parse(textWithoutSecrets(value)) as unknown);
}
