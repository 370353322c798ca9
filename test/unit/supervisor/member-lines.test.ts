import { describe, expect, test } from "bun:test";
import { MemberLines } from "../../../src/supervisor/member-lines.ts";

describe("who speaks for a member", () => {
  test("the newest of its lives, from the moment it has spoken", () => {
    const lines = new MemberLines();
    const [first, second] = [lines.open(), lines.open()];
    lines.claim(first);
    expect(lines.maySpeak(first)).toBe(true);
    lines.claim(second);
    expect(lines.maySpeak(first)).toBe(false);
    expect(lines.maySpeak(second)).toBe(true);
  });

  test("what an earlier life said first may be read last, and changes nothing", () => {
    const lines = new MemberLines();
    const [first, second] = [lines.open(), lines.open()];
    lines.claim(second);
    lines.claim(first);
    expect(lines.maySpeak(first)).toBe(false);
    expect(lines.maySpeak(second)).toBe(true);
  });

  test("a person who connects meanwhile may speak, and takes nothing from the member", () => {
    const lines = new MemberLines();
    const member = lines.open();
    lines.claim(member);
    expect(lines.maySpeak(lines.open())).toBe(true);
    expect(lines.maySpeak(member)).toBe(true);
  });
});
