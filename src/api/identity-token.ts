/** Whom a token of an identity provider names, and what that one may do: verified by `jose`, decided by our rules. */
import {
  decodeJwt,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
  type ProtectedHeaderParameters,
} from "jose";
import { err, ok, type Result } from "../base/result.ts";
import { authorOf, type IdentityProvider } from "../cluster/identity.ts";
import type { Scope } from "../cluster/state.ts";
import { nameOf, scopesOf } from "./claim-scopes.ts";
import type { IssuerKeys } from "./issuer-keys.ts";

export interface Identified {
  readonly provider: string;
  /** `issuer#subject`. */
  readonly by: string;
  readonly name: string | null;
  /** Empty: no rule gives one. */
  readonly scopes: readonly Scope[];
}

/** Why a token names nobody. */
export interface NotIdentified {
  /** `expired`: it is genuine, and was good; `no-keys`: nobody can tell for now; `invalid`: anything else. */
  readonly kind: "expired" | "no-keys" | "invalid";
  /** In a sentence, for the log: nothing of the token is in it but the issuer that it claims. */
  readonly why: string;
  /** Once its signature was right. */
  readonly by: string | null;
}

/** Three parts, each base64url: a signed JWT, and no token of ours. */
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Whether a bearer token is for an identity provider to vouch for. */
export function isSignedToken(bearer: string): boolean {
  return COMPACT.test(bearer);
}

/** An ID token, or an access token after RFC 9068. Others are signed by the same keys, and let nobody in: a logout token. */
const TYPES: ReadonlySet<string> = new Set(["jwt", "at+jwt", "application/at+jwt"]);
/** OpenID Connect Core 1.0, §2: at most 255 ASCII characters. */
const SUBJECT = /^[\x20-\x7e]{1,255}$/;

/**
 * @param wallMs by this member's wall clock.
 * @param keys fetched where they are not known, or not known well enough.
 */
export async function identify(
  jwt: string,
  providers: readonly IdentityProvider[],
  keys: IssuerKeys,
  wallMs: number,
): Promise<Result<Identified, NotIdentified>> {
  const read = readUnverified(jwt);
  if (read === null) return refuse("it cannot be read as a signed token");
  const { header, issuer } = read;
  const provider = providers.find((each) => each.issuer === issuer);
  if (provider === undefined) return refuse(`nobody trusts the issuer that it names: ${shown(issuer)}`);
  const flaw = flawOfHeader(header, provider);
  if (flaw !== null) return refuse(`${flaw} (${provider.name})`);
  const verifier = await keys.verifierFor(provider, header.kid);
  if (!verifier.ok) return refuse(`there are no keys of ${provider.name}: ${verifier.error}`, "no-keys");
  return verify(jwt, provider, verifier.value, wallMs);
}

async function verify(
  jwt: string,
  provider: IdentityProvider,
  getKey: JWTVerifyGetKey,
  wallMs: number,
): Promise<Result<Identified, NotIdentified>> {
  const { name, issuer } = provider;
  let claims: JWTPayload;
  try {
    const verified = await jwtVerify(jwt, getKey, {
      issuer,
      audience: [...provider.audiences],
      algorithms: [...provider.algorithms],
      clockTolerance: provider.clockToleranceSeconds,
      maxTokenAge: provider.maxAgeSeconds,
      requiredClaims: ["sub", "exp"],
      currentDate: new Date(wallMs),
    });
    claims = verified.payload;
  } catch (error) {
    return explain(error, provider);
  }
  const { sub } = claims;
  if (typeof sub !== "string" || !SUBJECT.test(sub))
    return refuse(`its subject is not 1 to 255 characters of ASCII (${name})`);
  const by = authorOf(issuer, sub);
  if (provider.blockedSubjects?.includes(sub) === true)
    return refuse(`its subject is blocked (${name})`, "invalid", by);
  return ok({ provider: name, by, name: nameOf(provider, claims), scopes: scopesOf(provider, claims) });
}

function readUnverified(
  jwt: string,
): { readonly header: ProtectedHeaderParameters; readonly issuer: string | undefined } | null {
  try {
    const header = decodeProtectedHeader(jwt);
    const { iss } = decodeJwt(jwt);
    return { header, issuer: typeof iss === "string" ? iss : undefined };
  } catch {
    // Whatever is wrong with it: nothing of it is signed for us.
    return null;
  }
}

function flawOfHeader({ alg, typ }: ProtectedHeaderParameters, provider: IdentityProvider): string | null {
  if (!provider.algorithms.some((allowed) => allowed === alg)) return "its algorithm is not allowed";
  const isKnown = typ === undefined || (typeof typ === "string" && TYPES.has(typ.toLowerCase()));
  return isKnown ? null : "it is a token of another kind (typ)";
}

/** What `jose` found, in our words. Claims are looked at once the signature is right. */
function explain(error: unknown, provider: IdentityProvider): Result<Identified, NotIdentified> {
  const { name, issuer } = provider;
  if (error instanceof errors.JWTExpired) {
    const isTooOld = error.claim === "iat";
    const why = isTooOld ? `issued more than ${provider.maxAgeSeconds} s ago` : "token expired";
    return refuse(`${why} (${name})`, "expired", signedBy(error.payload, issuer));
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const why =
      error.claim === "aud" && error.reason !== "missing"
        ? "wrong audience"
        : error.reason === "missing"
          ? `the claim ${error.claim} is missing`
          : error.claim === "nbf" || error.claim === "iat"
            ? "it is not good yet: is a clock wrong?"
            : `the claim ${error.claim} is not as it should be`;
    return refuse(`${why} (${name})`, "invalid", signedBy(error.payload, issuer));
  }
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return refuse(`its signature is wrong (${name})`);
  if (error instanceof errors.JWKSNoMatchingKey) return refuse(`it is signed by no key of ${name}`);
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return refuse(`it does not say which key of ${name} it is signed by, and several fit`);
  if (error instanceof errors.JOSEError) return refuse(`it is not as it should be: ${error.code} (${name})`);
  // A key that the runtime cannot use, for instance.
  return refuse(`it cannot be verified (${name})`);
}

function signedBy({ sub }: JWTPayload, issuer: string): string | null {
  return typeof sub === "string" && SUBJECT.test(sub) ? authorOf(issuer, sub) : null;
}

function refuse(
  why: string,
  kind: NotIdentified["kind"] = "invalid",
  by: string | null = null,
): { readonly ok: false; readonly error: NotIdentified } {
  return err({ kind, why, by });
}

const SHOWN_MAX = 100;

function shown(issuer: string | undefined): string {
  return issuer === undefined ? "none" : issuer.replace(/\p{Cc}/gu, "?").slice(0, SHOWN_MAX);
}
