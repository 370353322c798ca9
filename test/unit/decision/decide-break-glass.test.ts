import { describe, expect, test } from "bun:test";
import type { BreakGlassGrant, BreakGlassRole, GuardedStatus } from "../../../src/cluster/break-glass.ts";
import {
  type BreakGlassView,
  decideBreakGlass,
  decideEnd,
} from "../../../src/decision/decide-break-glass.ts";

const HOUR = 3_600_000;
const ROLE = "guacamole_bg_1";
const GRANT: BreakGlassGrant = {
  id: "g1",
  role: ROLE,
  verifier: "SCRAM-SHA-256$…",
  reason: "INC-1",
  by: "ann",
  address: "10.0.0.7/32",
  requestedAtMs: 0,
  durationMs: HOUR,
  approvalsNeeded: 0,
  approvals: [],
  openedAtMs: 0,
  extensions: [],
  ended: null,
};
const HELD: GuardedStatus = {
  id: "g1",
  role: ROLE,
  durationMs: HOUR,
  expiresAtMs: HOUR,
  remainingMs: HOUR,
  why: null,
};
const OVER: GuardedStatus = { ...HELD, remainingMs: null, why: "its time is over" };
const FOUND: BreakGlassRole = { name: ROLE, isOpen: true, validUntilMs: HOUR };
const ENDED: BreakGlassGrant = { ...GRANT, verifier: null, ended: { atMs: 9, by: "bob", why: "revoked" } };

function steps(over: Partial<BreakGlassView>): readonly string[] {
  const view = {
    grants: [GRANT],
    guarded: [HELD],
    knownMs: () => 7,
    isPrimary: true,
    roles: [],
    nowWallMs: 10,
  };
  return decideBreakGlass({ ...view, ...over }).map((step) =>
    step.kind === "guard"
      ? `guard ${step.grants.map(({ id, isOver }) => `${id}${isOver ? " over" : ""}`)}`
      : step.kind,
  );
}

describe("a member", () => {
  test("tells the supervisor before it makes a role", () => {
    expect(steps({ guarded: [] })).toEqual(["guard g1"]);
    expect(steps({})).toEqual(["open-role"]);
    expect(steps({ roles: [FOUND] })).toEqual([]);
  });

  test("makes none where the supervisor cannot hold it to its time, where it is over there, or by the wall clock", () => {
    expect(steps({ guarded: null })).toEqual([]);
    expect(steps({ guarded: [OVER] })).toEqual([]);
    expect(steps({ nowWallMs: HOUR })).toEqual([]);
  });

  test("removes what has no grant that stands here and now", () => {
    expect(steps({ roles: [FOUND], guarded: [OVER] })).toEqual(["close-role"]);
    expect(steps({ roles: [FOUND], nowWallMs: HOUR })).toEqual(["close-role"]);
    expect(steps({ grants: [ENDED], guarded: [OVER], roles: [FOUND] })).toEqual(["close-role"]);
    expect(steps({ grants: [], guarded: [], roles: [FOUND] })).toEqual(["close-role"]);
    // A new primary that never heard of its grant: it came with replication.
    expect(steps({ grants: [], guarded: null, roles: [FOUND] })).toEqual(["close-role"]);
  });

  test("says when to end to the supervisor on standbys too, and leaves roles alone there", () => {
    expect(steps({ guarded: [], isPrimary: false, roles: null })).toEqual(["guard g1"]);
    expect(steps({ isPrimary: false, roles: null })).toEqual([]);
  });

  test("passes on what changed: an extension, an end; an approval that is missing opens nothing", () => {
    const longer = { ...GRANT, durationMs: 2 * HOUR };
    expect(steps({ grants: [longer], roles: [FOUND] })).toEqual(["guard g1", "open-role"]);
    expect(steps({ grants: [ENDED], roles: [] })).toEqual(["guard g1 over"]);
    expect(steps({ grants: [{ ...GRANT, openedAtMs: null }], guarded: [], roles: [] })).toEqual([]);
  });

  test("mends a role that is not as agreed", () => {
    expect(steps({ roles: [{ ...FOUND, isOpen: false }] })).toEqual(["open-role"]);
    expect(steps({ roles: [{ ...FOUND, validUntilMs: null }] })).toEqual(["open-role"]);
  });

  test("forgets what ended long ago", () => {
    const late = HOUR + 10;
    expect(steps({ grants: [ENDED], guarded: [OVER], nowWallMs: late })).toEqual(["guard "]);
    expect(steps({ grants: [ENDED], guarded: [], nowWallMs: late })).toEqual([]);
  });
});

describe("the leader notes the end", () => {
  const status = (held: GuardedStatus) => ({ grants: [held], problem: null });

  test("by its wall clock, or where the primary's host says that it is over", () => {
    const expired = { kind: "end-break-glass", grantId: "g1", why: "expired" } as const;
    expect(decideEnd([GRANT], status(HELD), 10)).toBeNull();
    expect(decideEnd([GRANT], undefined, HOUR)).toEqual(expired);
    expect(decideEnd([GRANT], status(OVER), 10)).toEqual(expired);
    // It was extended since: that host has not heard of it yet.
    expect(decideEnd([{ ...GRANT, durationMs: 2 * HOUR }], status(OVER), 10)).toBeNull();
    expect(decideEnd([ENDED], status(OVER), HOUR)).toBeNull();
  });

  test("of what nobody approved for an hour", () => {
    const waiting = { ...GRANT, openedAtMs: null };
    expect(decideEnd([waiting], undefined, HOUR - 1)).toBeNull();
    expect(decideEnd([waiting], undefined, HOUR)).toMatchObject({ why: "not-approved" });
  });
});
