import { expect, test } from "bun:test";
import type { Reign } from "../../../src/cluster/state.ts";
import { type OwnWal, relate } from "../../../src/decision/lineage.ts";
import { epoch, lsn, reign, timeline } from "../../support/situation.ts";

/** Epoch 5 writes timeline 4, which grew out of 1 (left at 50), 2 (left at 100) and 3 (left at 150). */
const present: Reign = reign({
  epoch: epoch(5),
  appointedAt: { timeline: timeline(3), lsn: lsn(150) },
  timelines: [
    { timeline: timeline(1), epoch: epoch(1) },
    { timeline: timeline(2), epoch: epoch(2) },
    { timeline: timeline(3), epoch: epoch(4) },
  ],
  lineage: {
    timeline: timeline(4),
    ancestors: [
      { timeline: timeline(1), endLsn: lsn(50) },
      { timeline: timeline(2), endLsn: lsn(100) },
      { timeline: timeline(3), endLsn: lsn(150) },
    ],
  },
});
/** PostgreSQL skips a number that it has seen in somebody's history file. */
const skipping: Reign = {
  ...present,
  timelines: present.timelines.filter((each) => each.timeline !== timeline(2)),
  lineage: {
    timeline: timeline(4),
    ancestors: [
      { timeline: timeline(1), endLsn: lsn(50) },
      { timeline: timeline(3), endLsn: lsn(150) },
    ],
  },
};
const promoting: Reign = { ...present, lineage: null };

function own(number: number, position: number, walEpoch: number, timelines = present.timelines): OwnWal {
  return {
    timeline: timeline(number),
    replayedLsn: lsn(position),
    promises: { walEpoch: epoch(walEpoch), timelines },
  };
}
const early = present.timelines.slice(0, 1);

test.each([
  ["on the primary's timeline", own(4, 200, 5), present, "behind"],
  ["before the end of an ancestor", own(2, 90, 2), present, "behind"],
  ["at the very end of an ancestor", own(3, 150, 4), present, "behind"],
  ["beyond the end of an ancestor", own(3, 151, 4), present, "forked at 3:150"],
  ["beyond a timeline of the primary's number", own(5, 160, 4), present, "alien"],
  ["on a number that the primary's history leaves out", own(2, 90, 2, early), skipping, "forked at 1:50"],
  ["on another timeline of the primary's number", own(4, 160, 4), present, "alien"],
  ["on another timeline of an ancestor's number", own(2, 60, 3, early), present, "alien"],
  ["newer than another timeline of an ancestor's number", own(6, 200, 3, early), present, "alien"],
  [
    "no further than the appointed member, before its promotion is known",
    own(3, 150, 4),
    promoting,
    "behind",
  ],
  ["further than the appointed member, before its promotion is known", own(3, 151, 4), promoting, "unknown"],
  ["on an older timeline, before the promotion is known", own(2, 90, 2), promoting, "unknown"],
  ["on the new timeline already, before the promotion is known", own(4, 160, 5), promoting, "behind"],
  ["on another timeline of the appointed member's number", own(3, 120, 3, early), promoting, "alien"],
] as const)("relate() %s", (_name, wal, to, expected) => {
  const relation = relate(wal, to);
  expect(
    relation.kind === "forked" ? `forked at ${relation.timeline}:${relation.atLsn}` : relation.kind,
  ).toBe(expected);
});
