/**
 * One authenticated connection to one member: frames in both directions, calls and their answers, a bounded queue while
 * the other side is slow. Which member it is was proven by its certificate before this object was made.
 */
import type { MemberId } from "../base/ids.ts";
import { encodeFrame, type Frame, type FrameKind, FrameReader } from "./frame.ts";
import { type Hello, parseHello, whyRefused } from "./hello.ts";
import { MalformedError } from "./malformed.ts";
import { type Delivery, Outbox } from "./outbox.ts";
import { PeerError } from "./peer-error.ts";
import { PendingCalls } from "./pending-calls.ts";
import type { SecureSocket } from "./secure-socket.ts";

export interface ConnectionLimits {
  /** What waits for a slow peer, at most. */
  readonly queueBytesMax: number;
  /** Heartbeats and the like that wait for it. */
  readonly urgentFramesMax: number;
  /** Calls that we made and that are not answered yet. */
  readonly callsMax: number;
  /** Calls of the other side that we work on. */
  readonly incomingCallsMax: number;
}

export const DEFAULT_CONNECTION_LIMITS: ConnectionLimits = {
  queueBytesMax: 16 * 1024 * 1024,
  urgentFramesMax: 256,
  callsMax: 1024,
  incomingCallsMax: 256,
};

/** Looks at which nothing was heard before a ping is sent, and after which the connection is given up. */
const LOOKS_BEFORE_PING = 2;
const LOOKS_BEFORE_CLOSE = 5;

const ID_BYTES = 8;

export interface ConnectionEvents {
  /** The other side said hello: everything may be sent. Called once, before any frame. */
  onOpen(connection: Connection, hello: Hello): void;
  /** Every frame but the connection's own (hello, ping, pong, calls and their answers). May throw `MalformedError`. */
  onFrame(connection: Connection, frame: Frame): void;
  /** Its answer, or its rejection's message, goes back. Bytes go back as they are. */
  onCall(connection: Connection, method: string, payload: unknown): Promise<unknown>;
  /** Something was heard, whatever it was. */
  onHeard(connection: Connection): void;
  /** Once. `reason` is null if we closed it ourselves. */
  onClose(connection: Connection, reason: string | null): void;
}

export class Connection {
  readonly peerId: MemberId;
  readonly #socket: SecureSocket;
  readonly #own: Hello;
  readonly #events: ConnectionEvents;
  readonly #limits: ConnectionLimits;
  readonly #reader = new FrameReader();
  readonly #calls: PendingCalls;
  readonly #outbox: Outbox;
  #incomingCalls = 0;
  #isOpen = false;
  #isClosed = false;
  #isBlocked = false;
  #looksInSilence = 0;

  /** Takes the socket over and says hello. */
  constructor(
    socket: SecureSocket,
    peerId: MemberId,
    own: Hello,
    events: ConnectionEvents,
    limits: ConnectionLimits = DEFAULT_CONNECTION_LIMITS,
  ) {
    this.#socket = socket;
    this.peerId = peerId;
    this.#own = own;
    this.#events = events;
    this.#limits = limits;
    this.#calls = new PendingCalls(peerId, limits.callsMax);
    this.#outbox = new Outbox({ bytesMax: limits.queueBytesMax, urgentMax: limits.urgentFramesMax });
    socket.take({
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => this.#onDrain(),
      onClose: (reason) => this.#finish(reason),
    });
    this.#send("hello", jsonBytes(own), { kind: "once" });
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#isClosed;
  }

  /** Best effort: dropped if the connection is gone, or too slow and it will be said again. */
  sendRaft(payload: Uint8Array, isUrgent: boolean): void {
    this.#send("raft", payload, { kind: isUrgent ? "urgent" : "repeated" });
  }

  /** Best effort; what is newer takes its place in the queue. */
  sendLatest(kind: "status" | "digest", value: unknown): void {
    this.#send(kind, jsonBytes(value), { kind: "latest", topic: kind });
  }

  /**
   * Asks the other side.
   *
   * @throws {PeerError} (as a rejection) `overloaded`, `lost`, `deadline` or `refused`.
   */
  call(method: string, payload: unknown, deadlineMs: number): Promise<unknown> {
    if (this.#isClosed) {
      return Promise.reject(new PeerError("unreachable", `the connection to ${this.peerId} is closed`));
    }
    return this.#calls.wait(method, deadlineMs, (id) =>
      this.#send("call", jsonBytes({ id, method, payload }), { kind: "once" }),
    );
  }

  /** To be called about once a second: asks for a sign of life, and gives up where there is none. */
  look(): void {
    this.#looksInSilence += 1;
    if (this.#looksInSilence >= LOOKS_BEFORE_CLOSE) this.close("nothing was heard for seconds");
    else if (this.#looksInSilence >= LOOKS_BEFORE_PING) this.ping();
  }

  /** Asks for a sign of life now. */
  ping(): void {
    this.#send("ping", new Uint8Array(), { kind: "urgent" });
  }

  /** @param reason null where there is nothing wrong with it. */
  close(reason: string | null): void {
    this.#finish(reason);
  }

  // --- In ---------------------------------------------------------------------------------------------------------

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
        this.#send("pong", new Uint8Array(), { kind: "urgent" });
        return;
      case "pong":
        return;
      case "call":
        this.#onCall(parseJson(frame.payload));
        return;
      case "reply":
      case "failure":
        this.#onAnswer(frame.kind, parseJson(frame.payload));
        return;
      case "bytes":
        this.#onBytes(frame.payload);
        return;
      default:
        this.#events.onFrame(this, frame);
    }
  }

  #onHello(frame: Frame): void {
    if (frame.kind !== "hello") throw new MalformedError(`${frame.kind} before hello`);
    const hello = parseHello(parseJson(frame.payload));
    if (hello === null) throw new MalformedError("a hello that does not say who speaks");
    const why = whyRefused(hello, this.#own, this.peerId);
    if (why !== null) {
      this.#finish(`refused: ${why}`);
      return;
    }
    this.#isOpen = true;
    this.#events.onOpen(this, hello);
  }

  #onCall(value: unknown): void {
    const { id, method, payload } = (value ?? {}) as { id?: unknown; method?: unknown; payload?: unknown };
    if (typeof id !== "number" || typeof method !== "string")
      throw new MalformedError("a call without id or method");
    if (this.#incomingCalls >= this.#limits.incomingCallsMax) {
      const message = `${this.#incomingCalls} calls are being worked on already: try again later`;
      this.#answer("failure", { id, message, isOverloaded: true });
      return;
    }
    this.#incomingCalls += 1;
    this.#events
      .onCall(this, method, payload)
      .finally(() => {
        this.#incomingCalls -= 1;
      })
      .then(
        (answer) => {
          if (answer instanceof Uint8Array) this.#answerBytes(id, answer);
          else this.#answer("reply", { id, value: answer ?? null });
        },
        (error: unknown) => {
          this.#answer("failure", { id, message: error instanceof Error ? error.message : String(error) });
        },
      );
  }

  #onAnswer(kind: "reply" | "failure", answer: unknown): void {
    if (typeof answer !== "object" || answer === null)
      throw new MalformedError("an answer that is not an object");
    const { id, value, message, isOverloaded } = answer as Record<string, unknown>;
    if (typeof id !== "number") return;
    if (kind === "reply") this.#calls.resolve(id, value);
    else
      this.#calls.reject(
        id,
        new PeerError(isOverloaded === true ? "overloaded" : "refused", String(message)),
      );
  }

  #onBytes(payload: Uint8Array): void {
    if (payload.byteLength < ID_BYTES) throw new MalformedError("bytes without the call that they answer");
    const id = new DataView(payload.buffer, payload.byteOffset, ID_BYTES).getFloat64(0);
    this.#calls.resolve(id, payload.subarray(ID_BYTES));
  }

  // --- Out --------------------------------------------------------------------------------------------------------

  #answer(
    kind: "reply" | "failure",
    answer: { readonly id: number; readonly [name: string]: unknown },
  ): void {
    try {
      this.#send(kind, jsonBytes(answer), { kind: "once" });
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.#send("failure", jsonBytes({ id: answer.id, message: error.message }), { kind: "once" });
    }
  }

  #answerBytes(id: number, bytes: Uint8Array): void {
    const payload = new Uint8Array(ID_BYTES + bytes.byteLength);
    new DataView(payload.buffer).setFloat64(0, id);
    payload.set(bytes, ID_BYTES);
    this.#send("bytes", payload, { kind: "once" });
  }

  #send(kind: FrameKind, payload: Uint8Array, delivery: Delivery): void {
    if (this.#isClosed) return;
    const frame = encodeFrame(kind, payload);
    if (!this.#isBlocked) {
      this.#isBlocked = !this.#socket.write(frame);
    } else if (!this.#outbox.push(delivery, frame)) {
      this.#finish(`it takes nothing, and ${this.#outbox.bytes} bytes wait for it`);
    }
  }

  #onDrain(): void {
    this.#isBlocked = false;
    while (!this.#isBlocked && !this.#isClosed) {
      const frame = this.#outbox.shift();
      if (frame === null) return;
      this.#isBlocked = !this.#socket.write(frame);
    }
  }

  #finish(reason: string | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#outbox.clear();
    this.#socket.destroy();
    this.#calls.loseAll();
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
