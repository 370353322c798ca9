/**
 * A table of scenarios in Markdown (source, scenario, here), and what is wrong with it: each row names a test that exists,
 * or gives a reason why there is none.
 */

import type { SourceFile } from "../support/source-tree.ts";

export interface Row {
  readonly source: string;
  readonly scenario: string;
  readonly here: string;
}

/** Rows of this source need not be in the list of names. */
export const OUR_OWN = "our own";
const LEAST_WORDS_OF_A_REASON = 4;
const NO_TEST = /^(?:does not apply|not shipped yet): (.+)$/;

/** The rows of a table in Markdown, without its head. */
export function rowsOf(text: string): readonly Row[] {
  return text.split("\n").flatMap((line) => {
    const cells = line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("\\|", "|"));
    const [source, scenario, here] = cells;
    if (source === undefined || scenario === undefined || here === undefined) return [];
    return source === "source" || source === "---" ? [] : [{ source, scenario, here }];
  });
}

export function keyOf(source: string, scenario: string): string {
  return `${source}: ${scenario}`;
}

/** What the table lacks, has twice, or has although the list of names does not. */
export function differences(required: readonly string[], table: readonly Row[]): readonly string[] {
  const keys = table.map(({ source, scenario }) => keyOf(source, scenario));
  const foreign = table.filter(({ source }) => source !== OUR_OWN);
  return [
    ...required.filter((key) => !keys.includes(key)).map((key) => `no row: ${key}`),
    ...keys.filter((key, index) => keys.indexOf(key) < index).map((key) => `two rows: ${key}`),
    ...foreign
      .map(({ source, scenario }) => keyOf(source, scenario))
      .filter((key) => !required.includes(key))
      .map((key) => `not in the list of names: ${key}`),
  ];
}

/** At most one line per row. */
export function flaws({ source, scenario, here }: Row, all: readonly SourceFile[]): readonly string[] {
  const complain = (what: string): readonly string[] => [`${keyOf(source, scenario)}: ${what}`];
  const reason = NO_TEST.exec(here)?.[1];
  if (reason !== undefined) {
    if (reason.split(/\s+/).length < LEAST_WORDS_OF_A_REASON) return complain("gives no reason");
    const strange = namesIn(reason).filter((name) => !all.some(({ path }) => path === name));
    return strange.length === 0 ? [] : complain(`no such file: ${strange.join(", ")}`);
  }
  const named = namesIn(here);
  if (named.length === 0) return complain(`names no test in backquotes, and no reason: "${here}"`);
  let file: SourceFile | undefined;
  let namesSinceFile = 1;
  for (const name of named) {
    const found = all.find(({ path }) => path === name);
    if (found !== undefined) {
      if (namesSinceFile === 0) return complain(`says which file, but not which test of it: ${file?.path}`);
      file = found;
      namesSinceFile = found.path.endsWith(".txt") ? 1 : 0;
    } else if (file === undefined || name.startsWith("test/")) return complain(`no such file: ${name}`);
    else if (!hasTest(file, name)) return complain(`${file.path} has no test "${name}"`);
    else namesSinceFile += 1;
  }
  return namesSinceFile === 0 ? complain(`says which file, but not which test of it: ${file?.path}`) : [];
}

/** What stands in backquotes. */
function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
}

/** Whether a test or a group of tests is called so (or a fault of the fault suite), or begins so where the name ends in `…`. */
function hasTest({ path, text }: SourceFile, name: string): boolean {
  const isPrefix = name.endsWith("…");
  const wanted = (isPrefix ? name.slice(0, -1) : name).trimEnd();
  const titles = path.startsWith("test/faults/")
    ? /\bname: ("(?:[^"\\\n]|\\.)*"),/g
    : /\(\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`),/g;
  return [...text.matchAll(titles)].some((match) => {
    const title = (match[1] ?? "").slice(1, -1).replace(/\\(.)/g, "$1");
    return isPrefix ? title.startsWith(wanted) : title === wanted;
  });
}
