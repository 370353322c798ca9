/**
 * A design that says what it is and where it stands; an index that lists it; an invariant that some test holds.
 * The table of invariants in 0002-failover.md has one row per invariant, and the row names its tests in backquotes, as
 * they are written in the test files.
 */

import { describe, expect, test } from "bun:test";
import { listFiles, readSource, readTypeScript, type SourceFile } from "../support/source-tree.ts";

const STATUSES: readonly string[] = ["draft", "in review", "accepted", "built"];
const SECTIONS: readonly string[] = [
  "Problem",
  "Decision",
  "Picture",
  "Invariants",
  "Alternatives",
  "Consequences",
  "Sources",
];
const INVARIANTS = Array.from({ length: 10 }, (_, index) => `F${index + 1}`);
const INVARIANTS_FILE = "roadmap/0002-failover.md";

const texts = listFiles()
  .filter(({ path }) => path.startsWith("roadmap/"))
  .map(readSource);
const designs = texts.filter(({ path }) => /^roadmap\/\d/.test(path));
const index = texts.find(({ path }) => path === "roadmap/README.md");
const testTexts = readTypeScript("test");
const scenarioNames = listFiles().flatMap(({ path }) => (path.startsWith("test/scenarios/") ? [path] : []));

describe("roadmap", () => {
  test("has an index and the tests were read", () => {
    expect(index?.text).toStartWith("# ");
    expect(testTexts.length).toBeGreaterThan(3);
  });

  test("holds nothing but designs, their tables and the index", () => {
    const expected = /^roadmap\/(?:README|\d{4}-[a-z0-9-]+|tables\/[a-z0-9-]+)\.md$/;
    const strange = texts.filter(({ path }) => !expected.test(path));
    expect(strange.map(({ path }) => path)).toEqual([]);
  });

  test("has each design with title, status and all sections", () =>
    expect(designs.flatMap(flaws)).toEqual([]));

  test("lists each design in the index, with its status", () => {
    expect(designs.flatMap((design) => indexFlaws(index?.text ?? "", design))).toEqual([]);
  });

  test("has each invariant held by a test that exists", () => {
    const failover = designs.find(({ path }) => path === INVARIANTS_FILE);
    if (failover === undefined) {
      // Before that design there is nothing to hold; the index must not promise it as built then.
      expect(index?.text).not.toMatch(/0002-failover\.md.*\bbuilt\b/);
      return;
    }
    expect(INVARIANTS.flatMap((id) => unheld(id, failover.text, testTexts, scenarioNames))).toEqual([]);
  });
});

describe("each check finds what was planted", () => {
  const good = [
    "# 0007 A lease",
    "",
    "Status: accepted",
    ...SECTIONS.map((section) => `\n## ${section}\n\nText.`),
  ].join("\n");

  test("a design as it should be", () =>
    expect(flaws({ path: "roadmap/0007-lease.md", text: good })).toEqual([]));

  test.each([
    ["no title", good.replace("# 0007", "#0007")],
    ["another number in the title", good.replace("0007", "0008")],
    ["no status", good.replace("Status", "State")],
    ["a status that we do not have", good.replace("accepted", "done")],
    ["a missing section", good.replace("## Alternatives", "## Others")],
  ])("%s", (_what, text) => expect(flaws({ path: "roadmap/0007-lease.md", text })).toHaveLength(1));

  test("superseded says by which", () => {
    const superseded = {
      path: "roadmap/0007-lease.md",
      text: good.replace("accepted", "superseded by 0009"),
    };
    expect(flaws(superseded)).toEqual([]);
  });

  test("a design that the index forgot, or lists with an old status", () => {
    const design = { path: "roadmap/0007-lease.md", text: good };
    expect(indexFlaws("| [0007](0007-lease.md) | A lease | accepted |", design)).toEqual([]);
    expect(indexFlaws("| [0007](0007-lease.md) | A lease | draft |", design)).toHaveLength(1);
    expect(indexFlaws("nothing", design)).toHaveLength(1);
  });

  test("an invariant without a row, without a test, with a test that is not there", () => {
    const tests = [{ path: "test/unit/a.test.ts", text: 'test("keeps its pledge", () => {});' }];
    expect(unheld("F1", "| F1 | Pledges | `keeps its pledge` |", tests, [])).toEqual([]);
    expect(unheld("F1", "| **F1** | Pledges | `test/unit/a.test.ts` |", tests, [])).toEqual([]);
    expect(unheld("F1", "F1 in prose `keeps its pledge`", tests, [])).toHaveLength(1);
    expect(unheld("F1", "| F10 | Pledges | `keeps its pledge` |", tests, [])).toHaveLength(1);
    expect(unheld("F1", "| F1 | Pledges | soon |", tests, [])).toHaveLength(1);
    expect(unheld("F1", "| F1 | Pledges | `keeps nothing` |", tests, [])).toHaveLength(1);
  });
});

function statusOf(text: string): string | null {
  return /^\**Status:?\**:? *(.+?)\.?$/m.exec(text)?.[1]?.toLowerCase() ?? null;
}

function flaws({ path, text }: SourceFile): readonly string[] {
  const number = path.slice("roadmap/".length, "roadmap/".length + 4);
  const status = statusOf(text);
  const hasStatus = status !== null && (STATUSES.includes(status) || /^superseded by \d{4}$/.test(status));
  const missing = SECTIONS.filter((section) => !new RegExp(`^## ${section}`, "m").test(text));
  return [
    ...(new RegExp(`^# ${number}[ :.]`).test(text)
      ? []
      : [`${path}: the first line is not "# ${number} Title"`]),
    ...(hasStatus
      ? []
      : [`${path}: no line "Status: " with one of ${STATUSES.join(", ")}, superseded by NNNN`]),
    ...missing.map((section) => `${path}: no section "## ${section}"`),
  ];
}

function indexFlaws(indexText: string, { path, text }: SourceFile): readonly string[] {
  const name = path.slice("roadmap/".length);
  const row = indexText.split("\n").find((line) => line.startsWith("|") && line.includes(name));
  if (row === undefined) return [`roadmap/README.md does not list ${name}`];
  const status = statusOf(text);
  return status !== null && row.toLowerCase().includes(status)
    ? []
    : [`roadmap/README.md: ${name} is "${status}"`];
}

function unheld(
  id: string,
  text: string,
  tests: readonly SourceFile[],
  scenarios: readonly string[],
): readonly string[] {
  const row = text.split("\n").find((line) => new RegExp(`^\\| *\\**${id}\\** *\\|`).test(line));
  if (row === undefined) return [`${id} has no row in the table of invariants`];
  const names = [...row.matchAll(/`([^`]+)`/g)].flatMap((match) => match[1] ?? []);
  const isThere = (name: string) =>
    scenarios.includes(name) || tests.some((file) => file.path === name || file.text.includes(name));
  return names.some(isThere) ? [] : [`${id}: its row names no test that exists (in backquotes): ${row}`];
}
