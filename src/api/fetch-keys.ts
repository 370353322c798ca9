/** Asks an issuer for its public keys: by its discovery document, or where the settings say they are. */
import type { JSONWebKeySet, JWK } from "jose";
import { err, ok, type Result } from "../base/result.ts";
import { flawOfUrl, type IdentityProvider } from "../cluster/identity.ts";

/** For both documents together. */
const DEADLINE_MS = 5_000;
const BYTES_MAX = 262_144;
const KEYS_MAX = 100;
const PUBLIC_KINDS: ReadonlySet<unknown> = new Set(["RSA", "EC", "OKP"]);

/** The error says in a sentence why there are none. Nothing of the answer is in it. */
export async function fetchKeys(provider: IdentityProvider): Promise<Result<JSONWebKeySet, string>> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const uri = provider.jwksUri === undefined ? await discover(provider, signal) : ok(provider.jwksUri);
  if (!uri.ok) return uri;
  const answer = await fetchJson(uri.value, provider, signal);
  if (!answer.ok) return answer;
  const { keys } = answer.value;
  if (!Array.isArray(keys)) return err(`${uri.value} holds no set of keys`);
  const usable = keys.filter(isPublicSigningKey).slice(0, KEYS_MAX);
  return usable.length === 0 ? err(`${uri.value} holds no public key to verify with`) : ok({ keys: usable });
}

/** OpenID Connect Discovery 1.0, §4: the document must be about the very issuer that was asked. */
async function discover(provider: IdentityProvider, signal: AbortSignal): Promise<Result<string, string>> {
  const { issuer } = provider;
  const place = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const answer = await fetchJson(place, provider, signal);
  if (!answer.ok) return answer;
  const { issuer: said, jwks_uri: uri } = answer.value;
  if (said !== issuer) return err(`${place} is about another issuer`);
  const flaw = typeof uri === "string" ? flawOfUrl(uri) : "it is missing";
  return typeof uri === "string" && flaw === null ? ok(uri) : err(`jwks_uri in ${place}: ${flaw}`);
}

type Json = Readonly<Record<string, unknown>>;

async function fetchJson(
  url: string,
  { caCertificate }: IdentityProvider,
  signal: AbortSignal,
): Promise<Result<Json, string>> {
  try {
    const response = await fetch(url, {
      headers: { accept: "application/json" },
      redirect: "error",
      signal,
      ...(caCertificate === undefined ? {} : { tls: { ca: caCertificate } }),
    });
    if (!response.ok) return err(`${url} answers with status ${response.status}`);
    const text = await readBounded(response);
    const value: unknown = text === null ? null : JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? ok(value as Json) : err(`${url} does not answer with a JSON object of a fitting size`);
  } catch (error) {
    if (error instanceof SyntaxError) return err(`${url} does not answer with JSON`);
    if (error instanceof Error && error.name === "TimeoutError")
      return err(`${url} does not answer within ${DEADLINE_MS / 1_000} s`);
    return err(`${url} cannot be reached (${error instanceof Error ? error.message : String(error)})`);
  }
}

/** Null: it is longer than keys can be. */
async function readBounded({ body }: Response): Promise<string | null> {
  if (body === null) return "";
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A secret that two share is none of those: whoever verifies with it could sign. */
function isPublicSigningKey(key: unknown): key is JWK {
  if (typeof key !== "object" || key === null) return false;
  const { kty, use, d, kid } = key as Json;
  return (
    PUBLIC_KINDS.has(kty) &&
    (use === undefined || use === "sig") &&
    d === undefined &&
    (kid === undefined || typeof kid === "string")
  );
}
