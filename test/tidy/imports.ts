/**
 * Reads the imports of a TypeScript file from its text. `import type` counts: a type from above is a dependency upward
 * too, and a bundler's scan, which drops those, would say that all is well.
 */

import { posix } from "node:path";
import type { SourceFile } from "../support/source-tree.ts";

export interface Import {
  /** The importing file, from the repository's root. */
  readonly from: string;
  readonly specifier: string;
  /** The imported file under `src/` (`base/lsn.ts`) for a relative import that stays in `src/`; else null. */
  readonly target: string | null;
  /** The imported file from the repository's root for a relative import that leaves `src/`; else null. */
  readonly outside: string | null;
  /** The npm package or the runtime module (`node:fs`); null for a relative import. */
  readonly packageName: string | null;
}

// `import … from "x"`, `export … from "x"`, `import "x"`, with line breaks; `import("x")` and `require("x")` anywhere.
const STATEMENT = /^[ \t]*(?:import|export)\b(?:[^"'`;()=]*?\bfrom\s*|\s*)["']([^"'\n]+)["']/gm;
const CALL = /\b(?:import|require)\s*\(\s*["']([^"'\n]+)["']/g;

export function readImports(file: SourceFile): readonly Import[] {
  const text = withoutComments(file.text);
  const specifiers = [...text.matchAll(STATEMENT), ...text.matchAll(CALL)].flatMap((match) => match[1] ?? []);
  return specifiers.map((specifier) => ({
    from: file.path,
    specifier,
    ...locate(file.path, specifier),
    packageName: packageOf(specifier),
  }));
}

/** Whole-line comments and blocks; what stands behind code on a line cannot start a statement. */
function withoutComments(text: string): string {
  return text.replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, "").replace(/^[ \t]*\/\/.*$/gm, "");
}

function locate(from: string, specifier: string): Pick<Import, "target" | "outside"> {
  if (!specifier.startsWith(".")) return { target: null, outside: null };
  const path = posix.join(posix.dirname(from), specifier);
  return path.startsWith("src/")
    ? { target: path.slice("src/".length), outside: null }
    : { target: null, outside: path };
}

function packageOf(specifier: string): string | null {
  if (specifier.startsWith(".") || specifier.startsWith("/")) return null;
  if (/^(node|bun):/.test(specifier) || specifier === "bun") return specifier;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
