/** What a verified token says of whoever has it: pure, from its claims. */
import type { IdentityProvider } from "../cluster/identity.ts";
import type { Scope } from "../cluster/state.ts";

export type Claims = Readonly<Record<string, unknown>>;

/** Claims that hold several words in one text (RFC 8693 §4.2). */
const WORDS: ReadonlySet<string> = new Set(["scope", "scp"]);

/** Every scope that a rule gives for these claims, once; none where no rule fits. */
export function scopesOf({ scopes }: IdentityProvider, claims: Claims): readonly Scope[] {
  const given = scopes.filter(({ claim, value }) => valuesOf(claims, claim).includes(value));
  return [...new Set(given.map(({ scope }) => scope))];
}

const NAME_CHARACTERS_MAX = 100;

/** What people call whoever it is; null where the token does not say, or says what cannot be printed. */
export function nameOf({ nameClaim }: IdentityProvider, claims: Claims): string | null {
  if (nameClaim === undefined) return null;
  const name = claimOf(claims, nameClaim);
  if (typeof name !== "string" || name === "" || /[\p{Cc}\p{Cf}\u2028\u2029]/u.test(name)) return null;
  return name.slice(0, NAME_CHARACTERS_MAX);
}

function valuesOf(claims: Claims, claim: string): readonly string[] {
  // Whoever may write any address into her own account would be whom she likes.
  if (claim === "email" && claims["email_verified"] !== true) return [];
  const value = claimOf(claims, claim);
  if (typeof value === "string") return WORDS.has(claim) ? value.split(" ") : [value];
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

/** By its name, which may hold dots, or along a path. */
function claimOf(claims: Claims, claim: string): unknown {
  if (Object.hasOwn(claims, claim)) return claims[claim];
  return claim.split(".").reduce<unknown>((at, key) => {
    const isRecord = typeof at === "object" && at !== null && !Array.isArray(at);
    return isRecord && Object.hasOwn(at, key) ? (at as Claims)[key] : undefined;
  }, claims);
}
