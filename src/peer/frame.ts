/**
 * The peer transport's framing: a length of four bytes (big-endian, counting what follows), a kind of one byte, and the
 * payload. Bounded, so that nobody can make us remember more than one frame.
 */
import { MalformedError } from "./malformed.ts";

/** Larger ones close the connection. An append message carries 256 KiB of entries at most, or one larger entry. */
export const FRAME_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Append only: the place in the list is the byte on the wire. The first frame in both directions is a `hello`; a `call`
 * is answered with `reply`, `failure` or (on a bulk connection only) `bytes` of the same id.
 */
export const FRAME_KINDS = [
  "hello",
  "raft",
  "status",
  "digest",
  "call",
  "reply",
  "failure",
  "ping",
  "pong",
  "bytes",
] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

const LENGTH_BYTES = 4;

/** A frame as it goes over the wire. */
export function encodeFrame(kind: FrameKind, payload: Uint8Array): Uint8Array {
  const length = payload.byteLength + 1;
  if (length > FRAME_BYTES_MAX) {
    throw new MalformedError(`a ${kind} frame of ${length} bytes is larger than ${FRAME_BYTES_MAX}`);
  }
  const frame = new Uint8Array(LENGTH_BYTES + length);
  new DataView(frame.buffer).setUint32(0, length);
  frame[LENGTH_BYTES] = FRAME_KINDS.indexOf(kind);
  frame.set(payload, LENGTH_BYTES + 1);
  return frame;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /**
   * The frames that are complete with `chunk`.
   *
   * @throws {MalformedError} on a length or a kind that cannot be.
   */
  push(chunk: Uint8Array): readonly Frame[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    const frames: Frame[] = [];
    for (let frame = this.#next(); frame !== null; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Frame | null {
    if (this.#bytes < LENGTH_BYTES) return null;
    const length = this.#length();
    if (length < 1 || length > FRAME_BYTES_MAX) {
      throw new MalformedError(`a frame of ${length} bytes, where 1 to ${FRAME_BYTES_MAX} are allowed`);
    }
    if (this.#bytes < LENGTH_BYTES + length) return null;
    const all = this.#join();
    const kind = FRAME_KINDS[all[LENGTH_BYTES] ?? -1];
    if (kind === undefined) throw new MalformedError(`a frame of unknown kind ${all[LENGTH_BYTES]}`);
    const end = LENGTH_BYTES + length;
    // A copy: the payload may live on (an entry's data does) and must not hold the whole chunk.
    const payload = all.slice(LENGTH_BYTES + 1, end);
    this.#chunks = end === all.byteLength ? [] : [all.subarray(end)];
    this.#bytes = all.byteLength - end;
    return { kind, payload };
  }

  #length(): number {
    const first = this.#chunks[0];
    const head = first !== undefined && first.byteLength >= LENGTH_BYTES ? first : this.#join();
    return new DataView(head.buffer, head.byteOffset, LENGTH_BYTES).getUint32(0);
  }

  /** Joined once per frame, not once per chunk: a large frame in small chunks is not copied again and again. */
  #join(): Uint8Array {
    const [only] = this.#chunks;
    if (this.#chunks.length === 1 && only !== undefined) return only;
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.byteLength;
    }
    this.#chunks = [all];
    return all;
  }
}
