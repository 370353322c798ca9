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
