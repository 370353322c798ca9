/**
 * Who else vouches for callers of the API, besides guacamole's own tokens: issuers of OpenID Connect, whose signed tokens name
 * a person or a program and its groups, and authorities whose certificates do (`roadmap/0014-identity.md`). Here is what
 * operators say of them.
 */
import type { Scope } from "./state.ts";

export interface IdentitySpec {
  readonly providers: readonly IdentityProvider[];
  /** Absent: nobody is believed by a certificate. */
  readonly clientCertificates?: ClientCertificates;
}

/** Who is believed by a TLS client certificate, and what they may do. */
export interface ClientCertificates {
  /** PEM, one or more: of the authorities whose certificates are taken. */
  readonly authorities: string;
  /** Every rule that fits gives its scope. */
  readonly scopes: readonly CertificateRule[];
  /** SHA-256 of certificates (DER, lower hexadecimal) that are refused while they would be good. Absent: none. */
  readonly blocked?: readonly string[];
}

/** Whoever's certificate has this value in this attribute has the scope. */
export interface CertificateRule {
  readonly attribute: CertificateAttribute;
  readonly value: string;
  readonly scope: Scope;
}

/** Of the subject: `cn`, `o`, `ou`; of the alternative names: `email`, `dns`, `uri`; `sha256`: the one certificate. */
export const CERTIFICATE_ATTRIBUTES = ["cn", "o", "ou", "email", "dns", "uri", "sha256"] as const;
export type CertificateAttribute = (typeof CERTIFICATE_ATTRIBUTES)[number];

export interface IdentityProvider {
  /** For people; unique. */
  readonly name: string;
  /** As tokens name it (`iss`), to the letter; unique. */
  readonly issuer: string;
  /** A token must be meant for one of these (`aud`). */
  readonly audiences: readonly string[];
  /** Where its keys are. Absent: its discovery document says it. */
  readonly jwksUri?: string;
  /** PEM. Who vouches for the servers that are asked for keys. Absent: the authorities of each member's system. */
  readonly caCertificate?: string;
  readonly algorithms: readonly SigningAlgorithm[];
  /** By so much the clocks of issuer and member may differ. */
  readonly clockToleranceSeconds: number;
  /** Tokens that were issued longer ago are refused, however long they are good. */
  readonly maxAgeSeconds: number;
  /** The claim that tells people who it is (`preferred_username`). Absent: only the subject is told. */
  readonly nameClaim?: string;
  /** Every rule that fits gives its scope. */
  readonly scopes: readonly ScopeRule[];
  /** Subjects whose tokens are refused, while they are good. Absent: nobody's. */
  readonly blockedSubjects?: readonly string[];
}

/** Whoever's token has this value in this claim has the scope. */
export interface ScopeRule {
  /** Its name, or a path with dots: `realm_access.roles`. */
  readonly claim: string;
  /** The claim, or one of its list. */
  readonly value: string;
  readonly scope: Scope;
}

/** Signed by a private key, which never leaves the issuer: whoever can verify one cannot make one. */
export type SigningAlgorithm = `${"RS" | "PS" | "ES"}${"256" | "384" | "512"}` | "Ed25519" | "EdDSA";

export const IDENTITY_DEFAULTS = {
  algorithms: ["RS256", "ES256"],
  clockToleranceSeconds: 30,
  maxAgeSeconds: 86_400,
} as const satisfies Partial<IdentityProvider>;

export const PROVIDERS_MAX = 10;

/** Those that are trusted, in the order in which they were said. */
export function providersOf(spec: { readonly identity?: IdentitySpec }): readonly IdentityProvider[] {
  return spec.identity?.providers ?? [];
}

/** As it is kept; null: nobody else vouches for anybody. */
export function identityWith(
  providers: readonly IdentityProvider[],
  clientCertificates: ClientCertificates | undefined,
): IdentitySpec | null {
  if (providers.length === 0 && clientCertificates === undefined) return null;
  return { providers, ...(clientCertificates === undefined ? {} : { clientCertificates }) };
}

/** Names what is wrong with them in a sentence, and where; null: nothing. */
export function flawOfProviders(
  providers: readonly IdentityProvider[],
): { readonly field: string; readonly flaw: string } | null {
  for (const [index, provider] of providers.entries()) {
    const earlier = providers.slice(0, index);
    const flaw = flawOfProvider(provider) ?? flawBeside(provider, earlier);
    if (flaw !== null) return { field: `providers.${provider.name}.${flaw.field}`, flaw: flaw.flaw };
  }
  return null;
}

function flawBeside({ name, issuer }: IdentityProvider, others: readonly IdentityProvider[]) {
  if (others.some((other) => other.name === name)) return { field: "name", flaw: "another one has it" };
  if (others.some((other) => other.issuer === issuer))
    return { field: "issuer", flaw: "another one has it: which of the two would decide about its tokens?" };
  return null;
}

function flawOfProvider({ issuer, jwksUri, caCertificate }: IdentityProvider) {
  const wrongIssuer = flawOfUrl(issuer);
  if (wrongIssuer !== null) return { field: "issuer", flaw: wrongIssuer };
  // It is what the author of a change is told by: `issuer#subject` must be read in one way only.
  if (/[#?]/.test(issuer)) return { field: "issuer", flaw: "it has no query and no fragment" };
  const wrongUri = jwksUri === undefined ? null : flawOfUrl(jwksUri);
  if (wrongUri !== null) return { field: "jwksUri", flaw: wrongUri };
  if (caCertificate !== undefined && !PEM_CERTIFICATES.test(caCertificate))
    return { field: "caCertificate", flaw: "it is one or more certificates in PEM, and nothing else" };
  return null;
}

/** One or more certificates, and nothing else. */
export const PEM_CERTIFICATES = /^\s*(?:-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\s*)+$/;

/** Why keys are not fetched from there: they would be anybody's who stands in between. Null: they are. */
export function flawOfUrl(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || /[\s\p{Cc}]/u.test(text)) return "it is no URL";
  if (url.username !== "" || url.password !== "") return "it has no user and no password";
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.hostname))) return null;
  return "it begins with https:// (http:// only for an address of this very host)";
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Who made a change, for what is agreed: no id of a token looks so, and no two issuers name the same. */
export function authorOf(issuer: string, subject: string): string {
  return `${issuer}#${subject}`;
}

const CERTIFICATE_AUTHOR = "x509:";

/** The same of a certificate, by the names of its subject and of who signed it, which no two others share (RFC 5280 §4.1.2.6). */
export function authorByCertificate(subject: string, issuer: string): string {
  return `${CERTIFICATE_AUTHOR}${subject}<${issuer}`;
}

/** Whether it is somebody who was believed by a certificate. */
export function isCertificateAuthor(by: string): boolean {
  return by.startsWith(CERTIFICATE_AUTHOR);
}

/** Whether it is somebody whom an identity provider or an authority of certificates vouched for. */
export function isIdentityAuthor(by: string): boolean {
  return /^https?:\/\//.test(by) || isCertificateAuthor(by);
}
