/**
 * The hash chain over the log: each row's hash covers the row before, so that damage anywhere is seen at start.
 */
import type { Entry } from "../raft/engine/message.ts";

/** Where the chain of a log without a compacted past begins. */
export const CHAIN_START: Uint8Array = new Uint8Array(32);

// Kept, because making one takes longer than the hash of a small entry; it is empty again after each `digest`.
const hasher = new Bun.CryptoHasher("sha256");
const head = new DataView(new ArrayBuffer(16));
const headBytes = new Uint8Array(head.buffer);

/** The hash of `entry` after a row with the hash `previous`. */
export function chainHash(previous: Uint8Array, entry: Entry): Uint8Array {
  head.setFloat64(0, entry.index);
  head.setFloat64(8, entry.term);
  return hasher.update(previous).update(headBytes).update(`${entry.kind}:`).update(entry.data).digest();
}
