/** The closing line is what others read: it may not say more than was seen. */

import { describe, expect, test } from "bun:test";
import { choosePostgres } from "../support/find-postgres.ts";
import { missingLibrary } from "../support/lend-libraries.ts";
import { closingLine, countJunit, isSuccess, judgeRun } from "../support/run-tests.ts";

const report = (tests: number, failures: number, skipped: number): string =>
  `<?xml version="1.0"?>\n<testsuites name="bun test" tests="${tests}" assertions="9" failures="${failures}" skipped="${skipped}" time="0.1">\n</testsuites>`;

describe("run-tests", () => {
  test("countJunit() reads what Bun writes", () => {
    expect(countJunit(report(7, 2, 1))).toEqual({ passed: 4, failed: 2, skipped: 1 });
    expect(countJunit("<html></html>")).toBeNull();
    expect(countJunit('<testsuites tests="3">')).toBeNull();
  });

  test.each([
    ["a clean run", report(3, 0, 0), true, "3 passed, 0 failed"],
    ["failures", report(3, 1, 0), false, "2 passed, 1 failed"],
    ["a crash without a report", null, false, "0 passed, 1 failed"],
    ["a file that would not load", report(3, 0, 0), false, "3 passed, 1 failed"],
    ["a folder without tests", report(0, 0, 0), true, "0 passed, 1 failed"],
    ["no report, and yet exit code 0", null, true, "0 passed, 1 failed"],
    ["skipped ones", report(3, 0, 2), true, "1 passed, 0 failed, 2 skipped"],
  ])("judgeRun() of %s", (_what, text, hasEndedWell, line) => {
    expect(closingLine(judgeRun(text, hasEndedWell))).toBe(line);
  });

  test("isSuccess() needs that something passed", () => {
    expect(isSuccess({ passed: 1, failed: 0, skipped: 0 })).toBe(true);
    expect(isSuccess({ passed: 1, failed: 1, skipped: 0 })).toBe(false);
    expect(isSuccess({ passed: 0, failed: 0, skipped: 5 })).toBe(false);
  });
});

describe("find-postgres", () => {
  test("missingLibrary() reads what the loader says", () => {
    const complaint =
      "postgres: error while loading shared libraries: libxml2.so.2: cannot open shared object file: No such file";
    expect(missingLibrary(complaint)).toBe("libxml2.so.2");
    expect(missingLibrary("permission denied")).toBeNull();
  });

  test("choosePostgres() takes complete ones of 15 and newer, newest first, each once", () => {
    const versions: Record<string, string> = {
      "/a/14/bin": "postgres (PostgreSQL) 14.9",
      "/a/15/bin": "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
      "/a/18/bin": "postgres (PostgreSQL) 18beta1",
      "/usr/bin": "postgres (PostgreSQL) 19.0",
    };
    const found = choosePostgres(
      ["/a/15/bin", "/a/14/bin", "/a/15/bin", "/a/18/bin", "/usr/bin", "/broken/bin"],
      (directory) => directory !== "/usr/bin",
      (directory) => versions[directory] ?? null,
    );
    expect(found).toEqual([
      { major: 18, binDirectory: "/a/18/bin" },
      { major: 15, binDirectory: "/a/15/bin" },
    ]);
  });
});
