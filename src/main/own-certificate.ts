/** A certificate of the owner's own for the API: read from its files, and again whenever they change. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { err, ok, type Result } from "../base/result.ts";
import type { CertificateFiles } from "./config.ts";

/** A pair that fits. */
export interface OwnCertificate {
  readonly cert: string;
  readonly key: string;
  readonly endsAtMs: number;
}

/** What a look at the files found. */
export type OwnLook =
  | { readonly kind: "unchanged" }
  | { readonly kind: "changed"; readonly certificate: OwnCertificate }
  /** The files changed, or cannot be read any more, and what is there now cannot be used. */
  | { readonly kind: "unusable"; readonly why: string };

export class OwnCertificateFiles {
  readonly #files: CertificateFiles;
  #present: OwnCertificate;
  /** What is wrong with what the files hold now; the one before is shown meanwhile. */
  #problem: string | null = null;

  private constructor(files: CertificateFiles, present: OwnCertificate) {
    this.#files = files;
    this.#present = present;
  }

  /** @returns why the files cannot be used, for people, with the keys of the configuration. */
  static read(files: CertificateFiles): Result<OwnCertificateFiles, string> {
    const read = readPair(files);
    return read.ok ? ok(new OwnCertificateFiles(files, read.value)) : read;
  }

  get present(): OwnCertificate {
    return this.#present;
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** Each change is told once, a bad one too. */
  look(): OwnLook {
    const read = readPair(this.#files);
    if (!read.ok) {
      if (read.error === this.#problem) return { kind: "unchanged" };
      this.#problem = read.error;
      return { kind: "unusable", why: read.error };
    }
    this.#problem = null;
    if (read.value.cert === this.#present.cert && read.value.key === this.#present.key)
      return { kind: "unchanged" };
    this.#present = read.value;
    return { kind: "changed", certificate: read.value };
  }
}

const KEYS = "[api] certificate-file and key-file in guacamole.toml";

function readPair({ certificateFile, keyFile }: CertificateFiles): Result<OwnCertificate, string> {
  const cert = readText(certificateFile);
  if (!cert.ok) return cert;
  const key = readText(keyFile);
  if (!key.ok) return key;
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert.value);
  } catch {
    return err(`${certificateFile} holds no certificate in PEM (${KEYS})`);
  }
  try {
    if (!certificate.checkPrivateKey(createPrivateKey(key.value)))
      return err(`the key in ${keyFile} is not that of the certificate in ${certificateFile} (${KEYS})`);
  } catch {
    return err(`${keyFile} holds no private key in PEM, or one with a passphrase (${KEYS})`);
  }
  const endsAtMs = Date.parse(certificate.validTo);
  return ok({ cert: cert.value, key: key.value, endsAtMs });
}

function readText(path: string): Result<string, string> {
  try {
    return ok(readFileSync(path, "utf8"));
  } catch (error) {
    return err(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)} (${KEYS})`);
  }
}
