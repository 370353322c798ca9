import { createHash, timingSafeEqual } from "node:crypto";
import { err, ok, type Result } from "../base/result.ts";

/** A token as its owner holds it. Only the id and the hash of the secret are agreed and stored. */
export interface TokenParts {
  readonly id: string;
  readonly secret: string;
}

export interface JoinTokenParts extends TokenParts {
  /** SHA-256 of the cluster CA's certificate (DER), hexadecimal: the joiner trusts exactly that one. */
  readonly caFingerprint: string;
}

const TOKEN = /^gcm_([A-Za-z0-9-]{1,64})_([A-Za-z0-9-]{16,128})$/;
const JOIN_TOKEN = /^gcm_join\.([A-Za-z0-9-]{1,64})\.([A-Za-z0-9-]{16,128})\.([0-9a-f]{64})$/;

export function formatToken({ id, secret }: TokenParts): string {
  return `gcm_${id}_${secret}`;
}

/** The error never repeats the text: it may be a secret with a typing error. */
export function parseToken(text: string): Result<TokenParts, string> {
  const match = TOKEN.exec(text);
  if (match === null) return err("this is not a token (it looks like gcm_ID_SECRET)");
  return ok({ id: match[1] ?? "", secret: match[2] ?? "" });
}

export function formatJoinToken({ id, secret, caFingerprint }: JoinTokenParts): string {
  return `gcm_join.${id}.${secret}.${caFingerprint}`;
}

/** The error never repeats the text. */
export function parseJoinToken(text: string): Result<JoinTokenParts, string> {
  const match = JOIN_TOKEN.exec(text);
  if (match === null) {
    return err(
      "this is not a join token (it looks like gcm_join.ID.SECRET.FINGERPRINT); 'guacamole member add' on a member makes one",
    );
  }
  return ok({ id: match[1] ?? "", secret: match[2] ?? "", caFingerprint: match[3] ?? "" });
}

/** SHA-256, hexadecimal: what the state keeps of a secret. Secrets are long and random, so no salt or stretching. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** Compares in constant time; `secretHash` is what the state holds. */
export function secretMatches(secret: string, secretHash: string): boolean {
  const given = Buffer.from(hashSecret(secret));
  const kept = Buffer.from(secretHash);
  return given.length === kept.length && timingSafeEqual(given, kept);
}

/**
 * Whoever asks an API for this server name (SNI) is shown a certificate of the cluster's own authority, also where the API has
 * one of its owner's: a joiner knows nothing but that authority. No resolver ever answers for it (RFC 6761, RFC 9476).
 */
export const CLUSTER_SERVER_NAME = "member.guacamole.internal";

/** SHA-256 of a certificate's DER form, hexadecimal, as `openssl x509 -fingerprint -sha256` shows it without colons. */
export function certificateFingerprint(pem: string): string {
  const base64 = pem.replace(/-----[A-Z ]+-----/g, "").replace(/\s+/g, "");
  return createHash("sha256").update(Buffer.from(base64, "base64")).digest("hex");
}
