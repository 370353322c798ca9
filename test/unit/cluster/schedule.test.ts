import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command } from "../../../src/cluster/command.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState, epoch, id, member } from "../../support/situation.ts";

const LEVEL_4 = clusterState({ featureLevel: 4 });
const WANTED = {
  kind: "schedule-switchover",
  scheduleId: "s1",
  primaryId: id("m1"),
  targetId: id("m3"),
  dueAtMs: 60_000,
} as const;
const BEGIN = {
  kind: "begin-switchover",
  targetId: id("m3"),
  operationId: "s1",
  epoch: epoch(1),
  scheduleId: "s1",
} as const;

let commands = 0;

function command(change: Change, by: string): Command {
  commands += 1;
  return { id: `c${commands}`, atMs: 1_000, by, change };
}

function accepted(state: ClusterState, change: Change, by = "ann") {
  const applied = apply(state, command(change, by));
  if (!applied.outcome.ok || applied.state === null) throw new Error("it was refused");
  return { state: applied.state, events: applied.events.map(({ name, message }) => `${name}: ${message}`) };
}

function refusal(state: ClusterState, change: Change): string {
  const applied = apply(state, command(change, "ann"));
  expect(applied.state).toBe(state);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

describe("a switchover at a time", () => {
  test("is remembered with who asked, and ends with the first that begins it", () => {
    const { state, events } = accepted(LEVEL_4, WANTED);
    expect(state.scheduledSwitchover).toMatchObject({ id: "s1", by: "ann", dueAtMs: 60_000, atMs: 1_000 });
    expect(events).toEqual(["switchover.scheduled: a switchover from m1 to m3 is scheduled by ann"]);
    const begun = accepted(state, BEGIN, "leader");
    expect(begun.state.scheduledSwitchover).toBeNull();
    expect(begun.state.switchover).toMatchObject({ operationId: "s1", targetId: id("m3") });
    expect(begun.state.operations.at(-1)).toMatchObject({ id: "s1", by: "ann", status: "running" });
    expect(begun.events).toEqual(["switchover.begun: switchover from m1 to m3, as scheduled by ann"]);
    expect(refusal(begun.state, BEGIN)).toBe("not-scheduled");
  });

  test("is taken back, and then begins no more", () => {
    const { state } = accepted(LEVEL_4, WANTED);
    const cancel = { kind: "cancel-switchover", scheduleId: "s1", reason: null } as const;
    const back = accepted(state, cancel, "bob");
    expect(back.state.scheduledSwitchover).toBeNull();
    expect(back.state.operations).toEqual([]);
    expect(back.events[0]).toContain("was taken back by bob");
    expect(refusal(back.state, BEGIN)).toBe("not-scheduled");
    expect(refusal(back.state, cancel)).toBe("not-scheduled");
    expect(refusal(state, { ...cancel, scheduleId: "s0" })).toBe("not-scheduled");
  });

  test("that cannot be done stands as an operation that failed, with its reason", () => {
    const { state } = accepted(LEVEL_4, WANTED);
    const cancel = { kind: "cancel-switchover", scheduleId: "s1", reason: "m3 does not stream" } as const;
    const ended = accepted(state, cancel, "leader");
    expect(ended.state.scheduledSwitchover).toBeNull();
    expect(ended.state.reign).toEqual(LEVEL_4.reign);
    const operation = ended.state.operations.at(-1);
    expect(operation).toMatchObject({ id: "s1", kind: "switchover", by: "ann", status: "failed" });
    expect(operation?.log.at(-1)?.message).toBe("it was not done: m3 does not stream");
    expect(ended.events).toEqual([
      "switchover.not-done: the scheduled switchover from m1 to m3 was not done: m3 does not stream",
    ]);
  });

  test("is refused where it could never come true", () => {
    const { state } = accepted(LEVEL_4, WANTED);
    const refused = (over: Partial<typeof WANTED> | object, before: ClusterState = LEVEL_4) =>
      refusal(before, { ...WANTED, ...over });
    expect(refused({ scheduleId: "s2" }, state)).toBe("scheduled-already");
    expect(refused({ dueAtMs: 1_000 })).toBe("time-passed");
    expect(refused({ primaryId: id("m2") })).toBe("stale-epoch");
    expect(refused({ targetId: id("m1") })).toBe("member-unsuitable");
    expect(refused({ targetId: id("m9") })).toBe("member-unknown");
    expect(refused({}, { ...LEVEL_4, reign: null })).toBe("not-initialized");
    expect(refused({}, { ...LEVEL_4, pauses: [{ reason: "storage", by: "ann", atMs: 0 }] })).toBe("paused");
    const members = [member("m1"), member("m2"), member("m3", { isLeaving: true })];
    expect(refused({}, { ...LEVEL_4, members })).toBe("member-leaving");
  });

  test("remembers whose reign was to end, for whoever is told after it", () => {
    const handsOver = { primaryId: id("m1"), epoch: epoch(1) };
    const { state } = accepted(LEVEL_4, WANTED);
    expect(accepted(state, BEGIN).state.operations.at(-1)).toMatchObject({ handsOver });
    const cancel = { kind: "cancel-switchover", scheduleId: "s1", reason: "m3 does not stream" } as const;
    expect(accepted(state, cancel).state.operations.at(-1)).toMatchObject({ handsOver });
    const { scheduleId: _now, ...now } = BEGIN;
    const older = accepted(clusterState({ featureLevel: 3 }), now).state.operations.at(-1);
    expect(older).not.toHaveProperty("handsOver");
  });

  test("is of feature level 4", () => {
    const older = clusterState({ featureLevel: 3 });
    expect(refusal(older, WANTED)).toBe("feature-level-low");
    expect(refusal(older, BEGIN)).toBe("feature-level-low");
    expect(
      accepted(older, { ...BEGIN, scheduleId: undefined } as unknown as Change).state.switchover,
    ).not.toBeNull();
  });
});

describe("what came of a hook", () => {
  const ran = {
    kind: "note-hook",
    hook: "after-switchover",
    isOk: false,
    attempts: 3,
    detail: "no route",
  } as const;

  test("is an event and nothing else", () => {
    const noted = accepted(LEVEL_4, { ...ran, memberId: id("m2") }, "m2");
    expect(noted.state).toBe(LEVEL_4);
    expect(noted.events).toEqual(["hook.failed: the hook after-switchover of m2 failed: no route"]);
    const well = accepted(LEVEL_4, { ...ran, memberId: id("m2"), isOk: true, detail: "" }, "m2");
    expect(well.events).toEqual(["hook.ran: the hook after-switchover of m2 ran"]);
  });

  test("is refused of nobody, and below feature level 4", () => {
    expect(refusal(LEVEL_4, { ...ran, memberId: id("m9") })).toBe("member-unknown");
    expect(refusal(clusterState({ featureLevel: 3 }), { ...ran, memberId: id("m2") })).toBe(
      "feature-level-low",
    );
  });
});
