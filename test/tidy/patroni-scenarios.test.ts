/** The table of Patroni's scenarios holds what it says. What is checked, and that it finds flaws: raft-scenarios.test.ts. */

import { expect, test } from "bun:test";
import { listFiles, readSource } from "../support/source-tree.ts";
import { PATRONI_SCENARIOS } from "./patroni-scenario-names.ts";
import { differences, flaws, keyOf, rowsOf } from "./scenario-table.ts";

const TABLE = "roadmap/tables/patroni-scenarios.md";
const LEAST_ROWS = 80;
const LEAST_TESTED = 35;

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

test("the table of Patroni's scenarios was read, and most of what is shipped is tested", () => {
  expect(rows.length).toBeGreaterThan(LEAST_ROWS);
  expect(rows.filter(({ here }) => here.startsWith("`")).length).toBeGreaterThan(LEAST_TESTED);
});

test("the table of Patroni's scenarios has each of them once", () => {
  const required = PATRONI_SCENARIOS.flatMap(({ source, names }) => names.map((name) => keyOf(source, name)));
  expect(differences(required, rows)).toEqual([]);
});

test("the table of Patroni's scenarios names tests that exist, or says why there is none", () => {
  expect(rows.flatMap((row) => flaws(row, tests))).toEqual([]);
});
