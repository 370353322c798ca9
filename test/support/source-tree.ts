/** The repository's own text files, for the tests that look at the form of the code. Read once, sorted by path. */

import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

export interface SourceFile {
  /** From the repository's root, with forward slashes: `src/base/lsn.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface FoundFile {
  readonly path: string;
  readonly absolutePath: string;
}

export const ROOT = resolve(import.meta.dir, "../..");

/** What is downloaded or built. It walks instead of asking git: the sources may have been unpacked from an archive. */
const NOT_OURS: readonly string[] = [".git", ".tools", "node_modules", "dist", "coverage"];

/** Every file of the repository. */
export function listFiles(): readonly FoundFile[] {
  return walk(ROOT).sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Every TypeScript file under these folders (`src`, `test/unit`). */
export function readTypeScript(...folders: readonly string[]): readonly SourceFile[] {
  return listFiles()
    .filter(({ path }) => path.endsWith(".ts") && folders.some((folder) => path.startsWith(`${folder}/`)))
    .map(readSource);
}

export function readSource({ path, absolutePath }: FoundFile): SourceFile {
  return { path, text: readFileSync(absolutePath, "utf8") };
}

function walk(directory: string): FoundFile[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const absolutePath = join(directory, entry.name);
    if (entry.isDirectory()) return NOT_OURS.includes(entry.name) ? [] : walk(absolutePath);
    // A log is git-ignored and nobody's source.
    if (!entry.isFile() || entry.name.endsWith(".log")) return [];
    return [{ path: relative(ROOT, absolutePath), absolutePath }];
  });
}
