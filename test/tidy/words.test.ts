/**
 * Words with one meaning, and shortcuts that are not taken. Each banned word names its replacement and carries a sample
 * that it must find, so that a rule which finds nothing cannot pass for a clean tree.
 */

import { describe, expect, test } from "bun:test";
import { listFiles, readSource, type SourceFile } from "../support/source-tree.ts";

interface Ban {
  readonly word: RegExp;
  readonly instead: string;
  /** Where the ban holds; everywhere if it does not say. */
  readonly within?: RegExp;
  /** Where the word is at home. */
  readonly outside?: RegExp;
  readonly sample: string;
}

const CODE = /^(src|test)\/.*\.ts$/;
const SOURCE = /^src\/.*\.ts$/;

const BANS: readonly Ban[] = [
  { word: /\bmasters?\b/i, instead: "primary (PostgreSQL) or leader (Raft)", sample: "the old master" },
  { word: /\bslaves?\b/i, instead: "standby", sample: "const slave = 1" },
  {
    word: /\bnode(?:Id|Name|Count)s?\b|\bnodes\b/,
    instead: "member",
    within: CODE,
    // Names that others gave.
    outside: /^test\/tidy\/patroni-scenario-names\.ts$/,
    sample: "nodes.map(f)",
  },
  {
    word: /\b(?:utils|helpers|misc)\b/i,
    instead: "the name of the idea",
    within: CODE,
    outside: /^test\/tidy\//,
    sample: 'from "./utils.ts"',
  },
  { word: /\bas any\b/, instead: "a parser or a type guard", within: CODE, sample: "x as any" },
  {
    word: /[:<,]\s*any\b(?=\s*[;,)>=[\]{|])/,
    instead: "unknown",
    within: CODE,
    sample: "function f(x: any) {",
  },
  {
    word: /@ts-(?:ignore|nocheck|expect-error)/,
    instead: "a type that is true",
    within: CODE,
    sample: "// @ts-ignore",
  },
  { word: /\b(?:TODO|FIXME|XXX|HACK)\b/, instead: "the work itself, or an issue", sample: "// TODO: later" },
  { word: /\b(?:test|it|describe)\.only\(/, instead: "all tests", within: CODE, sample: 'test.only("x", f)' },
  {
    word: /\b(?:test|it|describe)\.(?:skip|todo)\(/,
    instead: "skipIf with a reason",
    within: CODE,
    sample: "test.skip(",
  },
  {
    word: /\bMath\.random\b/,
    instead: "Random",
    within: SOURCE,
    outside: /^src\/main\//,
    sample: "Math.random()",
  },
  {
    word: /\bDate\.now\b|\bnew Date\(\)/,
    instead: "Clock",
    within: /^src\/(?:raft|agent)\//,
    sample: "Date.now()",
  },
  {
    word: /\bperformance\.now\b/,
    instead: "Clock",
    within: /^src\/(?:raft|agent)\//,
    sample: "performance.now()",
  },
  {
    word: /\bcatch\s*(?:\([^)]*\))?\s*\{\s*\}|\.catch\(\(\) => \{\s*\}\)/,
    instead: "a comment in the block that says why it may be ignored",
    within: CODE,
    sample: "try { f() } catch (error) {}",
  },
  {
    word: /\bnot (?:yet )?implemented\b/i,
    instead: "the work itself",
    within: SOURCE,
    sample: "not implemented",
  },
  {
    word: /https?:\/\/(?:cdn|unpkg)\b/,
    instead: "a file served from the binary",
    within: SOURCE,
    sample: "https://cdn.x",
  },
];

/** The table itself has to write the words down, and a licence and a lock file are not ours to word. */
const EXEMPT: readonly string[] = ["test/tidy/words.test.ts", "LICENSE", "bun.lock"];
const TEXT = /\.(?:ts|md|json|toml|sql|txt)$|^(?:Makefile|Containerfile|\.ci\/run)$/;
const LEAST_FILES = 30;

const files = listFiles()
  .filter(({ path }) => TEXT.test(path) && !EXEMPT.includes(path))
  .map(readSource);

describe("words", () => {
  test("the scan saw the tree", () => expect(files.length).toBeGreaterThan(LEAST_FILES));

  for (const ban of BANS) {
    test(`${ban.word.source} is written as: ${ban.instead}`, () => {
      expect(files.flatMap((file) => findings(ban, file))).toEqual([]);
    });
  }
});

describe("each ban finds its sample", () => {
  test.each(BANS.map((ban) => [ban.word.source, ban] as const))("%s", (_name, ban) => {
    const path = ban.within?.test("src/raft/x.ts") === false ? "src/main/x.ts" : "src/raft/x.ts";
    expect(findings(ban, { path, text: `first line\n${ban.sample}\n` })).toHaveLength(1);
  });

  test("and keeps to where it holds", () => {
    const bans = BANS.filter(({ sample }) => sample === "Math.random()");
    expect(
      bans.flatMap((ban) => findings(ban, { path: "src/main/random.ts", text: "Math.random()" })),
    ).toEqual([]);
  });
});

function findings({ word, within, outside }: Ban, { path, text }: SourceFile): readonly string[] {
  if (within?.test(path) === false || outside?.test(path) === true) return [];
  return text
    .split("\n")
    .flatMap((line, index) => (word.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : []));
}
