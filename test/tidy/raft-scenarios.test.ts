/**
 * The table of scenarios holds what it says: a row for each name of the list, and in each row a test that exists, or a
 * reason why the scenario does not apply.
 */

import { describe, expect, test } from "bun:test";
import { listFiles, readSource, type SourceFile } from "../support/source-tree.ts";
import { SCENARIO_GROUPS } from "./raft-scenario-names.ts";

const TABLE = "roadmap/tables/raft-scenarios.md";
const OUR_OWN = "our own";
const LEAST_ROWS = 400;
const LEAST_WORDS_OF_A_REASON = 4;
const NOT_APPLICABLE = /^does not apply: (.+)$/;

interface Row {
  readonly source: string;
  readonly scenario: string;
  readonly here: string;
}

const files = listFiles();
const tests = files
  .filter(({ path }) => /^test\/.*(?:\.ts|\.txt)$/.test(path) && !path.startsWith("test/tidy/"))
  .map(readSource);
const rows = rowsOf(
  files
    .filter(({ path }) => path === TABLE)
    .map((file) => readSource(file).text)
    .join(""),
);

describe("the table of scenarios", () => {
  test("was read, and so were the tests", () => {
    expect(rows.length).toBeGreaterThan(LEAST_ROWS);
    expect(tests.some(({ path }) => path.startsWith("test/transcripts/"))).toBe(true);
  });

  test("has each scenario of the field once", () => {
    const required = SCENARIO_GROUPS.flatMap(({ source, names }) => names.map((name) => keyOf(source, name)));
    expect(differences(required, rows)).toEqual([]);
  });

  test("names tests that exist, or says why none is needed", () => {
    expect(rows.flatMap((row) => flaws(row, tests))).toEqual([]);
  });

  test("has each transcript", () => {
    const named = rows.map(({ here }) => here).join("\n");
    const transcripts = tests.filter(({ path }) => /^test\/transcripts\/.*\.txt$/.test(path));
    expect(transcripts.map(({ path }) => path).filter((path) => !named.includes(path))).toEqual([]);
  });
});

describe("each check finds what was planted", () => {
  const planted: readonly SourceFile[] = [
    { path: "test/transcripts/a.txt", text: "" },
    {
      path: "test/unit/raft/a.test.ts",
      text: [
        'describe("a group", () => {',
        '  test("keeps \\"it\\"", () => {});',
        '  test.each([[1]])(\n    "counts $value",\n    () => {});',
        "  // no one keeps it",
      ].join("\n"),
    },
  ];
  const row = (here: string): Row => ({ source: "s", scenario: "n", here });

  test.each([
    "`test/transcripts/a.txt`",
    "`test/unit/raft/a.test.ts`: `a group`",
    '`test/unit/raft/a.test.ts`: `keeps "it"`',
    "`test/unit/raft/a.test.ts`: `counts …`, `a group`; `test/transcripts/a.txt`",
    "does not apply: nobody here does such a thing",
    "does not apply: nobody does it, see `test/transcripts/a.txt`",
  ])("right: %s", (here) => expect(flaws(row(here), planted)).toEqual([]));

  test.each([
    "open",
    "",
    "`test/transcripts/b.txt`",
    "`a group`",
    "`test/unit/raft/a.test.ts`",
    "`test/unit/raft/a.test.ts`: `keeps it`",
    "`test/unit/raft/a.test.ts`: `counts`",
    "`test/unit/raft/a.test.ts`: `no one keeps it`",
    "does not apply: no",
    "does not apply: nobody does it, see `test/transcripts/b.txt`",
  ])("wrong: %s", (here) => expect(flaws(row(here), planted)).toHaveLength(1));

  test("a row that is missing, or there twice, or of nowhere", () => {
    const known = [keyOf("s", "n")];
    expect(differences(known, [row("x")])).toEqual([]);
    expect(differences(known, [])).toHaveLength(1);
    expect(differences(known, [row("x"), row("y")])).toHaveLength(1);
    expect(differences([], [row("x")])).toHaveLength(1);
    expect(differences([], [{ ...row("x"), source: OUR_OWN }])).toEqual([]);
  });

  test("rows are read from the table and from nowhere else", () => {
    const text =
      "| source | scenario | here |\n| --- | --- | --- |\n| s | n | a \\| b |\n| two | cells |\nprose\n";
    expect(rowsOf(text)).toEqual([{ source: "s", scenario: "n", here: "a | b" }]);
  });
});

function rowsOf(text: string): readonly Row[] {
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

function keyOf(source: string, scenario: string): string {
  return `${source}: ${scenario}`;
}

function differences(required: readonly string[], table: readonly Row[]): readonly string[] {
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
function flaws({ source, scenario, here }: Row, all: readonly SourceFile[]): readonly string[] {
  const complain = (what: string): readonly string[] => [`${keyOf(source, scenario)}: ${what}`];
  const reason = NOT_APPLICABLE.exec(here)?.[1];
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
    else if (!hasTest(file.text, name)) return complain(`${file.path} has no test "${name}"`);
    else namesSinceFile += 1;
  }
  return namesSinceFile === 0 ? complain(`says which file, but not which test of it: ${file?.path}`) : [];
}

/** What stands in backquotes. */
function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
}

/** Whether a test or a group of tests is called so, or begins so where the name ends in `…`. */
function hasTest(text: string, name: string): boolean {
  const isPrefix = name.endsWith("…");
  const wanted = (isPrefix ? name.slice(0, -1) : name).trimEnd();
  return [...text.matchAll(/\(\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`),/g)].some((match) => {
    const title = (match[1] ?? "").slice(1, -1).replace(/\\(.)/g, "$1");
    return isPrefix ? title.startsWith(wanted) : title === wanted;
  });
}
