import { expect, test } from "bun:test";
import { Hunger } from "../../../src/agent/hunger.ts";
import { primary, standby } from "../../support/situation.ts";

const STREAMING = standby();
const CUT = standby({ walReceiver: null });

test("a standby that gets nothing is looked at after a second, and once a second", () => {
  const hunger = new Hunger();
  const due: number[] = [];
  for (let nowMs = 10_000; nowMs <= 13_000; nowMs += 100) {
    hunger.note(CUT, nowMs);
    if (hunger.isLookDue(nowMs)) due.push(nowMs);
  }
  expect(due).toEqual([11_000, 12_000, 13_000]);
});

test("one that streams for an instant between refusals goes on being hungry; one that goes on streaming does not", () => {
  const hunger = new Hunger();
  for (let nowMs = 0; nowMs < 2_000; nowMs += 100) hunger.note(nowMs % 500 === 0 ? STREAMING : CUT, nowMs);
  expect(hunger.isLookDue(2_000)).toBe(true);
  for (let nowMs = 2_000; nowMs < 4_000; nowMs += 100) hunger.note(STREAMING, nowMs);
  expect(hunger.isLookDue(4_000)).toBe(false);
});

test("one that starts is hungry, a primary or one that is stopped is not", () => {
  const hunger = new Hunger();
  hunger.note({ kind: "starting", detail: "" }, 0);
  hunger.note({ kind: "starting", detail: "" }, 5_000);
  expect(hunger.isLookDue(5_000)).toBe(true);
  hunger.note(primary(1, ["m2"]), 6_000);
  expect(hunger.isLookDue(9_000)).toBe(false);
});
