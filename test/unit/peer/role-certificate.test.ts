/** Certificates of roles: for their role and as a client, and for nothing else that the cluster's authority vouches for. */
import "reflect-metadata";
import { beforeAll, describe, expect, test } from "bun:test";
import { createPublicKey, X509Certificate } from "node:crypto";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import type { ClusterId, MemberId } from "../../../src/base/ids.ts";
import { commonNameOf } from "../../../src/cluster/common-name.ts";
import type { CertificateAuthority } from "../../../src/cluster/state.ts";
import {
  createAuthority,
  createKeyAndRequest,
  requestFor,
  signMember,
} from "../../../src/peer/certificates.ts";
import { whoIs } from "../../../src/peer/dial-member.ts";
import { signRole } from "../../../src/peer/role-certificate.ts";
import type { SecureSocket } from "../../../src/peer/secure-socket.ts";

const CLUSTER = "00000000-0000-4000-8000-0000000000aa" as ClusterId;
const MEMBER = "00000000-0000-4000-8000-000000000001" as MemberId;
const DAY = 86_400_000;
const now = Date.now();

let authority: CertificateAuthority;
beforeAll(async () => {
  authority = await createAuthority(CLUSTER, now);
});

async function signed(role: string, csrPem?: string, untilMs = now + DAY): Promise<X509Certificate> {
  const request = csrPem ?? (await createKeyAndRequest(role)).csrPem;
  const made = await signRole(authority, request, role, untilMs);
  if (!made.ok) throw new Error(made.error);
  expect(
    Math.abs(Date.parse(new X509Certificate(made.value.certificatePem).validTo) - made.value.expiresAtMs),
  ).toBeLessThan(1_000);
  return new X509Certificate(made.value.certificatePem);
}

interface KeyKind {
  readonly name: string;
  readonly namedCurve?: string;
  readonly modulusLength?: number;
  readonly publicExponent?: Uint8Array;
  readonly hash?: string;
}

async function requestBy(kind: KeyKind): Promise<string> {
  const keys: unknown = await crypto.subtle.generateKey(kind as never, true, ["sign", "verify"]);
  const made = await Pkcs10CertificateRequestGenerator.create({
    name: "CN=anything",
    keys: keys as CryptoKeyPair,
    signingAlgorithm: { ...kind, hash: "SHA-256" },
  });
  return made.toString("pem");
}

const rsa = (modulusLength: number): KeyKind => ({
  name: "RSASSA-PKCS1-v1_5",
  modulusLength,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
});

/** As the peer transport sees whoever shows a certificate that the authority signed. */
function asPeer(certificate: X509Certificate) {
  const fields = Object.fromEntries(certificate.subject.split("\n").map((line) => line.split("=")));
  return whoIs({ certificate: { subject: fields } } as unknown as SecureSocket, CLUSTER);
}

describe("a role's certificate", () => {
  test("is for a client, under the role's name, whatever the request says of itself", async () => {
    const certificate = await signed("app", (await createKeyAndRequest("postgres")).csrPem);
    expect(certificate.subject).toStartWith("CN=app\n");
    expect(certificate.verify(new X509Certificate(authority.certificatePem).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    // Not serverAuth: nobody is a member's API, or PostgreSQL, by it.
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
    expect(certificate.subjectAltName).toBeUndefined();
  });

  test.each(["müller", "a".repeat(63), 'x"y, O=other', "CN=postgres"])("names the role %s", async (role) => {
    const certificate = await signed(role);
    expect(certificate.toLegacyObject().subject.CN).toBe(role);
    expect(certificate.toLegacyObject().subject.O).toBe("guacamole-roles");
  });

  test("is no member's, even of a role that is called as a member is", async () => {
    expect(asPeer(await signed(commonNameOf(MEMBER)))).toMatchObject({ ok: false });
    const { csrPem } = await createKeyAndRequest("m1");
    const member = await signMember(authority, csrPem, { memberId: MEMBER, name: "m1", hosts: [] }, now);
    if (!member.ok) throw new Error(member.error);
    expect(asPeer(new X509Certificate(member.value))).toEqual({ ok: true, value: MEMBER });
  });

  test("ends when it is to end, and with its authority at the latest", async () => {
    expect(Date.parse((await signed("app")).validTo)).toBeCloseTo(now + DAY, -4);
    const end = new X509Certificate(authority.certificatePem).validTo;
    expect((await signed("app", undefined, now + 50 * 365 * DAY)).validTo).toBe(end);
  });

  test("is for a key that is good enough, and that whoever asks has", async () => {
    await signed("app", await requestBy(rsa(2048)));
    await signed("app", await requestBy({ name: "ECDSA", namedCurve: "P-384" }));
    expect(await signRole(authority, await requestBy(rsa(1024)), "app", now + DAY)).toMatchObject({
      ok: false,
      error: "an RSA key has 2048 bits at least",
    });
    const lines = (await createKeyAndRequest("app")).csrPem.split("\n");
    const altered = lines.with(1, (lines[1] ?? "").replace(/.{4}$/, "AAAA")).join("\n");
    for (const bad of ["", "PEM", authority.certificatePem, altered])
      expect((await signRole(authority, bad, "app", now + DAY)).ok).toBe(false);
  });

  test("is renewed for the key that is there", async () => {
    const { privateKeyPem } = await createKeyAndRequest("app");
    const spki = (key: ReturnType<typeof createPublicKey>) => key.export({ type: "spki", format: "pem" });
    const renewed = await signed("app", await requestFor("app", privateKeyPem));
    expect(spki(renewed.publicKey)).toBe(spki(createPublicKey(privateKeyPem)));
  });
});
