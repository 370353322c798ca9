import { expect, test } from "bun:test";
import { TIMING_PROFILES } from "../../../src/cluster/spec.ts";
import { TICK_MS, TickSchedule, ticksOf } from "../../../src/main/tick-schedule.ts";

const HEARTBEAT = 15;

test("a leader sleeps until its next heartbeat, and counts all of it", () => {
  const schedule = new TickSchedule(1000);
  expect(schedule.plan(1000, "leading", HEARTBEAT)).toBe(75);
  expect(schedule.takeDue(1075)).toBe(15);
  // A millisecond late is made good at the next one.
  expect(schedule.plan(1076, "leading", HEARTBEAT)).toBe(74);
  expect(schedule.takeDue(1150)).toBe(15);
});

test("a follower counts from the last heartbeat, however rarely it wakes", () => {
  const schedule = new TickSchedule(0);
  expect(schedule.plan(0, "following", HEARTBEAT)).toBe(150);
  schedule.leaderHeard(75);
  schedule.leaderHeard(148);
  expect(schedule.takeDue(150)).toBe(0);
  expect(schedule.plan(150, "following", HEARTBEAT)).toBe(148);
  expect(schedule.takeDue(298)).toBe(30);
  expect(schedule.plan(298, "watchful", HEARTBEAT)).toBe(10);
  expect(schedule.takeDue(308)).toBe(2);
});

test("time during which the process stood still counts as one tick at most", () => {
  const schedule = new TickSchedule(0);
  schedule.plan(0, "watchful", HEARTBEAT);
  expect(schedule.isLate(10 + TICK_MS)).toBe(false);
  expect(schedule.isLate(5000)).toBe(true);
  expect(schedule.takeDue(5000)).toBe(3);
  schedule.plan(5000, "watchful", HEARTBEAT);
  expect(schedule.takeDue(5010)).toBe(2);
});

test("the profiles keep their proportions in ticks", () => {
  expect(ticksOf(TIMING_PROFILES.lan)).toEqual({
    heartbeatTicks: 15,
    electionTicksMin: 100,
    electionTicksMax: 160,
  });
  expect(ticksOf(TIMING_PROFILES["lan-fast"]).heartbeatTicks).toBe(10);
});
