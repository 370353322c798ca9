/** A hash of what was hashed before is not computed again: parts that did not change are the same objects. */
const known = new WeakMap<object, string>();

/**
 * SHA-256 of a JSON value, hexadecimal: equal for equal values, whatever the order of their keys. Of an object or a list it is
 * made of the hashes of its parts, so that one change in something large costs little. What is hashed must not be changed later.
 */
export function hashJson(value: unknown): string {
  if (typeof value !== "object" || value === null) return sha256(`v${JSON.stringify(value)}`);
  const before = known.get(value);
  if (before !== undefined) return before;
  const hash = Array.isArray(value) ? sha256(`l${value.map(hashJson).join("")}`) : hashRecord(value);
  known.set(value, hash);
  return hash;
}

function hashRecord(value: object): string {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  const parts = entries.map(([key, each]) => `${JSON.stringify(key)}${hashJson(each)}`);
  return sha256(`r${parts.sort().join("")}`);
}

function sha256(text: string): string {
  // biome-ignore lint/style/noRestrictedGlobals: a hash is no effect, and WebCrypto's is a promise
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
