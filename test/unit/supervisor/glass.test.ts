import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { GuardedGrant } from "../../../src/cluster/break-glass.ts";
import {
  type Clocks,
  glassRules,
  judged,
  type KeptGrant,
  statusOf,
  told,
} from "../../../src/supervisor/glass.ts";

const HOUR = 3_600_000;
/** The wall clock is far from the host's own time, and at first as far as it should be. */
const WALL = 1_700_000_000_000;
const at = (hostMs: number, wallMs = WALL + hostMs, bootId = "boot-1"): Clocks => ({
  bootId,
  hostMs,
  wallMs,
});
const wanted = (over: Partial<GuardedGrant> = {}): GuardedGrant => ({
  id: "g1",
  role: "guacamole_bg_1",
  address: "10.0.0.7/32",
  durationMs: HOUR,
  expiresAtMs: WALL + HOUR,
  isOver: false,
  knownMs: 0,
  ...over,
});

function only(kept: readonly KeptGrant[]): KeptGrant {
  const [grant] = kept;
  if (grant === undefined || kept.length > 1) throw new Error(`there are ${kept.length} grants`);
  return grant;
}

const isOver = (grant: KeptGrant) => grant.over !== null;

describe("the time of a grant", () => {
  test("is counted from when this host first heard of it, less what its member knew it before", () => {
    expect(only(told([], [wanted()], at(0))).untilMs).toBe(HOUR);
    expect(only(told([], [wanted({ knownMs: 600_000 })], at(1_000))).untilMs).toBe(1_000 + HOUR - 600_000);
  });

  test("does not begin anew when it is told again, by whomever, and is found by the next supervisor of this boot", () => {
    const first = told([], [wanted()], at(0));
    const found = JSON.parse(JSON.stringify(first)) as typeof first;
    expect(only(told(found, [wanted()], at(600_000))).untilMs).toBe(HOUR);
    expect(isOver(judged(only(found), at(HOUR - 1)))).toBe(false);
    expect(isOver(judged(only(found), at(HOUR)))).toBe(true);
  });

  test("ends earlier where the wall clock says so, and not later where that goes back", () => {
    const grant = only(told([], [wanted()], at(0)));
    expect(isOver(judged(grant, at(1_000, WALL + HOUR)))).toBe(true);
    expect(isOver(judged(grant, at(HOUR, WALL - 24 * HOUR)))).toBe(true);
    expect(statusOf(grant, at(HOUR / 2, WALL - HOUR)).remainingMs).toBe(HOUR / 2);
    expect(statusOf(grant, at(1_000, WALL + HOUR - 5)).remainingMs).toBe(5);
  });

  test("is over where the host was started anew: how long it was down nobody knows", () => {
    const grant = only(told([], [wanted()], at(0)));
    expect(judged(grant, at(10, WALL + 10, "boot-2")).over?.why).toContain("started anew");
  });

  test("grows by an extension, and by that alone", () => {
    const before = told([], [wanted()], at(0));
    const longer = wanted({ durationMs: 2 * HOUR, expiresAtMs: WALL + 2 * HOUR });
    const after = told(before, [longer], at(HOUR / 2));
    expect(only(after).untilMs).toBe(2 * HOUR);
    expect(only(told(after, [longer], at(HOUR))).untilMs).toBe(2 * HOUR);
  });

  test("is over for good: no extension and no clock revives it", () => {
    const over = [judged(only(told([], [wanted()], at(0))), at(HOUR))];
    const longer = wanted({ durationMs: 5 * HOUR, expiresAtMs: WALL + 5 * HOUR });
    expect(isOver(only(told(over, [longer], at(HOUR + 1))))).toBe(true);
    expect(isOver(judged(only(over), at(10, WALL)))).toBe(true);
  });

  test("is over once that is agreed, and where nobody knows of it any more; then it is forgotten", () => {
    const before = told([], [wanted()], at(0));
    expect(isOver(only(told(before, [wanted({ isOver: true })], at(5))))).toBe(true);
    const unknown = told(before, [], at(5));
    expect(isOver(only(unknown))).toBe(true);
    expect(told(unknown, [], at(6))).toEqual([]);
  });

  test("never is more than was granted in all, whatever happens to clocks, supervisors and tellings", () => {
    const step = fc.record({
      passedMs: fc.integer({ min: 0, max: HOUR / 2 }),
      wallJumpMs: fc.integer({ min: -48 * HOUR, max: 48 * HOUR }),
      what: fc.constantFrom("look", "tell", "restart"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let hostMs = 0;
        let kept = told([], [wanted()], at(0));
        let jumpMs = 0;
        for (const { passedMs, wallJumpMs, what } of steps) {
          hostMs += passedMs;
          jumpMs += wallJumpMs;
          const clocks = at(hostMs, WALL + hostMs + jumpMs);
          if (what === "restart") kept = JSON.parse(JSON.stringify(kept)) as typeof kept;
          if (what === "tell") kept = told(kept, [wanted()], clocks);
          const before = kept.map(isOver);
          kept = kept.map((grant) => judged(grant, clocks));
          kept.forEach((grant, index) => {
            if (hostMs >= HOUR || before[index] === true) expect(isOver(grant)).toBe(true);
          });
        }
      }),
    );
  });
});

test("its rules let the role in from its address over TLS, and in no other way; once it is over in no way at all", () => {
  const grant = only(told([], [wanted()], at(0)));
  const refusals = [
    "host all guacamole_bg_1 all reject",
    "host replication guacamole_bg_1 all reject",
    "local all guacamole_bg_1 reject",
    "local replication guacamole_bg_1 reject",
  ];
  expect(glassRules([grant])).toEqual(["hostssl all guacamole_bg_1 10.0.0.7/32 scram-sha-256", ...refusals]);
  expect(glassRules([judged(grant, at(HOUR))])).toEqual(refusals);
});
