/**
 * What a layer offers to the one above says what it is: each exported function and class there has a docstring. For the
 * export that a file is named after, the header of the file is that docstring.
 */

import { describe, expect, test } from "bun:test";
import { basename } from "node:path";
import { readTypeScript, type SourceFile } from "../support/source-tree.ts";

const DOCUMENTED = ["src/cluster", "src/decision", "src/raft", "src/postgres", "src/supervisor"];
const LEAST_FILES = 8;

const EXPORT =
  /^export (?:async )?(?:abstract )?(?:function\*?|class) (\w+)|^export const (\w+)\b[^=]*= (?:async )?(?:\([^)]*\)|\w+)[^=]*=>/;

const files = readTypeScript(...DOCUMENTED);

describe("docstrings", () => {
  test("the scan saw the files and their exports", () => {
    expect(files.length).toBeGreaterThan(LEAST_FILES);
    expect(files.some(({ text }) => text.split("\n").some((line) => EXPORT.test(line)))).toBe(true);
  });

  test("stand over each exported function and class", () => expect(files.flatMap(bare)).toEqual([]));

  test("may be the header of the file that is named after the export", () => {
    const text =
      "/** Says who is next. */\n\nexport function chooseNext(): void {}\nexport function other(): void {}\n";
    expect(bare({ path: "src/x/choose-next.ts", text })).toEqual(["src/x/choose-next.ts:4: other"]);
    expect(bare({ path: "src/x/choose-next.ts", text: text.slice(3) })).toHaveLength(2);
  });

  test("are missed where they are missing", () => {
    const text = [
      "/** The header of a file is not a docstring of what follows later. */",
      'import { a } from "./a.ts";',
      "",
      "export function bareFunction(): void {}",
      "/** Said. */",
      "export function saidFunction(): void {}",
      "/**",
      " * Said in several lines.",
      " */",
      "export class SaidClass {}",
      "export async function bareAsync(): Promise<void> {}",
      "export const bareArrow = (x: number): number => x;",
      "export const NUMBER = 3;",
      "export abstract class BareClass {}",
      "/** One for all. */",
      "export function overloaded(a: string): void;",
      "export function overloaded(a: string | number): void {}",
    ].join("\n");
    expect(bare({ path: "x.ts", text })).toEqual([
      "x.ts:4: bareFunction",
      "x.ts:11: bareAsync",
      "x.ts:12: bareArrow",
      "x.ts:14: BareClass",
    ]);
  });
});

function bare({ path, text }: SourceFile): readonly string[] {
  const lines = text.split("\n");
  const documented = new Set<string>();
  const isNamesake = (name: string) => text.startsWith("/**") && `${kebab(name)}.ts` === basename(path);
  return lines.flatMap((line, index) => {
    const match = EXPORT.exec(line);
    const name = match?.[1] ?? match?.[2];
    if (name === undefined) return [];
    if (lines[index - 1]?.trimEnd().endsWith("*/") === true) documented.add(name);
    return documented.has(name) || isNamesake(name) ? [] : [`${path}:${index + 1}: ${name}`];
  });
}

function kebab(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();
}
