import { existsSync, readFileSync } from "node:fs";

/** What a file of ours holds; null where it is not there. @throws {SyntaxError} if it is no JSON. */
export function readJson(file: string): unknown {
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
}
