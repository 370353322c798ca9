/** The judge of the fault suite finds each kind of broken promise, and nothing where all were kept. */

import { describe, expect, test } from "bun:test";
import {
  type Acknowledgement,
  findBroken,
  longestSilenceMs,
  type Reading,
  type StoredRow,
} from "../../faults/judge.ts";

/** `0:1 m1/1 @10-12`: row 1 of writer 0, by m1 on timeline 1, sent at 10 and answered at 12. */
function acknowledged(...lines: readonly string[]): readonly Acknowledgement[] {
  return lines.map((line) => {
    const [, writer, count, server = "", timeline, sentMs, answeredMs] =
      /^(\d+):(\d+) (\w+)\/(\d+) @(\d+)-(\d+)$/.exec(line) ?? [];
    return {
      writer: Number(writer),
      count: Number(count),
      server,
      timeline: Number(timeline),
      sentMs: Number(sentMs),
      answeredMs: Number(answeredMs),
    };
  });
}

function reading(server: string, timeline: number | null, sentMs: number, ...newest: number[]): Reading {
  return { server, timeline, sentMs, newest };
}

const BOOKS = acknowledged("0:1 m1/1 @10-12", "1:1 m1/1 @11-13", "0:3 m2/2 @20-22");
/** 0:2 was never acknowledged, and is there all the same. */
const STORED: readonly StoredRow[] = [
  ...BOOKS.map(({ writer, count, server, timeline }) => ({ writer, count, server, timeline })),
  { writer: 0, count: 2, server: "m1", timeline: 1 },
];

describe("findBroken()", () => {
  test("finds nothing where all promises were kept", () => {
    const readings = [reading("m1", 1, 14, 1, 1), reading("m3", null, 14, 0, 0), reading("m2", 2, 23, 3, 1)];
    expect(findBroken(BOOKS, readings, STORED)).toEqual([]);
  });

  test("finds a row that is gone", () => {
    expect(findBroken(BOOKS, [], STORED.slice(1))).toEqual([expect.stringContaining("missing: 0:1 (by m1")]);
  });

  test("finds a row that another reign stored under its name", () => {
    const changed = STORED.map((row) => (row.count === 3 ? { ...row, server: "m3" } : row));
    expect(findBroken(BOOKS, [], changed)).toEqual([expect.stringContaining("stored otherwise")]);
  });

  test("finds a row that is stored twice", () => {
    expect(findBroken(BOOKS, [], [...STORED, ...STORED.slice(0, 1)])).toEqual([
      "1 × rows are stored twice: 0:1",
    ]);
  });

  test("finds two servers that acknowledged in one reign", () => {
    const books = acknowledged("0:1 m1/2 @10-12", "1:1 m2/2 @11-13");
    expect(findBroken(books, [], books)).toEqual([expect.stringContaining("timeline 2: m1 and m2")]);
  });

  test("finds an old primary that acknowledged what was sent after its successor's first answer", () => {
    const books = acknowledged("0:1 m2/2 @10-12", "1:1 m1/1 @13-14");
    expect(findBroken(books, [], books)).toEqual([
      expect.stringContaining("after its successor had begun: 1:1"),
    ]);
  });

  test("finds it across several reigns", () => {
    const books = acknowledged("0:1 m3/3 @10-12", "0:2 m2/2 @20-21", "1:1 m1/1 @13-14");
    expect(findBroken(books, [], books)).toEqual([expect.stringMatching(/^2 × .*0:2.*1:1/)]);
  });

  test("lets an old primary answer late what was sent before", () => {
    const books = acknowledged("0:1 m2/2 @10-12", "1:1 m1/1 @11-30");
    expect(findBroken(books, [], books)).toEqual([]);
  });

  test("finds a primary that does not show what was acknowledged before, by whomever", () => {
    expect(findBroken(BOOKS, [reading("m2", 2, 14, 0, 1)], STORED)).toEqual([
      expect.stringContaining("m2 on timeline 2 showed 0:0, not 0:1"),
    ]);
  });

  test("lets standbys lag, and an old primary not know of its successor", () => {
    const readings = [reading("m3", null, 30, 0, 0), reading("m1", 1, 30, 1, 1)];
    expect(findBroken(BOOKS, readings, STORED)).toEqual([]);
  });
});

test.each([
  ["between acknowledgements", 10, 30, 9],
  ["until the end", 10, 60, 38],
  ["from the beginning", 0, 22, 12],
  ["where there was none at all", 100, 150, 50],
])("longestSilenceMs() %s", (_name, fromMs, toMs, silence) => {
  expect(longestSilenceMs(BOOKS, fromMs, toMs)).toBe(silence);
});
