/**
 * The table of scenarios holds what it says: a row for each name of the list, and in each row a test that exists, or a
 * reason why the scenario does not apply.
 */

import { describe, expect, test } from "bun:test";
import { listFiles, readSource, type SourceFile } from "../support/source-tree.ts";
import { SCENARIO_GROUPS } from "./raft-scenario-names.ts";
import { differences, flaws, keyOf, OUR_OWN, type Row, rowsOf } from "./scenario-table.ts";

const TABLE = "roadmap/tables/raft-scenarios.md";
const LEAST_ROWS = 400;

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
    {
      path: "test/faults/a-faults.ts",
      text: 'const FAULTS = [{ name: "disk full", inject: fill("other") }];',
    },
  ];
  const row = (here: string): Row => ({ source: "s", scenario: "n", here });

  test.each([
    "`test/transcripts/a.txt`",
    "`test/unit/raft/a.test.ts`: `a group`",
    '`test/unit/raft/a.test.ts`: `keeps "it"`',
    "`test/unit/raft/a.test.ts`: `counts …`, `a group`; `test/transcripts/a.txt`",
    "`test/faults/a-faults.ts`: `disk full`",
    "does not apply: nobody here does such a thing",
    "not shipped yet: nothing of the kind is there",
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
    "`test/faults/a-faults.ts`: `other`",
    "does not apply: no",
    "not shipped yet: no",
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
