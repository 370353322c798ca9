/** Reads a client certificate of anybody's: of a caller of the API, whose authority is not ours. */
import "reflect-metadata";
import { createHash } from "node:crypto";
import {
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
} from "@peculiar/x509";

const NAMES_MAX = 100;

/**
 * What it says, no word of which is judged here. Times in milliseconds since 1970; the SHA-256 is over the DER, hexadecimal;
 * names are written as RFC 4514 says, so that no two that differ look alike.
 *
 * @param der of a certificate that TLS has verified.
 * @throws if it is no certificate.
 */
export function readShownCertificate(der: Uint8Array) {
  const bytes = new Uint8Array(der);
  const certificate = new X509Certificate(bytes);
  const { subjectName } = certificate;
  const alternatives = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  const named = (type: string) =>
    alternatives
      .filter((each) => each.type === type)
      .map(({ value }) => value)
      .slice(0, NAMES_MAX);
  const usage = certificate.getExtension(ExtendedKeyUsageExtension);
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    attributes: {
      cn: subjectName.getField("CN"),
      o: subjectName.getField("O"),
      ou: subjectName.getField("OU"),
      email: named("email"),
      dns: named("dns"),
      uri: named("url"),
      sha256: [createHash("sha256").update(bytes).digest("hex")],
    },
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs: certificate.notAfter.getTime(),
    isForClients: usage === null || usage.usages.includes(ExtendedKeyUsage.clientAuth),
  };
}
