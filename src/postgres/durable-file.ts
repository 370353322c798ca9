import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Writes a file so that after a crash it holds either the old contents or the new, never half: aside, sync, rename, sync
 * of the directory. When this returns, the new contents survive a power failure.
 *
 * Synchronous on purpose: nothing of this process happens between a check and the write that depends on it.
 */
export function writeDurably(path: string, contents: string, mode: number): void {
  const aside = `${path}.new`;
  rmSync(aside, { force: true });
  const file = openSync(aside, "wx", mode);
  try {
    const bytes = Buffer.from(contents);
    let written = 0;
    while (written < bytes.length) written += writeSync(file, bytes, written);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
  syncDirectory(dirname(path));
}

/**
 * Writes a file so that whoever opens it sees the old contents or the new, never half. Not synced: for what is rendered
 * again after a crash of the machine anyway.
 */
export function writeWhole(path: string, contents: string, mode: number): void {
  writeFileSync(`${path}.new`, contents, { mode });
  renameSync(`${path}.new`, path);
}

/** Removes a file; when this returns, it stays removed. Absent is fine. */
export function removeDurably(path: string): void {
  rmSync(path, { force: true });
  syncDirectory(dirname(path));
}

/** Renames within one file system; when this returns, the new name survives a power failure. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to);
  syncDirectory(dirname(to));
  if (dirname(from) !== dirname(to)) syncDirectory(dirname(from));
}

/** Makes what was renamed, made or removed in a directory survive a power failure. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
