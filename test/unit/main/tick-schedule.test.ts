import { expect, test } from "bun:test";
import { TIMING_PROFILES } from "../../../src/cluster/spec.ts";
import { TICK_MS, TickSchedule, ticksOf } from "../../../src/main/tick-schedule.ts";

const HEARTBEAT = 15;

test("a leader sleeps until its next heartbeat, and counts all of it", () => {
  const schedule = new TickSchedule(1000);
  expect(schedule.plan(1000, "leading", HEARTBEAT)).toBe(75);
  expect(schedule.takeDue(1075)).toEqual({ ticks: 15, lostTicks: 0 });
  // A millisecond late is made good at the next one.
  expect(schedule.plan(1076, "leading", HEARTBEAT)).toBe(74);
  expect(schedule.takeDue(1150).ticks).toBe(15);
});

test("a follower counts from the last heartbeat, however rarely it wakes", () => {
  const schedule = new TickSchedule(0);
  expect(schedule.plan(0, "following", HEARTBEAT)).toBe(300);
  for (const heardAtMs of [75, 150, 225, 298]) schedule.leaderHeard(heardAtMs);
  expect(schedule.takeDue(300)).toEqual({ ticks: 0, lostTicks: 0 });
  expect(schedule.plan(300, "following", HEARTBEAT)).toBe(298);
  expect(schedule.takeDue(598).ticks).toBe(60);
  expect(schedule.plan(598, "watchful", HEARTBEAT)).toBe(10);
  expect(schedule.takeDue(608).ticks).toBe(2);
});

test("a follower that hears nothing wakes before the shortest election, whatever the profile", () => {
  for (const timing of Object.values(TIMING_PROFILES)) {
    const schedule = new TickSchedule(0);
    const { heartbeatTicks } = ticksOf(timing);
    expect(schedule.plan(0, "following", heartbeatTicks)).toBeLessThan(timing.electionMsMin);
  }
});

test("time during which the process stood still counts as one tick of patience at most, and in full for authority", () => {
  const schedule = new TickSchedule(0);
  schedule.plan(0, "watchful", HEARTBEAT);
  expect(schedule.isLate(10 + TICK_MS)).toBe(false);
  expect(schedule.isLate(5000)).toBe(true);
  expect(schedule.lateMs(5000)).toBe(4990);
  expect(schedule.takeDue(5000)).toEqual({ ticks: 3, lostTicks: 997 });
  schedule.plan(5000, "watchful", HEARTBEAT);
  expect(schedule.takeDue(5010)).toEqual({ ticks: 2, lostTicks: 0 });
});

test("a delay counts once, although what waited in the sockets brings a new plan before any tick", () => {
  const schedule = new TickSchedule(0);
  schedule.plan(0, "watchful", HEARTBEAT);
  expect(schedule.isLate(5000)).toBe(true);
  // Somebody asked for a vote meanwhile: another role, another plan.
  schedule.plan(5001, "watchful", HEARTBEAT);
  expect(schedule.takeDue(5001)).toEqual({ ticks: 3, lostTicks: 997 });
  expect(schedule.takeDue(5011)).toEqual({ ticks: 2, lostTicks: 0 });
});

test("a leader that is heard after a delay leaves nothing to be impatient about", () => {
  const schedule = new TickSchedule(0);
  schedule.plan(0, "following", HEARTBEAT);
  schedule.leaderHeard(5000);
  expect(schedule.takeDue(5001).ticks).toBe(0);
});

test("the profiles keep their proportions in ticks", () => {
  expect(ticksOf(TIMING_PROFILES.lan)).toEqual({
    heartbeatTicks: 15,
    electionTicksMin: 100,
    electionTicksMax: 160,
  });
  expect(ticksOf(TIMING_PROFILES["lan-fast"]).heartbeatTicks).toBe(10);
});
