/**
 * A TLS connection between members, over Bun's own sockets: the ones of `node:tls` take three times the processor for
 * the small messages that members exchange all day.
 *
 * Both sides show a certificate. Nobody gets to see such a socket before the other side's was verified against the
 * authority; whom it names is for the caller to judge. The host's name proves nothing and is not looked at.
 */
import type { PeerCertificate } from "node:tls";
import type { Address } from "./address.ts";

export interface Credentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface SecureEvents {
  onData(chunk: Uint8Array): void;
  /** Everything that `write` kept has gone out. */
  onDrain(): void;
  /** Once; not called if we closed it ourselves. */
  onClose(reason: string): void;
}

type Raw = Bun.Socket<SecureSocket>;

const CLOSED_BY_OTHER = "closed by the other side";

export class SecureSocket {
  readonly #raw: Raw;
  /** Of the other side. Kept: one that is gone cannot be asked. */
  readonly remoteAddress: string;
  #events: SecureEvents | null = null;
  #unsent: Uint8Array[] = [];
  #isClosed = false;

  constructor(raw: Raw) {
    this.#raw = raw;
    this.remoteAddress = raw.remoteAddress;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What was written waits for the other side. */
  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /** What the verified certificate says. */
  get certificate(): PeerCertificate {
    return this.#raw.getPeerCertificate();
  }

  /** Who is told from now on. */
  take(events: SecureEvents): void {
    this.#events = events;
  }

  /** @returns false if the other side is slow: the bytes are kept, and `onDrain` tells when more may come. */
  write(bytes: Uint8Array): boolean {
    if (this.#isClosed) return false;
    if (this.#unsent.length === 0) {
      const sent = Math.max(0, this.#raw.write(bytes));
      if (sent === bytes.byteLength) return true;
      this.#unsent.push(bytes.subarray(sent));
    } else {
      this.#unsent.push(bytes);
    }
    return false;
  }

  /** What was written goes out still, unless the other side does not take it. */
  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#unsent.length > 0) this.#raw.terminate();
    else this.#raw.close();
    this.#unsent = [];
  }

  received(chunk: Uint8Array): void {
    if (!this.#isClosed) this.#events?.onData(chunk);
  }

  drained(): void {
    while (!this.#isClosed) {
      const [first] = this.#unsent;
      if (first === undefined) break;
      const sent = Math.max(0, this.#raw.write(first));
      if (sent < first.byteLength) {
        this.#unsent[0] = first.subarray(sent);
        return;
      }
      this.#unsent.shift();
    }
    if (!this.#isClosed) this.#events?.onDrain();
  }

  ended(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.destroy();
    this.#events?.onClose(error?.message ?? CLOSED_BY_OTHER);
  }
}

/** What a socket does once it is one of a `SecureSocket`, whoever opened it. */
const LIVE = {
  data: (raw: Raw, chunk: Uint8Array) => loudly(() => raw.data.received(chunk)),
  drain: (raw: Raw) => loudly(() => raw.data.drained()),
  end: (raw: Raw) => loudly(() => raw.data.ended(undefined)),
  error: (raw: Raw, error: Error) => loudly(() => raw.data.ended(error)),
  close: (raw: Raw, error?: Error) => loudly(() => raw.data.ended(error)),
};

/** Bun tells what a handler throws to the socket's own error handler. It is a bug of ours, and nobody's socket's. */
function loudly(step: () => void): void {
  try {
    step();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}

export interface SecureListener {
  readonly port: number;
  /** Accepts no more; what was told as secure lives on. */
  stop(): void;
}

/** What clients that have not proven who they are may take of us. */
export interface HandshakeLimits {
  readonly deadlineMs: number;
  /** At a time; more are turned away at once. */
  readonly countMax: number;
}

export interface ListenEvents {
  onSecure(socket: SecureSocket): void;
  onRefused(reason: string, address: string): void;
}

/** @throws if the address cannot be had. */
export function listenSecurely(
  { host, port }: Address,
  credentials: Credentials,
  handshakes: HandshakeLimits,
  events: ListenEvents,
): SecureListener {
  const timers = new Map<SecureSocket, ReturnType<typeof setTimeout>>();
  const shake = (socket: SecureSocket): void => {
    clearTimeout(timers.get(socket));
    timers.delete(socket);
  };
  const listener = Bun.listen<SecureSocket>({
    hostname: host,
    port,
    tls: { ...credentials, requestCert: true, rejectUnauthorized: true },
    socket: {
      ...LIVE,
      open(raw) {
        const socket = new SecureSocket(raw);
        raw.data = socket;
        if (timers.size >= handshakes.countMax) {
          events.onRefused(`${timers.size} others have not shown a certificate yet`, raw.remoteAddress);
          socket.destroy();
          return;
        }
        raw.setNoDelay(true);
        const timer = setTimeout(() => {
          timers.delete(socket);
          events.onRefused(`no handshake within ${handshakes.deadlineMs} ms`, socket.remoteAddress);
          socket.destroy();
        }, handshakes.deadlineMs);
        timers.set(socket, timer);
      },
      handshake(raw, _, error) {
        shake(raw.data);
        if (raw.data.isClosed) return;
        loudly(() => {
          if (error === null && raw.authorized) {
            events.onSecure(raw.data);
            return;
          }
          raw.data.destroy();
          events.onRefused(error?.message ?? "its certificate was not verified", raw.data.remoteAddress);
        });
      },
      close(raw, error) {
        shake(raw.data);
        LIVE.close(raw, error);
      },
    },
  });
  return {
    port: listener.port,
    stop: () => {
      listener.stop(false);
      for (const [socket, timer] of timers) {
        clearTimeout(timer);
        socket.destroy();
      }
      timers.clear();
    },
  };
}

export interface DialEvents {
  /** Once, unless it failed or was given up. */
  onSecure(socket: SecureSocket): void;
  /** Once, unless it was secure or was given up. */
  onFailed(reason: string): void;
}

const OTHER_AUTHORITY = /self.signed certificate|unable to (get|verify)/;

/** In OpenSSL's words, and what it means to whoever was away while the cluster's authority was replaced. */
function explainUnverified(error: Error | null): string {
  const said = error?.message ?? "its certificate was not verified";
  return OTHER_AUTHORITY.test(said)
    ? `${said}: it shows a certificate of an authority that this member does not trust. Where the cluster's authority was replaced while this member was away, this one was removed first: let it join as a new member, with an empty data-dir`
    : said;
}

/** @returns what gives it up; then nothing is told any more. Harmless once it is secure. */
export function dialSecurely(
  { host, port }: Address,
  credentials: Credentials,
  events: DialEvents,
): () => void {
  let raw: Raw | null = null;
  let isOver = false;
  const fail = (reason: string): void => {
    if (isOver) return;
    isOver = true;
    raw?.data.destroy();
    loudly(() => events.onFailed(reason));
  };
  const options: Bun.TCPSocketConnectOptions<SecureSocket> = {
    hostname: host,
    port,
    tls: { ...credentials, rejectUnauthorized: true },
    socket: {
      ...LIVE,
      open(opened) {
        const socket = new SecureSocket(opened);
        opened.data = socket;
        opened.setNoDelay(true);
        raw = opened;
        if (isOver) socket.destroy();
      },
      handshake(opened, _, error) {
        if (isOver) return;
        if (error !== null || !opened.authorized) {
          fail(explainUnverified(error));
          return;
        }
        isOver = true;
        loudly(() => events.onSecure(opened.data));
      },
      error(opened, error) {
        fail(error.message);
        LIVE.error(opened, error);
      },
      close(opened, error) {
        fail(error?.message ?? "closed before it was secure");
        LIVE.close(opened, error);
      },
      connectError: (_, error) => fail(error.message),
    },
  };
  // Never told before this function returns, whatever is wrong.
  const connecting = (async () => Bun.connect<SecureSocket>(options))();
  connecting.catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));
  return () => {
    if (isOver) return;
    isOver = true;
    raw?.data.destroy();
  };
}
