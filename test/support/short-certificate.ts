/** Certificates of a member that end soon, or have ended: what a clock would take a year for. */
import "reflect-metadata";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  PublicKey,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { defined } from "../../src/base/assert.ts";
import type { ClusterState } from "../../src/cluster/state.ts";
import { openDatabase } from "../../src/store/database.ts";
import { readState } from "../../src/store/state-machine.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** In place of the certificate of a member that does not run: same key, names and authority, another time. */
export async function replaceCertificate(
  memberDirectory: string,
  valid: { readonly fromMs: number; readonly untilMs: number },
): Promise<string> {
  const path = join(memberDirectory, "tls", "member.crt");
  const present = new X509Certificate(readFileSync(path, "utf8"));
  const { authority } = agreedState(memberDirectory);
  const memberKey = readFileSync(join(memberDirectory, "tls", "member.key"), "utf8");
  const publicKey = createPublicKey(createPrivateKey(memberKey)).export({ type: "spki", format: "der" });
  const issuer = new X509Certificate(authority.certificatePem);
  const names = present.getExtension(SubjectAlternativeNameExtension);
  const der = createPrivateKey(authority.privateKeyPem).export({ type: "pkcs8", format: "der" });
  const certificate = await X509CertificateGenerator.create({
    serialNumber: `4${crypto.randomUUID().replaceAll("-", "").slice(1)}`,
    subject: present.subject,
    issuer: issuer.subject,
    notBefore: new Date(valid.fromMs),
    notAfter: new Date(valid.untilMs),
    signingKey: await crypto.subtle.importKey("pkcs8", new Uint8Array(der), ALGORITHM, false, ["sign"]),
    publicKey: new PublicKey(new Uint8Array(publicKey)),
    signingAlgorithm: ALGORITHM,
    extensions: names === null ? [] : [names],
  });
  const pem = `${certificate.toString("pem")}\n`;
  writeFileSync(path, pem);
  return pem;
}

function agreedState(memberDirectory: string): ClusterState {
  // A copy: whoever opens a database tidies up behind the process that was killed.
  const directory = mkdtempSync(join(tmpdir(), "guacamole-agreed-"));
  for (const name of ["guacamole.db", "guacamole.db-wal", "store.key"]) {
    const from = join(memberDirectory, name);
    if (existsSync(from)) copyFileSync(from, join(directory, name));
  }
  const database = openDatabase(join(directory, "guacamole.db"));
  try {
    return defined(readState(database), "it was formed");
  } finally {
    database.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
