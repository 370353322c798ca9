import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beginLife } from "../../../src/main/life.ts";

const directory = mkdtempSync(join(tmpdir(), "life-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("each life has a greater number than those before, however the wall clock is set", () => {
  const numbers = [5_000, 5_000, 1_000, 9_000.5, 9_000].map((wallMs) => beginLife(directory, wallMs));
  expect(numbers).toEqual([5_000, 5_001, 5_002, 9_000, 9_001].map((number) => ({ number, problem: null })));
});

test("a damaged file is told and replaced; the wall clock says then which life is the later one", () => {
  writeFileSync(join(directory, "life"), "12x\n");
  const life = beginLife(directory, 20_000);
  expect(life).toMatchObject({
    number: 20_000,
    problem: expect.stringContaining("'12x', which is no number"),
  });
  expect(readFileSync(join(directory, "life"), "utf8")).toBe("20000\n");
});

test("where it cannot be kept a life begins all the same, and says why", () => {
  const nowhere = join(directory, "missing");
  expect(beginLife(nowhere, 30_000)).toMatchObject({
    number: 30_000,
    problem: expect.stringContaining("ENOENT"),
  });
});
