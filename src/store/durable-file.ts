/** Files that are there whole or not at all, whatever happens while they are written. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Writes a file with mode 0600 aside, syncs it, gives it its name, and syncs the directory. If `fill` or the disk throws,
 * nothing is left behind and what had the name before still has it.
 */
export function writeDurably(
  path: string,
  fill: (write: (bytes: Uint8Array | string) => void) => void,
): void {
  const aside = `${path}.new`;
  try {
    const file = openSync(aside, "w", 0o600);
    try {
      fill((bytes) => writeAll(file, typeof bytes === "string" ? Buffer.from(bytes) : bytes));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/** Makes it durable that a file has a name, or has none any more. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.byteLength; )
    written += writeSync(file, bytes, written, bytes.byteLength - written);
}
