import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commonNameOf, memberIdOf } from "../../../src/cluster/common-name.ts";
import {
  certificatesIn,
  createAuthority,
  createKeyAndRequest,
  fingerprint,
  isSignedBy,
  namesOf,
  readCertificate,
  renewMember,
  selfSigned,
  signMember,
} from "../../../src/peer/certificates.ts";
import { CLUSTER, M1 } from "../store/sample.ts";

const NOW = Date.now();
const DAY = 86_400_000;

async function signed() {
  const authority = await createAuthority(CLUSTER, NOW);
  const { privateKeyPem, csrPem } = await createKeyAndRequest("whatever it claims");
  const subject = { memberId: M1, name: "m_1", hosts: ["10.0.0.1", "::1", "db1.example.com"] };
  const certificate = await signMember(authority, csrPem, subject, NOW);
  if (!certificate.ok) throw new Error(certificate.error);
  return { authority, privateKeyPem, csrPem, certificatePem: certificate.value };
}

function openssl(directory: string, ...parameters: string[]): string {
  const done = Bun.spawnSync(["openssl", ...parameters], { cwd: directory });
  return `${done.stdout.toString()}${done.stderr.toString()}`;
}

test("OpenSSL accepts a member's certificate by its strictest rules, as client and as server", async () => {
  const { authority, certificatePem } = await signed();
  const directory = mkdtempSync(join(tmpdir(), "guacamole-certificates-"));
  try {
    writeFileSync(join(directory, "ca.pem"), authority.certificatePem);
    writeFileSync(join(directory, "member.pem"), certificatePem);
    for (const purpose of ["sslserver", "sslclient"]) {
      const verified = openssl(
        directory,
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        "ca.pem",
        "member.pem",
      );
      expect(verified).toBe("member.pem: OK\n");
    }
    for (const host of [
      ["-verify_ip", "10.0.0.1"],
      ["-verify_ip", "::1"],
      ["-verify_hostname", "db1.example.com"],
      ["-verify_hostname", "localhost"],
    ]) {
      expect(openssl(directory, "verify", ...host, "-CAfile", "ca.pem", "member.pem")).toBe(
        "member.pem: OK\n",
      );
    }
    const text = openssl(
      directory,
      "x509",
      "-in",
      "member.pem",
      "-noout",
      "-subject",
      "-fingerprint",
      "-sha256",
    );
    expect(text).toContain(`CN = ${commonNameOf(M1)}, O = ${CLUSTER}`);
    expect(text.replaceAll(":", "").toLowerCase()).toContain(fingerprint(certificatePem));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a member's common name is read back, and nothing else is taken for one", () => {
  expect(memberIdOf(commonNameOf(M1))).toEqual({ ok: true, value: M1 });
  expect(memberIdOf("guacamole-member-m1").ok).toBe(false);
  expect(memberIdOf(M1).ok).toBe(false);
});

test("a request that is damaged, or signed by another key, gets no certificate", async () => {
  const { authority, csrPem } = await signed();
  const subject = { memberId: M1, name: "m1", hosts: [] };
  const der = Buffer.from(csrPem.replace(/-----[A-Z ]+-----|\s/g, ""), "base64");
  der[der.length - 3] = (der[der.length - 3] ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
  for (const request of ["nonsense", authority.certificatePem, forged]) {
    const answer = await signMember(authority, request, subject, NOW);
    expect(answer.ok ? "signed" : answer.error).toContain("certificate request");
  }
});

test("a self-signed certificate is valid for a year", async () => {
  const { certificatePem } = await selfSigned("m1", ["127.0.0.1"], NOW);
  expect(Math.round((readCertificate(certificatePem).notAfterMs - NOW) / 86_400_000)).toBe(365);
});

test("a renewed certificate is for the same key, and never outlives its authority", async () => {
  const { authority, privateKeyPem, certificatePem } = await signed();
  const subject = { memberId: M1, name: "m_1", hosts: ["10.0.0.9", "::1"] };
  const renewed = await renewMember(authority, { certificatePem, privateKeyPem }, subject, NOW + 1_000);
  const key = (pem: string) => new X509Certificate(pem).publicKey.export({ type: "spki", format: "pem" });
  expect(key(renewed)).toBe(key(certificatePem));
  expect(renewed).not.toBe(certificatePem);
  expect(isSignedBy(renewed, authority.certificatePem)).toBe(true);
  expect(readCertificate(renewed).names).toEqual([...namesOf(subject)]);
  const { notAfterMs } = readCertificate(authority.certificatePem);
  const last = await renewMember(authority, { certificatePem, privateKeyPem }, subject, notAfterMs - 1_000);
  expect(readCertificate(last).notAfterMs).toBe(notAfterMs);
});

test("a certificate of another authority is told from one of ours", async () => {
  const { certificatePem } = await signed();
  const other = await createAuthority(CLUSTER, NOW);
  expect(isSignedBy(certificatePem, other.certificatePem)).toBe(false);
});

test("an authority that follows another is good whenever that was, has a name of its own, and both are told apart", async () => {
  const { authority, csrPem, certificatePem } = await signed();
  const before = readCertificate(authority.certificatePem);
  for (const wallMs of [0, NOW - 300 * DAY, NOW, NOW + 1_000 * DAY]) {
    const next = await createAuthority(CLUSTER, wallMs, authority.certificatePem);
    const { notBeforeMs, notAfterMs } = readCertificate(next.certificatePem);
    expect(notBeforeMs).toBe(before.notBeforeMs);
    expect(notAfterMs).toBeGreaterThanOrEqual(before.notAfterMs);
    const names = [next, authority].map((each) => new X509Certificate(each.certificatePem).subject);
    expect(names[0]).not.toBe(names[1]);
    const subject = { memberId: M1, name: "m_1", hosts: [] };
    const anew = await signMember(next, csrPem, subject, NOW);
    if (!anew.ok) throw new Error(anew.error);
    const directory = mkdtempSync(join(tmpdir(), "guacamole-certificates-"));
    try {
      const bundle = `${authority.certificatePem}${next.certificatePem}`;
      expect(certificatesIn(bundle)).toEqual([authority.certificatePem, next.certificatePem]);
      writeFileSync(join(directory, "ca.pem"), bundle);
      for (const pem of [certificatePem, anew.value]) {
        writeFileSync(join(directory, "member.pem"), pem);
        expect(openssl(directory, "verify", "-x509_strict", "-CAfile", "ca.pem", "member.pem")).toBe(
          "member.pem: OK\n",
        );
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
});

test("a renewed certificate is good whenever the one before was, however wrong the clock is", async () => {
  const { authority, privateKeyPem, certificatePem } = await signed();
  const before = readCertificate(certificatePem);
  for (const wallMs of [0, NOW - 300 * DAY, NOW, NOW + 1_000 * DAY]) {
    const subject = { memberId: M1, name: "m_1", hosts: [] };
    const renewed = await renewMember(authority, { certificatePem, privateKeyPem }, subject, wallMs);
    const { notBeforeMs, notAfterMs } = readCertificate(renewed);
    expect(notBeforeMs).toBeLessThanOrEqual(before.notBeforeMs);
    expect(notAfterMs).toBeGreaterThanOrEqual(before.notAfterMs);
  }
});
