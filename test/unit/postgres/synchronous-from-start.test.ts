import { expect, test } from "bun:test";
import { waitsFromItsStart } from "../../../src/postgres/synchronous-from-start.ts";

test.each([
  ["15.12", false],
  ["15.13", true],
  ["15.18", true],
  ["16.8", false],
  ["16.9", true],
  ["17.4", false],
  ["17.5", true],
  ["17beta1", false],
  ["18.0", true],
  ["18beta1", true],
  ["19devel", true],
  ["nonsense", false],
] as const)("waitsFromItsStart() knows of %s", (version, waits) => {
  expect(waitsFromItsStart(version)).toBe(waits);
});
