/**
 * The cluster's own certificate authority, and what it signs: one certificate per member, which proves who speaks on the
 * peer transport, serves the API, and logs in to PostgreSQL for replication.
 */
import "reflect-metadata";
import { createHash, createPublicKey, X509Certificate as NodeCertificate } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { ClusterId, MemberId } from "../base/ids.ts";
import { err, ok, type Result } from "../base/result.ts";
import { commonNameOf } from "../cluster/common-name.ts";
import type { CertificateAuthority } from "../cluster/state.ts";

cryptoProvider.set(crypto);

/** Of every key that is made here, and of the authority's signatures. */
export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;
const AUTHORITY_NAME = "guacamole-authority";

/** A certificate and the key that belongs to it. */
export interface KeyedCertificate {
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly privateKeyPem: string;
}

/** What a certificate says of a member. */
export interface MemberSubject {
  readonly memberId: MemberId;
  readonly name: string;
  /** Host names and addresses under which it is reached. */
  readonly hosts: readonly string[];
  /** Of which cluster. Absent: the one that the authority was made for, which a recovered group is not any more. */
  readonly clusterId?: ClusterId;
}

/**
 * A new authority for a cluster, valid for ten years.
 *
 * One that follows another is valid whenever that one was, whatever this host's clock says, and has a name of its own: who
 * verifies looks an issuer up by its name.
 *
 * @param formerPem the certificate of the one that it follows; null: it is the cluster's first.
 */
export async function createAuthority(
  clusterId: ClusterId,
  wallMs: number,
  formerPem: string | null = null,
): Promise<CertificateAuthority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const serial = serialNumber();
  const former = formerPem === null ? null : readCertificate(formerPem);
  const name = former === null ? AUTHORITY_NAME : `${AUTHORITY_NAME}-${serial.slice(0, 16)}`;
  const subject = subjectName(name, clusterId);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject,
    issuer: subject,
    notBefore: new Date(former?.notBeforeMs ?? wallMs - HOUR_MS),
    notAfter: new Date(Math.max(wallMs + 10 * YEAR_MS, former?.notAfterMs ?? 0)),
    signingKey: keys.privateKey,
    publicKey: keys.publicKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return keyed(certificate, keys.privateKey);
}

/** A new key, and the request by which an authority is asked for a certificate. The key never leaves the member. */
export async function createKeyAndRequest(
  commonName: string,
): Promise<{ readonly privateKeyPem: string; readonly csrPem: string }> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  return { privateKeyPem: await privateKeyPem(keys.privateKey), csrPem: await requestBy(keys, commonName) };
}

/**
 * The request for another certificate of a key that was made here before.
 *
 * @throws where it is no such key.
 */
export async function requestFor(commonName: string, privateKeyPem: string): Promise<string> {
  const spki = createPublicKey(privateKeyPem).export({ type: "spki", format: "der" });
  const publicKey = await crypto.subtle.importKey("spki", new Uint8Array(spki), ALGORITHM, true, ["verify"]);
  return requestBy({ privateKey: await importPrivateKey(privateKeyPem), publicKey }, commonName);
}

async function requestBy(keys: CryptoKeyPair, commonName: string): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return `${request.toString("pem")}\n`;
}

/**
 * A member's certificate, valid for one year, for clients and servers alike. The subject comes from `subject` alone:
 * what the request says of itself is not believed, only that its sender has the key.
 *
 * Fails if the request cannot be read, or its signature is not by its key.
 */
export async function signMember(
  authority: CertificateAuthority,
  csrPem: string,
  subject: MemberSubject,
  wallMs: number,
): Promise<Result<string, string>> {
  const publicKey = await keyOfRequest(csrPem);
  return publicKey.ok ? ok(await certify(authority, publicKey.value, subject, wallMs + YEAR_MS)) : publicKey;
}

/** The key of a certificate request, once it is certain that its sender has it. */
export async function keyOfRequest(csrPem: string): Promise<Result<PublicKey, string>> {
  try {
    const request = new Pkcs10CertificateRequest(csrPem);
    if (!(await request.verify())) return err("the certificate request is not signed by its own key");
    return ok(new PublicKey(request.publicKey.rawData));
  } catch (error) {
    return err(
      `the certificate request cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/**
 * Another certificate for the key that a member has already. The key stays, so that whoever reads the two files while one
 * of them is replaced never finds a pair that does not fit. Valid for one year, never for longer than the authority, and at
 * every moment at which the one before was: a clock that is wrong makes nothing worse.
 *
 * @throws if the key, or the authority's, cannot be read.
 */
export async function renewMember(
  authority: CertificateAuthority,
  present: KeyedCertificate,
  subject: MemberSubject,
  wallMs: number,
): Promise<string> {
  const untilMs = Math.max(wallMs + YEAR_MS, readCertificate(present.certificatePem).notAfterMs);
  const der = createPublicKey(present.privateKeyPem).export({ type: "spki", format: "der" });
  return certify(authority, new PublicKey(new Uint8Array(der)), subject, untilMs);
}

/** Valid since the authority is: whoever signs may have a clock that is ahead of the others'. */
async function certify(
  authority: CertificateAuthority,
  publicKey: PublicKey,
  subject: MemberSubject,
  untilMs: number,
): Promise<string> {
  const issuer = new X509Certificate(authority.certificatePem);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: subjectName(
      commonNameOf(subject.memberId),
      subject.clusterId ?? organizationOf(authority.certificatePem),
    ),
    issuer: issuer.subject,
    notBefore: issuer.notBefore,
    notAfter: new Date(Math.min(untilMs, issuer.notAfter.getTime())),
    signingKey: await importPrivateKey(authority.privateKeyPem),
    publicKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      ...(await leafExtensions(publicKey, namesOf(subject))),
      await AuthorityKeyIdentifierExtension.create(issuer, false),
    ],
  });
  return pem(certificate);
}

/** Every name that a member's certificate carries. */
export function namesOf({ hosts, name }: MemberSubject): readonly string[] {
  return [...new Set([...hosts, name, "localhost", "127.0.0.1"])];
}

/** A certificate for the API of a member that belongs to no cluster yet: clients pin its fingerprint. */
export async function selfSigned(
  name: string,
  hosts: readonly string[],
  wallMs: number,
): Promise<KeyedCertificate> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const subject = subjectName(name, "guacamole");
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: subject,
    notBefore: new Date(wallMs - HOUR_MS),
    notAfter: new Date(wallMs + YEAR_MS),
    signingKey: keys.privateKey,
    publicKey: keys.publicKey,
    signingAlgorithm: ALGORITHM,
    extensions: await leafExtensions(keys.publicKey, [
      ...new Set([...hosts, name, "localhost", "127.0.0.1"]),
    ]),
  });
  return keyed(certificate, keys.privateKey);
}

/**
 * SHA-256 over the certificate's DER, hexadecimal: what a join token carries.
 *
 * @throws if `certificatePem` is not a certificate.
 */
export function fingerprint(certificatePem: string): string {
  return createHash("sha256").update(new NodeCertificate(certificatePem).raw).digest("hex");
}

/**
 * What a certificate says of itself. Times in milliseconds since 1970.
 *
 * @throws if `certificatePem` is not a certificate.
 */
export function readCertificate(certificatePem: string): {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly names: readonly string[];
} {
  const certificate = new X509Certificate(certificatePem);
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  return {
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs: certificate.notAfter.getTime(),
    names: names.map(({ value }) => value),
  };
}

/** Whether the key of `authorityPem` signed it. Says nothing of its time. */
export function isSignedBy(certificatePem: string, authorityPem: string): boolean {
  return new NodeCertificate(certificatePem).verify(new NodeCertificate(authorityPem).publicKey);
}

/** Every certificate in a text that holds several, each as a text of its own, in their order. */
export function certificatesIn(pems: string): readonly string[] {
  const found = pems.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((certificate) => `${certificate}\n`);
}

async function leafExtensions(
  publicKey: CryptoKey | PublicKey,
  names: readonly string[],
): Promise<Extension[]> {
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
    new SubjectAlternativeNameExtension(
      names.map((value): JsonGeneralName => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
    ),
    await SubjectKeyIdentifierExtension.create(publicKey),
  ];
}

function subjectName(commonName: string, organization: string) {
  return [{ CN: [commonName] }, { O: [organization] }];
}

function organizationOf(certificatePem: string): string {
  return new X509Certificate(certificatePem).subjectName.getField("O")[0] ?? "";
}

/** 127 random bits: positive in DER, and never twice. */
export function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

async function keyed(certificate: X509Certificate, privateKey: CryptoKey): Promise<KeyedCertificate> {
  return { certificatePem: pem(certificate), privateKeyPem: await privateKeyPem(privateKey) };
}

/** With a line break at its end. */
export function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

async function privateKeyPem(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** @throws where it is none of `ALGORITHM`. */
export async function importPrivateKey(keyPem: string): Promise<CryptoKey> {
  const der = Buffer.from(keyPem.replace(/-----[A-Z ]+-----|\s/g, ""), "base64");
  return crypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
}
