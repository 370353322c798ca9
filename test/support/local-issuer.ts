/**
 * An issuer of OpenID Connect on this host: it publishes its discovery document and its keys, and signs tokens with them. What it
 * says can be changed while it runs, and it can fall silent.
 */
import { exportJWK, generateKeyPair, SignJWT } from "jose";

export interface SignOptions {
  /** Undefined: it is left out. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: { readonly [name: string]: unknown };
  /** Seconds since 1970. */
  readonly atSeconds?: number;
  readonly lifetimeSeconds?: number;
  /** Which of its keys; absent: the newest. */
  readonly keyId?: string;
}

interface Key {
  readonly id: string;
  readonly algorithm: string;
  readonly privateKey: CryptoKey;
  readonly jwk: object;
}

export class LocalIssuer {
  readonly #server: ReturnType<typeof Bun.serve>;
  /** As its tokens name it; it keeps its name when it has stopped. */
  readonly url: string;
  #keys: readonly Key[] = [];
  /** Paths that were asked for. */
  readonly asked: string[] = [];
  /** Instead of what it would say at a path. */
  readonly answers = new Map<string, () => Response | Promise<Response>>();

  private constructor(tls: { readonly cert: string; readonly key: string } | null, port: number) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port,
      ...(tls === null ? {} : { tls }),
      fetch: (request) => this.#answer(new URL(request.url).pathname),
    });
    this.url = `${tls === null ? "http" : "https"}://127.0.0.1:${this.#server.port}`;
  }

  static async start(
    tls: { readonly cert: string; readonly key: string } | null = null,
    port = 0,
  ): Promise<LocalIssuer> {
    const issuer = new LocalIssuer(tls, port);
    await issuer.addKey("first");
    return issuer;
  }

  get jwksUri(): string {
    return `${this.url}/keys`;
  }

  async addKey(id: string, algorithm = "ES256"): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid: id, use: "sig", alg: algorithm };
    this.#keys = [...this.#keys, { id, algorithm, privateKey, jwk }];
  }

  removeKey(id: string): void {
    this.#keys = this.#keys.filter((key) => key.id !== id);
  }

  /** As published. */
  get keySet(): { readonly keys: readonly object[] } {
    return { keys: this.#keys.map(({ jwk }) => jwk) };
  }

  /** A token for `ann`, who is in the group `dba`, as far as nothing else is said. */
  async sign(options: SignOptions = {}): Promise<string> {
    const { claims = {}, header = {}, atSeconds = Math.floor(Date.now() / 1_000) } = options;
    const key = this.#keys.find(({ id }) => id === options.keyId) ?? this.#keys.at(-1);
    if (key === undefined) throw new Error("the issuer has no key");
    const all: Readonly<Record<string, unknown>> = {
      iss: this.url,
      aud: "guacamole",
      sub: "ann",
      groups: ["dba"],
      iat: atSeconds,
      exp: atSeconds + (options.lifetimeSeconds ?? 300),
      ...claims,
    };
    const said = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    return new SignJWT(said)
      .setProtectedHeader({ alg: key.algorithm, kid: key.id, typ: "JWT", ...header })
      .sign(key.privateKey, { crit: { demanded: true } });
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }

  #answer(path: string): Response | Promise<Response> {
    this.asked.push(path);
    const instead = this.answers.get(path);
    if (instead !== undefined) return instead();
    if (path === "/.well-known/openid-configuration")
      return Response.json({ issuer: this.url, jwks_uri: this.jwksUri });
    if (path === "/keys") return Response.json(this.keySet);
    return new Response("nothing here", { status: 404 });
  }
}
