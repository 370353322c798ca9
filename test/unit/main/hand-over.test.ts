import { expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import {
  CALM_MS,
  decideHandOver,
  type HandOverView,
  HEALTH_FRESH_MS,
  type KnownHealth,
  LATE_FOR_MS,
} from "../../../src/main/hand-over.ts";
import { M1, M2 } from "../store/sample.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const NOW_MS = 100_000;
const WELL = { commitWorstMs: 4, latenessMs: 2, isDiskFull: false };
const known = (memberId: MemberId, health: Partial<KnownHealth> = {}): KnownHealth => ({
  ...WELL,
  memberId,
  atMs: NOW_MS - 100,
  ...health,
});

function view(own: Partial<HandOverView["own"]>, rest: Partial<HandOverView> = {}): HandOverView {
  return {
    nowMs: NOW_MS,
    selfId: M1,
    heartbeatMs: 75,
    leadingSinceMs: 0,
    triedAtMs: null,
    own: { ...WELL, slowCommits: 0, lateSinceMs: null, ...own },
    candidateIds: [M2, M3],
    health: [known(M2, { commitWorstMs: 20 }), known(M3)],
    ...rest,
  };
}

const SLOW = { slowCommits: 3, commitWorstMs: 400 };
const LATE = { latenessMs: 260, lateSinceMs: NOW_MS - LATE_FOR_MS };

test("who is well stays, and so does who was slow once or twice", () => {
  expect(decideHandOver(view({})).kind).toBe("stay");
  expect(decideHandOver(view({ slowCommits: 2, commitWorstMs: 900 })).kind).toBe("stay");
  expect(decideHandOver(view({ latenessMs: 260, lateSinceMs: NOW_MS - LATE_FOR_MS + 1 })).kind).toBe("stay");
});

test("a slow disk, one commit that hangs, and a late process hand on to the best", () => {
  expect(decideHandOver(view(SLOW))).toMatchObject({ kind: "hand-over", to: M3 });
  expect(decideHandOver(view({ slowCommits: 1, commitWorstMs: 1001 }))).toMatchObject({ to: M3 });
  const late = decideHandOver(
    view(LATE, { health: [known(M2, { latenessMs: 1 }), known(M3, { latenessMs: 9 })] }),
  );
  expect(late).toMatchObject({ kind: "hand-over", to: M2 });
  expect(late.reason).toContain("260 ms late");
});

test.each([
  ["is slow as well", known(M2, { commitWorstMs: 251 })],
  ["is hardly better", known(M2, { commitWorstMs: 201 })],
  ["is late", known(M2, { latenessMs: 76 })],
  ["has a full disk", known(M2, { isDiskFull: true })],
  ["said so too long ago", known(M2, { atMs: NOW_MS - HEALTH_FRESH_MS - 1 })],
  ["is not behind the log closely enough", known("00000000-0000-4000-8000-000000000007" as MemberId)],
  ["is this member", known(M1)],
] as const)("nobody is chosen who %s", (_, health) => {
  expect(decideHandOver(view(SLOW, { health: [health] }))).toMatchObject({
    kind: "stay",
    reason: expect.stringContaining("no other voter"),
  });
});

test("leadership does not dance: a new leader waits, and so does one that has just tried", () => {
  expect(decideHandOver(view(SLOW, { leadingSinceMs: NOW_MS - CALM_MS + 1 })).kind).toBe("stay");
  expect(decideHandOver(view(SLOW, { triedAtMs: NOW_MS - CALM_MS + 1 })).kind).toBe("stay");
  expect(decideHandOver(view(SLOW, { triedAtMs: NOW_MS - CALM_MS })).kind).toBe("hand-over");
});

test("a full disk does not wait for calm, nor for somebody who is well, and takes anybody in the end", () => {
  const full = { isDiskFull: true };
  expect(decideHandOver(view(full, { leadingSinceMs: NOW_MS }))).toMatchObject({ to: M3 });
  const slow = known(M2, { commitWorstMs: 900 });
  expect(decideHandOver(view(full, { health: [slow] }))).toMatchObject({ kind: "hand-over", to: M2 });
  const alsoFull = known(M2, { isDiskFull: true });
  expect(decideHandOver(view(full, { health: [alsoFull] }))).toMatchObject({ kind: "hand-over", to: null });
});
