/** What stands in the README to be copied. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const README = readFileSync(join(import.meta.dir, "../../README.md"), "utf8");

/** The fenced blocks of a language (empty: of none), in their order. */
export function readmeBlocks(language: string): readonly string[] {
  const fenced = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms");
  return [...README.matchAll(fenced)].map(([, text = ""]) => text);
}
