import { expect, test } from "bun:test";
import type { MemberId } from "../../../src/base/ids.ts";
import { ObservationBoard } from "../../../src/main/observation-board.ts";
import { M1, M2 } from "../store/sample.ts";
import { status } from "./members.ts";

const M3 = "00000000-0000-4000-8000-000000000003" as MemberId;
const aged = (sequence: number, ageMs = 0, bootId = "a") => ({
  status: status(M2, sequence, `reason ${sequence}`, bootId),
  ageMs,
});
const seen = (board: ObservationBoard, id: MemberId = M2) =>
  board.observations(1000).find((observation) => observation.status.memberId === id);

test("a status counts from when it was true, and an older one never replaces it", () => {
  const board = new ObservationBoard(M1);
  expect(board.takeStatus(M2, aged(5, 30), 100)).toBe(true);
  expect(seen(board)).toMatchObject({ statusAtMs: 70, status: { sequence: 5 } });
  expect(board.takeStatus(M2, aged(4), 110)).toBe(false);
  expect(seen(board)?.status.sequence).toBe(5);
  // The same one again: true for longer, but no news.
  const { version } = board;
  expect(board.takeStatus(M2, aged(5, 10), 120)).toBe(false);
  expect(seen(board)?.statusAtMs).toBe(110);
  expect(board.version).toBe(version);
});

test("the same said again is no change, until another member leads", () => {
  const board = new ObservationBoard(M1);
  const again = (sequence: number) => ({ status: status(M2, sequence, "idle"), ageMs: 0 });
  board.takeStatus(M2, again(1), 100);
  const { version, news } = board;
  expect(board.takeStatus(M2, again(2), 200)).toBe(false);
  expect([board.version, board.news]).toEqual([version, news]);
  expect(seen(board)).toMatchObject({ statusAtMs: 200, status: { sequence: 2 } });
  board.setLeader(M3);
  expect(board.takeStatus(M2, again(3), 300)).toBe(true);
});

test("a new life of a process replaces the old one for good", () => {
  const board = new ObservationBoard(M1);
  board.takeStatus(M2, aged(50), 100);
  board.takeStatus(M2, aged(1, 0, "b"), 200);
  expect(seen(board)).toMatchObject({ statusAtMs: 200, status: { sequence: 1, bootId: "b" } });
  board.takeStatus(M2, aged(51), 300);
  expect(seen(board)?.status.bootId).toBe("b");
});

test("a leader believes its own connections, the others the leader's, but for the one to the leader itself", () => {
  const board = new ObservationBoard(M1);
  const entry = (id: MemberId) => ({
    status: status(id, 1),
    statusAgeMs: 20,
    heardAgeMs: 5,
    isConnected: true,
  });
  board.setLeader(M3);
  board.takeDigest([entry(M2), entry(M3), entry(M1)], 100);
  expect(seen(board)).toMatchObject({ isConnected: true, statusAtMs: 80, heardAtMs: 95 });
  expect(seen(board, M3)?.isConnected).toBe(false);
  // What others say of us we know better.
  expect(seen(board, M1)).toBeUndefined();
  board.setConnected(M3, true);
  expect(seen(board, M3)?.isConnected).toBe(true);
  // With the leader goes what it saw.
  board.setConnected(M3, false);
  expect(seen(board)?.isConnected).toBe(false);
  board.setLeader(M1);
  board.setConnected(M2, true);
  expect(seen(board)).toMatchObject({ isConnected: true, heardAtMs: 95 });
});

test("what a member said before its connection broke is of the past until it says something again", () => {
  const board = new ObservationBoard(M1);
  board.setConnected(M2, true);
  board.takeStatus(M2, aged(1), 100);
  expect(seen(board)?.isPast).toBeUndefined();
  board.setConnected(M2, false);
  board.setConnected(M2, true);
  expect(seen(board)).toMatchObject({ isConnected: true, isPast: true });
  // Told again by somebody else, it is no newer.
  board.takeStatus(M2, aged(1, 50), 200);
  expect(seen(board)?.isPast).toBe(true);
  const { version } = board;
  board.takeStatus(M2, aged(2), 300);
  expect(seen(board)?.isPast).toBeUndefined();
  expect(board.version).toBeGreaterThan(version);
});

test("merely hearing a member is no change, and a member that left is forgotten", () => {
  const board = new ObservationBoard(M1);
  board.takeStatus(M2, aged(1), 100);
  const { version } = board;
  board.heard(M2, 400);
  expect(seen(board)?.heardAtMs).toBe(400);
  expect(board.version).toBe(version);
  board.keepOnly(new Set([M1]));
  expect(seen(board)).toBeUndefined();
});

test("an earlier life that is heard of late, from somebody else, does not take the place of the present one", () => {
  const board = new ObservationBoard(M1);
  board.takeStatus(M2, aged(1, 0, "second"), 1_000);
  const late = { ...aged(9, 500, "first"), statusAgeMs: 500, heardAgeMs: 500, isConnected: true };
  board.takeDigest([late], 1_100);
  expect(seen(board)?.status.bootId).toBe("second");
  board.takeStatus(M2, aged(2, 0, "second"), 1_200);
  expect(seen(board)?.status.sequence).toBe(2);
});

test("a life that is counted is the present one whatever came late of the one before, and with whatever age", () => {
  const board = new ObservationBoard(M1);
  const lived = (life: number, sequence: number, ageMs: number) => ({
    status: { ...status(M2, sequence, "idle", `life ${life}`), life },
    ageMs,
  });
  // Read all at once by a process that was frozen: the ages are of when it was sent.
  board.takeStatus(M2, lived(1, 90, 10), 9_000);
  board.takeStatus(M2, lived(2, 1, 50), 9_000);
  expect(seen(board)?.status).toMatchObject({ life: 2, sequence: 1 });
  board.takeStatus(M2, lived(1, 91, 0), 9_100);
  expect(seen(board)?.status).toMatchObject({ life: 2, sequence: 1 });
  board.takeStatus(M2, lived(2, 2, 0), 9_200);
  expect(seen(board)?.status).toMatchObject({ life: 2, sequence: 2 });
});

test("a joiner that replays the past does not forget who is connected", () => {
  const board = new ObservationBoard(M1);
  board.setLeader(M1);
  board.setConnected(M2, true);
  board.keepOnly(new Set([M1]));
  board.takeStatus(M2, aged(1), 100);
  expect(seen(board)?.isConnected).toBe(true);
  board.setConnected(M2, false);
  board.keepOnly(new Set([M1]));
  board.takeStatus(M2, aged(2), 100);
  expect(seen(board)?.isConnected).toBe(false);
});
