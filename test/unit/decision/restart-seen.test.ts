import { expect, test } from "bun:test";
import { NO_RESTART_SEEN, seeRestart } from "../../../src/decision/restart-seen.ts";
import { epoch, id, observation, standby } from "../../support/situation.ts";

const STEP = { memberId: id("m2"), instance: "old", method: "standby", epoch: epoch(1) } as const;

const seen = (instance: string | null) =>
  new Map([
    [id("m2"), observation("m2", { postgres: standby(), more: instance === null ? {} : { instance } })],
  ]);

test("seeRestart() counts from the first look at a step, and from the first at which its server is away", () => {
  const first = seeRestart(NO_RESTART_SEEN, STEP, seen("old"), 100);
  expect(first).toMatchObject({ sinceMs: 100, downSinceMs: null });
  const down = seeRestart(first, STEP, seen(null), 150);
  expect(down).toMatchObject({ sinceMs: 100, downSinceMs: 150 });
  expect(seeRestart(down, STEP, seen("new"), 200)).toEqual(down);
  expect(seeRestart(down, { ...STEP, instance: "new" }, seen("new"), 300)).toMatchObject({
    sinceMs: 300,
    downSinceMs: null,
  });
  expect(seeRestart(down, null, seen("new"), 400)).toBe(NO_RESTART_SEEN);
});
