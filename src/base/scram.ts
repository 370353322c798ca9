import { preparePassword } from "./saslprep.ts";

/** What PostgreSQL takes by default; more makes each login slower, for the server too. */
export const SCRAM_ITERATIONS = 4096;

/** Bytes of salt that PostgreSQL uses itself. */
export const SCRAM_SALT_BYTES = 16;

const VERIFIER = /^SCRAM-SHA-256\$[1-9]\d{0,9}:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/;
const KEY_BITS = 256;

// biome-ignore lint/style/noRestrictedGlobals: arithmetic of the same object; chance comes in as the salt.
const { subtle } = crypto;

/**
 * What PostgreSQL keeps of a password (`pg_authid.rolpassword`), and takes instead of one in `CREATE ROLE … PASSWORD`. Who has
 * it can check a password and cannot log in with it. RFC 5802 and 7677; PostgreSQL's `scram_build_secret`.
 * @param salt Chance, `SCRAM_SALT_BYTES` long, never used twice.
 */
export async function scramVerifier(
  password: string,
  salt: Uint8Array,
  iterations: number = SCRAM_ITERATIONS,
): Promise<string> {
  const saltedPassword = await derive(preparePassword(password), salt, iterations);
  const clientKey = await hmac(saltedPassword, "Client Key");
  const storedKey = new Uint8Array(await subtle.digest("SHA-256", clientKey));
  const serverKey = await hmac(saltedPassword, "Server Key");
  return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`;
}

/** Has the form that PostgreSQL takes for a verifier; whatever has not, it would take for a password. */
export function isScramVerifier(text: string): boolean {
  return VERIFIER.test(text);
}

async function derive(
  password: string,
  salt: Uint8Array,
  iterations: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await subtle.importKey("raw", new TextEncoder().encode(password), "PBKDF2", false, [
    "deriveBits",
  ]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: Uint8Array.from(salt), iterations };
  return new Uint8Array(await subtle.deriveBits(how, key, KEY_BITS));
}

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const how = { name: "HMAC", hash: "SHA-256" };
  const imported = await subtle.importKey("raw", key, how, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", imported, new TextEncoder().encode(text)));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
