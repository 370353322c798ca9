/**
 * The port of the API that asks every client for a certificate (`roadmap/0014-identity.md`). The runtime does not tell a handler
 * what a client showed, so TLS ends here: whoever is verified gets a server of their own behind a private Unix socket, which
 * knows who it is for. Others never get so far as to speak HTTP.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Api } from "../api/create-api.ts";
import { plainAddress } from "../api/failed-authentication.ts";
import { serveBehind } from "../api/listen-api.ts";
import type { ShownCertificate } from "../api/shown-certificate.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { Complaints } from "../peer/complaints.ts";
import { listenSecurely, type SecureListener, type SecureSocket } from "../peer/secure-socket.ts";
import { readShownCertificate } from "../peer/shown-certificate.ts";
import { formatHostPort, type HostPort } from "./host-port.ts";

export interface CertificateDoorOptions {
  readonly api: Api;
  readonly listen: HostPort;
  /** For its sockets: made and removed here, with all that is in it. */
  readonly directory: string;
  /** Absent: a minute. */
  readonly firstAnswerMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

const HANDSHAKES = { deadlineMs: 10_000, countMax: 128 };
const CONNECTIONS_MAX = 256;
/** In BoringSSL's words. */
const NO_CERTIFICATE = /PEER_DID_NOT_RETURN_A_CERTIFICATE/;
/** Each is free again once its client is connected. */
const NAMES = 100_000;
const RETRY_MS = 5_000;
/**
 * Until then a client has asked for something and begun to get it; longer than any answer may take. The runtime ends connections
 * that are idle after their first request, and none before it.
 */
const FIRST_ANSWER_MS = 60_000;
/** What a client may have sent that is not taken yet; more than any request of the API. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;

export class CertificateDoor {
  readonly #options: CertificateDoorOptions;
  readonly #complaints = new Complaints();
  readonly #passages = new Set<Passage>();
  #shown: { readonly cert: string; readonly key: string } | null = null;
  #authorities: string | null = null;
  #listener: SecureListener | null = null;
  #problem: string | null = null;
  #triedAtMs = 0;
  #count = 0;
  #isStopped = false;

  constructor(options: CertificateDoorOptions) {
    this.#options = options;
  }

  /** Null: it is shut. */
  get port(): number | null {
    return this.#listener?.port ?? null;
  }

  /** Why it is shut although it should be open. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Shows this certificate from now on. Connections that stand go on. */
  show(cert: string, key: string): void {
    const isSame = this.#shown?.cert === cert && this.#shown.key === key;
    this.#shown = { cert, key };
    if (!isSame) this.#reopen();
  }

  /**
   * Takes certificates that these have signed from now on. Connections that stand end: they were let in by the ones before.
   * Where the port could not be had, a later call tries again.
   *
   * @param authorities PEM. Null: nobody's, so it is shut.
   */
  trust(authorities: string | null): void {
    const isDue = this.#problem !== null && this.#options.clock.nowMs() - this.#triedAtMs >= RETRY_MS;
    if (authorities === this.#authorities && !isDue) return;
    this.#authorities = authorities;
    this.#endAll();
    this.#reopen();
  }

  stop(): void {
    this.#isStopped = true;
    this.#listener?.stop();
    this.#listener = null;
    this.#endAll();
    rmSync(this.#options.directory, { recursive: true, force: true });
  }

  /** A listener keeps the certificates that it was made with. One that ended frees its port at once. */
  #reopen(): void {
    const { listen, directory, log } = this.#options;
    const port = this.port ?? listen.port;
    this.#listener?.stop();
    this.#listener = null;
    const before = this.#problem;
    this.#problem = null;
    this.#triedAtMs = this.#options.clock.nowMs();
    if (this.#isStopped || this.#shown === null || this.#authorities === null) return;
    const { cert, key } = this.#shown;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      this.#listener = listenSecurely(
        { host: listen.host, port },
        { cert, key, ca: this.#authorities },
        HANDSHAKES,
        {
          onSecure: (socket) => void this.#admit(socket),
          onRefused: (reason, address) =>
            this.#complain(NO_CERTIFICATE.test(reason) ? "it showed no certificate" : reason, address),
        },
      );
      log.info("api.certificates-taken", { listen: formatHostPort({ host: listen.host, port }) });
    } catch (error) {
      this.#problem = `cannot listen on ${formatHostPort(listen)} ([api] certificate-listen): ${whyNot(error)}`;
      if (this.#problem !== before) log.error("api.certificates-not-taken", { problem: this.#problem });
    }
  }

  async #admit(socket: SecureSocket): Promise<void> {
    const address = plainAddress(socket.remoteAddress);
    if (this.#passages.size >= CONNECTIONS_MAX) {
      this.#complain(`${this.#passages.size} connections stand already`, address);
      socket.destroy();
      return;
    }
    let shown: ShownCertificate;
    try {
      shown = readShownCertificate(socket.certificate.raw);
    } catch (error) {
      this.#complain(`its certificate cannot be read: ${String(error)}`, address);
      socket.destroy();
      return;
    }
    this.#count += 1;
    const { directory, firstAnswerMs = FIRST_ANSWER_MS } = this.#options;
    const path = join(directory, String(this.#count % NAMES));
    const passage = new Passage(socket, firstAnswerMs, () => this.#passages.delete(passage));
    this.#passages.add(passage);
    // A process that was killed may have left one.
    rmSync(path, { force: true });
    try {
      await passage.open(path, (at) => serveBehind(this.#options.api, at, { address, shown }));
    } catch (error) {
      // Where the client was gone by then, it is no failure.
      if (passage.isEnded) return;
      passage.end();
      this.#options.log.error("api.certificate-passage-failed", { error: String(error) });
    }
  }

  #endAll(): void {
    for (const passage of [...this.#passages]) passage.end();
  }

  #complain(reason: string, address: string): void {
    const { clock, log } = this.#options;
    const from = plainAddress(address);
    if (this.#complaints.isNew(from, reason, clock.nowMs()))
      log.warn("api.certificate-refused", { reason, address: from });
  }
}

function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "code" in error && error.code === "EADDRINUSE"
    ? "the port is in use by another program"
    : error.message;
}

type Inner = Bun.Socket<undefined>;

/** One client's connection, in clear from here to the server that was made for it. */
class Passage {
  readonly #outer: SecureSocket;
  readonly #onEnded: () => void;
  readonly #firstAnswer: ReturnType<typeof setTimeout>;
  #inner: Inner | null = null;
  #endServer: ReturnType<typeof serveBehind> | null = null;
  /** From the client, not taken yet. */
  #waiting: Uint8Array[] = [];
  /** The server has said all; it goes out still. */
  #isLast = false;
  #isEnded = false;

  constructor(outer: SecureSocket, firstAnswerMs: number, onEnded: () => void) {
    this.#outer = outer;
    this.#onEnded = onEnded;
    this.#firstAnswer = setTimeout(() => this.end(), firstAnswerMs);
    outer.take({
      onData: (chunk) => this.#inward(new Uint8Array(chunk)),
      onDrain: () => {
        if (this.#isLast) this.end();
        else this.#inner?.resume();
      },
      onClose: () => this.end(),
    });
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  async open(path: string, serve: (path: string) => ReturnType<typeof serveBehind>): Promise<void> {
    this.#endServer = serve(path);
    try {
      const inner = await Bun.connect<undefined>({
        unix: path,
        socket: {
          data: (_, chunk) => this.#outward(new Uint8Array(chunk)),
          drain: () => this.#flush(),
          close: () => this.#said(),
          error: () => this.end(),
        },
      });
      this.#inner = inner;
    } finally {
      // A listener that was stopped would close the connection after its first answer; one without a name nobody finds.
      rmSync(path, { force: true });
    }
    if (this.#isEnded) this.#inner.end();
    else this.#flush();
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#firstAnswer);
    this.#waiting = [];
    this.#inner?.end();
    this.#outer.destroy();
    void this.#endServer?.();
    this.#onEnded();
  }

  #inward(chunk: Uint8Array): void {
    this.#waiting.push(chunk);
    const bytes = this.#waiting.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (bytes > WAITING_BYTES_MAX) this.end();
    else this.#flush();
  }

  #flush(): void {
    while (this.#inner !== null && !this.#isEnded) {
      const [first] = this.#waiting;
      if (first === undefined) return;
      const taken = Math.max(0, this.#inner.write(first));
      if (taken < first.byteLength) {
        this.#waiting[0] = first.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
  }

  #outward(chunk: Uint8Array): void {
    if (this.#isEnded) return;
    clearTimeout(this.#firstAnswer);
    // A client that reads slowly is written for slowly.
    if (!this.#outer.write(chunk)) this.#inner?.pause();
  }

  #said(): void {
    this.#isLast = true;
    if (!this.#outer.hasUnsent) this.end();
  }
}
