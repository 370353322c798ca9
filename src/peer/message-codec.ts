/**
 * Raft's messages as bytes. Who sent a message and to whom is not in them: the connection proves the one and the reader
 * is the other. Numbers are doubles: exact for every index and term there can be.
 */
import { assert, unreachable } from "../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Entry, EntryId, EntryKind, Message } from "../raft/engine/message.ts";
import { MalformedError } from "./malformed.ts";

/** What travels as a frame. A snapshot's bytes have a connection of their own. */
type WireMessage = Exclude<Message, { readonly type: "snapshot" }>;

/** Append only: the place in the list is the byte on the wire. */
const TYPES = [
  "pre-vote",
  "vote",
  "pre-vote-response",
  "vote-response",
  "append",
  "append-response",
  "heartbeat",
  "heartbeat-response",
  "timeout-now",
] as const satisfies readonly WireMessage["type"][];

const KINDS = ["noop", "command", "config"] as const satisfies readonly EntryKind[];

/** An entry without its data: term, index, kind, length. */
const ENTRY_BYTES = 8 + 8 + 1 + 4;
/** More than any message needs without its entries. */
const HEAD_BYTES = 1 + 7 * 8;

/** A snapshot has no bytes here: whoever received its contents says that to its own engine. */
export function encodeMessage(message: Message): Uint8Array {
  assert(message.type !== "snapshot", "a snapshot does not travel as a message");
  const entries = message.type === "append" ? message.entries : [];
  const bytes = entries.reduce((sum, { data }) => sum + ENTRY_BYTES + data.byteLength, HEAD_BYTES);
  const writer = new Writer(bytes);
  writer.byte(TYPES.indexOf(message.type));
  writer.number(message.term);
  switch (message.type) {
    case "pre-vote":
    case "vote":
      writer.id(message.last);
      writer.byte(message.isTransfer ? 1 : 0);
      break;
    case "pre-vote-response":
    case "vote-response":
      writer.byte(message.isGranted ? 1 : 0);
      break;
    case "append":
      writer.id(message.previous);
      writer.number(message.commit);
      writer.number(message.entries.length);
      for (const entry of message.entries) {
        writer.id(entry);
        writer.byte(KINDS.indexOf(entry.kind));
        writer.bytes(entry.data);
      }
      break;
    case "append-response":
      writer.number(message.index);
      writer.byte(message.rejection === null ? 0 : 1);
      if (message.rejection !== null) writer.id(message.rejection);
      break;
    case "heartbeat":
      writer.number(message.commit);
      writer.number(message.round);
      break;
    case "heartbeat-response":
      writer.number(message.round);
      break;
    case "timeout-now":
      break;
    default:
      unreachable(message);
  }
  return writer.done();
}

/** @throws {MalformedError} if the bytes are not a message, or one that no engine sends. */
export function decodeMessage(payload: Uint8Array, from: MemberId, to: MemberId): Message {
  const reader = new Reader(payload);
  const type = TYPES[reader.byte()];
  if (type === undefined) throw new MalformedError("a Raft message of unknown type");
  const head = { from, to, term: reader.number() as Term };
  const message = decodeBody(reader, type, head);
  reader.end();
  return message;
}

function decodeBody(
  reader: Reader,
  type: WireMessage["type"],
  head: { from: MemberId; to: MemberId; term: Term },
): Message {
  switch (type) {
    case "pre-vote":
    case "vote":
      return { ...head, type, last: reader.id(), isTransfer: reader.flag() };
    case "pre-vote-response":
    case "vote-response":
      return { ...head, type, isGranted: reader.flag() };
    case "append": {
      const previous = reader.id();
      const commit = reader.index();
      return { ...head, type, previous, commit, entries: decodeEntries(reader, previous, head.term) };
    }
    case "append-response": {
      const index = reader.index();
      return { ...head, type, index, rejection: reader.flag() ? reader.id() : null };
    }
    case "heartbeat":
      return { ...head, type, commit: reader.index(), round: reader.number() };
    case "heartbeat-response":
      return { ...head, type, round: reader.number() };
    case "timeout-now":
      return { ...head, type };
    default:
      return unreachable(type);
  }
}

/** Holds a sender to what every log promises: no gap, and terms that never go back. */
function decodeEntries(reader: Reader, previous: EntryId, term: Term): readonly Entry[] {
  const count = reader.number();
  const entries: Entry[] = [];
  let before = previous;
  while (entries.length < count) {
    const { term: entryTerm, index } = reader.id();
    const kind = KINDS[reader.byte()];
    if (kind === undefined) throw new MalformedError("an entry of unknown kind");
    if (index !== before.index + 1) throw new MalformedError(`entry ${index} after entry ${before.index}`);
    if (entryTerm < before.term || entryTerm > term) {
      throw new MalformedError(
        `entry ${index} of term ${entryTerm}, after ${before.term}, in a message of ${term}`,
      );
    }
    const entry: Entry = { term: entryTerm, index, kind, data: reader.bytes() };
    entries.push(entry);
    before = entry;
  }
  return entries;
}

class Writer {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytesMax: number) {
    this.#bytes = new Uint8Array(bytesMax);
    this.#view = new DataView(this.#bytes.buffer);
  }

  byte(value: number): void {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
  }

  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "numbers on the wire are exact");
    this.#view.setFloat64(this.#at, value);
    this.#at += 8;
  }

  id({ term, index }: EntryId): void {
    this.number(term);
    this.number(index);
  }

  bytes(value: Uint8Array): void {
    this.#view.setUint32(this.#at, value.byteLength);
    this.#bytes.set(value, this.#at + 4);
    this.#at += 4 + value.byteLength;
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  flag(): boolean {
    const value = this.byte();
    if (value > 1) throw new MalformedError(`${value} is neither yes nor no`);
    return value === 1;
  }

  number(): number {
    const value = this.#view.getFloat64(this.#take(8));
    if (!Number.isSafeInteger(value) || value < 0) throw new MalformedError(`${value} is not a count`);
    return value;
  }

  index(): LogIndex {
    return this.number() as LogIndex;
  }

  id(): EntryId {
    return { term: this.number() as Term, index: this.index() };
  }

  bytes(): Uint8Array {
    const length = this.#view.getUint32(this.#take(4));
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  end(): void {
    if (this.#at !== this.#bytes.byteLength)
      throw new MalformedError("bytes after the end of a Raft message");
  }

  #take(count: number): number {
    const start = this.#at;
    if (start + count > this.#bytes.byteLength)
      throw new MalformedError("a Raft message that ends too early");
    this.#at += count;
    return start;
  }
}
