/**
 * The key that keeps what is agreed unreadable in the database: among it is the authority's private key, and passwords in
 * rules for connections. Each member has its own, in a file beside its database; the file may be a symbolic link to where
 * the host keeps secrets.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeDurably } from "./durable-file.ts";
import { StoreError } from "./store-error.ts";

export const KEY_BYTES = 32;

/** Where a database has its key, unless somebody says otherwise. */
export function storeKeyPathOf(databasePath: string): string {
  return join(dirname(databasePath), "store.key");
}

/**
 * Null where there is none.
 *
 * @throws {StoreError} if it is no key, cannot be read, or can be read by others.
 */
export function readStoreKey(path: string): Uint8Array | null {
  if (!existsSync(path)) return null;
  const { text, mode } = readPrivately(path);
  if ((mode & 0o077) !== 0)
    throw new StoreError(`${path} can be read by other users of this host: chmod 600 ${path}`);
  if (!/^[0-9a-f]{64}\n?$/.test(text))
    throw new StoreError(
      `${path} is not a key that guacamole made: put the right one back, or remove this member from the cluster, and let the host join as a new one with an empty data directory`,
    );
  return Buffer.from(text.trim(), "hex");
}

/** Makes one, durable before anything is encrypted with it. @throws what the disk answers. */
export function makeStoreKey(path: string): Uint8Array {
  const key = randomBytes(KEY_BYTES);
  writeDurably(path, (write) => write(`${key.toString("hex")}\n`));
  return key;
}

function readPrivately(path: string): { readonly text: string; readonly mode: number } {
  try {
    return { text: readFileSync(path, "utf8"), mode: statSync(path).mode };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError(`cannot read ${path}: ${reason}`, { cause: error });
  }
}
