/** An authority of somebody else's, which signs certificates for people and programs that call the API. */
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  type JsonName,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

export interface IssueOptions {
  readonly subject: JsonName;
  readonly names?: JsonGeneralNames;
  readonly usage?: "serverAuth" | "clientAuth";
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** It may sign others. */
  readonly isAuthority?: boolean;
}

export interface Issued {
  readonly cert: string;
  readonly key: string;
  readonly der: Uint8Array;
  readonly sha256: string;
}

export class ClientAuthority {
  readonly #certificate: X509Certificate;
  readonly #keys: CryptoKeyPair;
  /** Below the one that clients are told to trust: it is sent along with each certificate. */
  readonly #chain: string;

  private constructor(certificate: X509Certificate, keys: CryptoKeyPair, chain: string) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.#chain = chain;
  }

  static async create(name: JsonName): Promise<ClientAuthority> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name,
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date("2020-01-01"),
      notAfter: new Date("2120-01-01"),
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    return new ClientAuthority(certificate, keys, "");
  }

  /** One that this one vouches for. */
  async below(name: JsonName): Promise<ClientAuthority> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await this.#sign(keys, { subject: name, isAuthority: true });
    return new ClientAuthority(certificate, keys, pem(certificate));
  }

  get pem(): string {
    return pem(this.#certificate);
  }

  async issue(options: IssueOptions): Promise<Issued> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await this.#sign(keys, options);
    const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
    const der = new Uint8Array(certificate.rawData);
    const sha256 = Buffer.from(await crypto.subtle.digest("SHA-256", der)).toString("hex");
    return { cert: `${pem(certificate)}${this.#chain}`, key: `${key}\n`, der, sha256 };
  }

  #sign(keys: CryptoKeyPair, options: IssueOptions): Promise<X509Certificate> {
    const { subject, names, usage, isAuthority = false } = options;
    return X509CertificateGenerator.create({
      subject,
      issuer: this.#certificate.subjectName.toJSON(),
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: ALGORITHM,
      serialNumber: Buffer.from(crypto.getRandomValues(new Uint8Array(15)))
        .toString("hex")
        .replace(/^./, "4"),
      notBefore: options.notBefore ?? new Date("2020-01-01"),
      notAfter: options.notAfter ?? new Date("2120-01-01"),
      extensions: [
        new BasicConstraintsExtension(isAuthority, undefined, true),
        ...(usage === undefined ? [] : [new ExtendedKeyUsageExtension([ExtendedKeyUsage[usage]])]),
        ...(names === undefined ? [] : [new SubjectAlternativeNameExtension(names)]),
      ],
    });
  }
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}
