/** The form of the files, and a lock file that installs through any registry. */

import { describe, expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { listFiles, ROOT, readSource, type SourceFile } from "../support/source-tree.ts";

const MOST_BYTES = 1024 * 1024;
const LEAST_FILES = 30;
const KEBAB = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9-]+)*$/;
/** Names that say where a thing lies instead of what it is. */
const NAMELESS: readonly string[] = [
  "index.ts",
  "utils.ts",
  "util.ts",
  "helpers.ts",
  "types.ts",
  "common.ts",
  "misc.ts",
];
const TEXT = /\.(?:ts|md|json|toml|sql|txt|lock)$|^(?:Makefile|Containerfile|LICENSE|\.gitignore|\.ci\/run)$/;

const found = listFiles();
/** Written by drizzle-kit, in its own form. */
const GENERATED = /^migrations\//;
const texts = found.filter(({ path }) => TEXT.test(path) && !GENERATED.test(path)).map(readSource);

describe("files", () => {
  test("the scan saw them", () => expect(found.length).toBeGreaterThan(LEAST_FILES));

  test("are named in kebab-case, after an idea", () => {
    expect(found.flatMap(({ path }) => (isWellNamed(path) ? [] : [path]))).toEqual([]);
  });

  test("are smaller than a mebibyte", () => {
    const large = found.filter(({ absolutePath }) => statSync(absolutePath).size > MOST_BYTES);
    expect(large.map(({ path }) => path)).toEqual([]);
  });

  test("end in one line break, with no blank at a line's end, no tab in TypeScript, no mark of a merge", () => {
    expect(texts.flatMap(formFlaws)).toEqual([]);
  });
});

describe("packages", () => {
  test("the lock file names no host", () => {
    const lock = readFileSync(join(ROOT, "bun.lock"), "utf8");
    expect(lock).toContain('"drizzle-orm@');
    expect(hostsIn(lock)).toEqual([]);
  });

  test("are pinned to the digit", () => {
    const manifest = readFileSync(join(ROOT, "package.json"), "utf8");
    expect(looseVersions(manifest)).toEqual([]);
  });
});

describe("each check finds what was planted", () => {
  test.each([
    "src/cluster/clusterState.ts",
    "src/cluster/utils.ts",
    "src/agent/index.ts",
    "test/unit/Foo.test.ts",
  ])("%s", (path) => expect(isWellNamed(path)).toBe(false));

  test.each([
    "src/cluster/state.ts",
    "roadmap/README.md",
    "test/unit/base/lsn.test.ts",
    "migrations/0000_first.sql",
  ])("%s", (path) => expect(isWellNamed(path)).toBe(true));

  test.each([
    ["no line break at the end", "a"],
    ["two line breaks at the end", "a\n\n"],
    ["a blank at a line's end", "a \nb\n"],
    ["a carriage return", "a\r\nb\n"],
    ["a tab", "\ta\n"],
    ["the mark of a merge", `a\n${"<".repeat(7)} HEAD\n`],
  ])("%s", (_what, text) => expect(formFlaws({ path: "src/a.ts", text })).toHaveLength(1));

  test("a host in a lock file, a loose version", () => {
    expect(hostsIn('"a": ["a@1.0.0", "https://registry.example/a.tgz", {}]')).toHaveLength(1);
    expect(
      looseVersions('{ "dependencies": { "a": "^1.0.0" }, "devDependencies": { "b": "1.0.0" } }'),
    ).toEqual(["a"]);
  });
});

function isWellNamed(path: string): boolean {
  if (!/^(?:src|test)\//.test(path)) return true;
  const name = basename(path);
  return path.split("/").every((part) => KEBAB.test(part)) && !NAMELESS.includes(name);
}

function formFlaws({ path, text }: SourceFile): readonly string[] {
  // In Markdown two blanks are a line break, and a recorded text may be what it is.
  const isCode = /\.(?:ts|json|sql)$|^Makefile$/.test(path);
  return [
    ...(text === "" || /[^\n]\n$/.test(text) ? [] : [`${path}: does not end in one line break`]),
    ...(isCode && /[ \t]\r?$/m.test(text) ? [`${path}: blank at a line's end`] : []),
    ...(text.includes("\r") ? [`${path}: carriage return`] : []),
    ...(path.endsWith(".ts") && text.includes("\t") ? [`${path}: tab`] : []),
    ...(/^(?:<{7} |={7}$|>{7} )/m.test(text) ? [`${path}: mark of a merge`] : []),
  ];
}

function hostsIn(lock: string): readonly string[] {
  return lock.split("\n").filter((line) => /https?:\/\//.test(line));
}

function looseVersions(manifestText: string): readonly string[] {
  const manifest = JSON.parse(manifestText) as Record<string, Record<string, string> | undefined>;
  const all = { ...manifest["dependencies"], ...manifest["devDependencies"] };
  return Object.entries(all).flatMap(([name, version]) => (/^\d+\.\d+\.\d+$/.test(version) ? [] : [name]));
}
