import { describe, expect, test } from "bun:test";
import { compareWal, epochOfTimeline, withTimeline } from "../../../src/cluster/timelines.ts";
import { epoch, lsn, timeline } from "../../support/situation.ts";

const known = {
  walEpoch: epoch(7),
  timelines: [
    { timeline: timeline(2), epoch: epoch(1) },
    { timeline: timeline(5), epoch: epoch(4) },
  ],
};

describe("epochOfTimeline()", () => {
  test.each([
    [1, 1, "an unlisted one is of the next listed one's reign, at the latest"],
    [2, 1, "a listed one"],
    [3, 4, "one between two listed ones"],
    [5, 4, "the newest listed one"],
    [6, 7, "one that is newer than all listed is of the reign that was followed last"],
  ])("timeline %p is of epoch %p: %s", (number, expected) => {
    expect(epochOfTimeline(known, timeline(number))).toBe(epoch(expected));
  });
});

test("withTimeline() hands on what a reign that begins there grew out of", () => {
  expect(withTimeline(known, timeline(6))).toEqual([
    ...known.timelines,
    { timeline: timeline(6), epoch: epoch(7) },
  ]);
  expect(withTimeline(known, timeline(3))).toEqual([
    { timeline: timeline(2), epoch: epoch(1) },
    { timeline: timeline(3), epoch: epoch(4) },
  ]);
});

test("compareWal() ranks the reign above the timeline's number, and that above the length", () => {
  const at = (reign: number, number: number, position: number) => ({
    epoch: epoch(reign),
    timeline: timeline(number),
    lsn: lsn(position),
  });
  expect(compareWal(at(3, 2, 50), at(2, 2, 90))).toBeGreaterThan(0);
  expect(compareWal(at(3, 2, 50), at(3, 3, 40))).toBeLessThan(0);
  expect(compareWal(at(3, 2, 50), at(3, 2, 50))).toBe(0);
});
