import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LocalAccess } from "../../../src/cluster/local-access.ts";
import { leaveTrace, moveTold, readTrace } from "../../../src/supervisor/local-trace.ts";

let root: string;
let directory: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "gcm-trace-"));
  directory = join(root, "local-access");
});
afterEach(() => rmSync(root, { recursive: true }));

const access = (id: string, atMs = 5): LocalAccess => ({
  id,
  session: "s1",
  what: "opened",
  who: "ann",
  systemUser: "postgres (sudo: ann)",
  reason: "INC-1",
  atMs,
  exitCode: null,
});

test("a trace is read as it was left, oldest first, in files of their owner alone", () => {
  expect(readTrace(directory)).toEqual([]);
  leaveTrace(directory, access("b", 7));
  leaveTrace(directory, access("a", 9));
  expect(readTrace(directory)).toEqual([access("b", 7), access("a", 9)]);
  expect(statSync(join(directory, "a.json")).mode & 0o777).toBe(0o600);
});

test("what was told is kept beside it, and told no more; what was not stays", () => {
  for (const id of ["a", "b"]) leaveTrace(directory, access(id));
  moveTold(directory, new Set(["a", "../../b", "c"]));
  moveTold(directory, new Set(["a"]));
  expect(readTrace(directory)).toEqual([access("b")]);
  expect(readTrace(join(directory, "told"))).toEqual([access("a")]);
});

test("what is no trace stands in nobody's way, and is left where it is", () => {
  leaveTrace(directory, access("a"));
  writeFileSync(join(directory, "b.json"), '{"id":"b","sess');
  writeFileSync(join(directory, "c.json"), JSON.stringify(access("d")));
  writeFileSync(join(directory, "e.json"), "[]");
  expect(readTrace(directory)).toEqual([access("a")]);
  moveTold(directory, new Set(["a", "b", "c", "d"]));
  expect(readdirSync(directory).toSorted()).toEqual(["b.json", "c.json", "e.json", "told"]);
});
