/**
 * One authenticated connection to one member: frames in both directions, calls and their answers, a bounded queue while
 * the other side is slow. Which member it is was proven by its certificate before this object was made.
 */
import type { ClusterId, MemberId } from "../base/ids.ts";
import { encodeFrame, type Frame, type FrameKind, FrameReader } from "./frame.ts";
import { MalformedError } from "./malformed.ts";
import { PeerError } from "./peer-error.ts";
import type { SecureSocket } from "./secure-socket.ts";

/** Raised when members of the older version could misunderstand the newer one. */
export const PROTOCOL_VERSION = 1;

/** What waits for a slow peer, at most; beyond it the oldest Raft traffic goes (Raft sends it again). */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
/** Looks at which nothing was heard before a ping is sent, and after which the connection is given up. */
const LOOKS_BEFORE_PING = 2;
const LOOKS_BEFORE_CLOSE = 5;

export interface Hello {
  readonly protocol: number;
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
}

export interface ConnectionEvents {
  /** The other side said hello: everything may be sent. Called once, before any frame. */
  onOpen(connection: Connection): void;
  /** Every frame but the connection's own (hello, ping, pong, reply, failure). May throw `MalformedError`. */
  onFrame(connection: Connection, frame: Frame): void;
  /** Something was heard, whatever it was. */
  onHeard(connection: Connection): void;
  /** Once. `reason` is null if we closed it ourselves. */
  onClose(connection: Connection, reason: string | null): void;
}

interface PendingCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: PeerError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

export class Connection {
  readonly peerId: MemberId;
  readonly #socket: SecureSocket;
  readonly #own: Hello;
  readonly #events: ConnectionEvents;
  readonly #reader = new FrameReader();
  readonly #calls = new Map<number, PendingCall>();
  #queue: { readonly kind: FrameKind; readonly bytes: Uint8Array }[] = [];
  #queuedBytes = 0;
  #nextCallId = 1;
  #isOpen = false;
  #isClosed = false;
  #isBlocked = false;
  #looksInSilence = 0;

  /** Takes the socket over and says hello. */
  constructor(socket: SecureSocket, peerId: MemberId, own: Hello, events: ConnectionEvents) {
    this.#socket = socket;
    this.peerId = peerId;
    this.#own = own;
    this.#events = events;
    socket.take({
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => this.#onDrain(),
      onClose: (reason) => this.#finish(reason),
    });
    this.#write("hello", jsonBytes(own));
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#isClosed;
  }

  /** Best effort: dropped if the connection is gone. */
  send(kind: FrameKind, payload: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#isBlocked) this.#enqueue(kind, encodeFrame(kind, payload));
    else this.#write(kind, payload);
  }

  sendJson(kind: FrameKind, value: unknown): void {
    this.send(kind, jsonBytes(value));
  }

  /**
   * Asks the other side.
   *
   * @throws {PeerError} (as a rejection) `lost`, `deadline` or `refused`.
   */
  call(method: string, payload: unknown, deadlineMs: number): Promise<unknown> {
    const id = this.#nextCallId;
    this.#nextCallId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(
          new PeerError("deadline", `${this.peerId} did not answer '${method}' within ${deadlineMs} ms`),
        );
      }, deadlineMs);
      this.#calls.set(id, { resolve, reject, timer });
      this.sendJson("call", { id, method, payload });
    });
  }

  /** To be called about once a second: asks for a sign of life, and gives up where there is none. */
  look(): void {
    this.#looksInSilence += 1;
    if (this.#looksInSilence >= LOOKS_BEFORE_CLOSE) this.close("nothing was heard for seconds");
    else if (this.#looksInSilence >= LOOKS_BEFORE_PING) this.send("ping", new Uint8Array());
  }

  /** Asks for a sign of life now. */
  ping(): void {
    this.send("ping", new Uint8Array());
  }

  /** @param reason null where there is nothing wrong with it. */
  close(reason: string | null): void {
    this.#finish(reason);
  }

  #onData(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (this.#isClosed) return;
        this.#looksInSilence = 0;
        this.#onFrame(frame);
      }
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.#finish(`malformed: ${error.message}`);
      return;
    }
    if (this.isOpen) this.#events.onHeard(this);
  }

  #onFrame(frame: Frame): void {
    if (!this.#isOpen) {
      this.#onHello(frame);
      return;
    }
    switch (frame.kind) {
      case "hello":
        throw new MalformedError("a second hello");
      case "ping":
        this.send("pong", new Uint8Array());
        return;
      case "pong":
        return;
      case "reply":
      case "failure":
        this.#onAnswer(frame);
        return;
      default:
        this.#events.onFrame(this, frame);
    }
  }

  #onHello(frame: Frame): void {
    if (frame.kind !== "hello") throw new MalformedError(`${frame.kind} before hello`);
    const hello = parseJson(frame.payload) as Partial<Hello> | null;
    if (hello?.protocol !== PROTOCOL_VERSION) {
      throw new MalformedError(
        `it speaks version ${String(hello?.protocol)} of the peer protocol, this member ${PROTOCOL_VERSION}`,
      );
    }
    if (hello.clusterId !== this.#own.clusterId) {
      throw new MalformedError(`it says that it belongs to cluster ${String(hello.clusterId)}`);
    }
    if (hello.memberId !== this.peerId) {
      throw new MalformedError(
        `it says that it is ${String(hello.memberId)}, its certificate says ${this.peerId}`,
      );
    }
    this.#isOpen = true;
    this.#events.onOpen(this);
  }

  #onAnswer(frame: Frame): void {
    const answer = parseJson(frame.payload);
    if (typeof answer !== "object" || answer === null)
      throw new MalformedError("an answer that is not an object");
    const { id, value, message } = answer as { id?: unknown; value?: unknown; message?: unknown };
    const call = typeof id === "number" ? this.#calls.get(id) : undefined;
    // Answered after its deadline.
    if (call === undefined || typeof id !== "number") return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    if (frame.kind === "reply") call.resolve(value);
    else call.reject(new PeerError("refused", String(message)));
  }

  #write(kind: FrameKind, payload: Uint8Array): void {
    this.#isBlocked = !this.#socket.write(encodeFrame(kind, payload));
  }

  #enqueue(kind: FrameKind, bytes: Uint8Array): void {
    this.#queue.push({ kind, bytes });
    this.#queuedBytes += bytes.byteLength;
    while (this.#queuedBytes > QUEUE_BYTES_MAX) {
      const oldest = this.#queue.findIndex((item) => item.kind === "raft");
      if (oldest < 0) {
        this.#finish(`it takes nothing, and ${this.#queuedBytes} bytes wait for it`);
        return;
      }
      const [dropped] = this.#queue.splice(oldest, 1);
      this.#queuedBytes -= dropped?.bytes.byteLength ?? 0;
    }
  }

  #onDrain(): void {
    this.#isBlocked = false;
    while (!this.#isBlocked && !this.#isClosed) {
      const item = this.#queue.shift();
      if (item === undefined) return;
      this.#queuedBytes -= item.bytes.byteLength;
      this.#isBlocked = !this.#socket.write(item.bytes);
    }
  }

  #finish(reason: string | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#socket.destroy();
    for (const { reject, timer } of this.#calls.values()) {
      clearTimeout(timer);
      reject(new PeerError("lost", `the connection to ${this.peerId} was lost before it answered`));
    }
    this.#calls.clear();
    this.#events.onClose(this, reason);
  }
}

/** @throws {MalformedError} if it is not JSON. */
export function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new MalformedError("a payload that is not JSON");
  }
}

function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
