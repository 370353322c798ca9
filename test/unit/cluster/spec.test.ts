import { expect, test } from "bun:test";
import { TIMING_PROFILES, validateTiming } from "../../../src/cluster/spec.ts";

test.each(Object.entries(TIMING_PROFILES))("the profile %s is one that may be used", (_name, timing) => {
  expect(validateTiming(timing)).toEqual({ ok: true, value: timing });
});

test.each(Object.entries(TIMING_PROFILES))(
  "%s: silence is suspected after several heartbeats",
  (_name, timing) => {
    expect(timing.suspectMs).toBeGreaterThanOrEqual(5 * timing.heartbeatMs);
  },
);

test("an election that a few lost heartbeats would start is refused, and the sentence says what it must be", () => {
  const { lan } = TIMING_PROFILES;
  expect(validateTiming({ ...lan, electionMsMin: 5 * lan.heartbeatMs - 1 })).toEqual({
    ok: false,
    error: "electionMsMin (374) must be at least five times heartbeatMs (75)",
  });
  expect(validateTiming({ ...lan, electionMsMax: lan.electionMsMin })).toEqual({
    ok: false,
    error: "electionMsMax (500) must be more than electionMsMin (500)",
  });
});
