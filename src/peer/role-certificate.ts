/** Certificates by which PostgreSQL's roles log in (`clientcert`, the method `cert`), by the cluster's own authority. */
import "reflect-metadata";
import { createPublicKey } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { err, ok, type Result } from "../base/result.ts";
import type { CertificateAuthority } from "../cluster/state.ts";
import { ALGORITHM, fingerprint, importPrivateKey, keyOfRequest, pem, serialNumber } from "./certificates.ts";

/**
 * Stands where a member's certificate has its cluster, which is what the peer transport asks for: whatever a role is called, its
 * certificate is no member's.
 */
const ROLE_ORGANIZATION = "guacamole-roles";
const RSA_BITS_MIN = 2048;
const CURVES: ReadonlySet<string | undefined> = new Set(["prime256v1", "secp384r1", "secp521r1"]);

export interface SignedRole {
  readonly certificatePem: string;
  /** Hexadecimal. */
  readonly serial: string;
  /** SHA-256 of the certificate of the authority, hexadecimal. */
  readonly authority: string;
  readonly expiresAtMs: number;
}

/**
 * A certificate for clients only, with the role's name as its common name, valid no longer than the authority. Of the request only
 * its key is believed.
 *
 * Fails if the request cannot be read, is not signed by its own key, or that is too weak.
 */
export async function signRole(
  authority: CertificateAuthority,
  csrPem: string,
  role: string,
  untilMs: number,
): Promise<Result<SignedRole, string>> {
  const publicKey = await keyOfRequest(csrPem);
  if (!publicKey.ok) return publicKey;
  const weak = flawOfKey(publicKey.value.rawData);
  if (weak !== null) return err(weak);
  const issuer = new X509Certificate(authority.certificatePem);
  const serial = serialNumber();
  const expiresAtMs = Math.min(untilMs, issuer.notAfter.getTime());
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ CN: [role] }, { O: [ROLE_ORGANIZATION] }],
    issuer: issuer.subject,
    // As of members: whoever signs may have a clock that is ahead of the others'.
    notBefore: issuer.notBefore,
    notAfter: new Date(expiresAtMs),
    signingKey: await importPrivateKey(authority.privateKeyPem),
    publicKey: publicKey.value,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth], true),
      await SubjectKeyIdentifierExtension.create(publicKey.value),
      await AuthorityKeyIdentifierExtension.create(issuer, false),
    ],
  });
  return ok({
    certificatePem: pem(certificate),
    serial,
    authority: fingerprint(authority.certificatePem),
    expiresAtMs,
  });
}

function flawOfKey(spki: ArrayBuffer): string | null {
  const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "rsa":
      return modulusLength >= RSA_BITS_MIN ? null : `an RSA key has ${RSA_BITS_MIN} bits at least`;
    case "ec":
      return CURVES.has(namedCurve)
        ? null
        : "the key is on a curve that is not taken (P-256, P-384, P-521 are)";
    case "ed25519":
      return null;
    default:
      return "the key is of a kind that is not taken (RSA, ECDSA and Ed25519 are)";
  }
}
