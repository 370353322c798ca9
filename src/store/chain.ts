/**
 * The hash chain over the log: each row's hash covers the row before, so that damage anywhere is seen at start.
 */
import type { Entry } from "../raft/engine/message.ts";

/** Where the chain of a log without a compacted past begins. */
export const CHAIN_START: Uint8Array = new Uint8Array(32);

/** The hash of `entry` after a row with the hash `previous`. */
export function chainHash(previous: Uint8Array, entry: Entry): Uint8Array {
  const head = new DataView(new ArrayBuffer(16));
  head.setFloat64(0, entry.index);
  head.setFloat64(8, entry.term);
  return new Bun.CryptoHasher("sha256")
    .update(previous)
    .update(new Uint8Array(head.buffer))
    .update(`${entry.kind}:`)
    .update(entry.data)
    .digest();
}
