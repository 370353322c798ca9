/**
 * Consensus, message by message. A transcript is a text file: prose, and commands on lines that begin with `> `; the
 * indented lines below a command say what came of it. `make record` writes those lines anew (read the diff before you
 * commit it); what a transcript `expect`s is held even then.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { play } from "./play.ts";

const LEAST_TRANSCRIPTS = 45;
const LEAST_WORDS_OF_PROSE = 25;
const isRecording = process.env["RECORD"] === "1";

const transcripts = readdirSync(import.meta.dir)
  .filter((name) => name.endsWith(".txt"))
  .sort();

test("the scan saw the transcripts", () => {
  expect(transcripts.length).toBeGreaterThanOrEqual(LEAST_TRANSCRIPTS);
});

describe("transcript", () => {
  test.each(transcripts)("%s", (name) => {
    const file = join(import.meta.dir, name);
    const text = readFileSync(file, "utf8");
    const played = play(text);
    if (isRecording) writeFileSync(file, played);
    else expect(played).toBe(text);
  });

  test.each(transcripts)("%s says what it shows, and expects something", (name) => {
    const text = readFileSync(join(import.meta.dir, name), "utf8");
    const [prose = ""] = text.split("\n> ");
    expect(prose.split(/\s+/).length).toBeGreaterThan(LEAST_WORDS_OF_PROSE);
    expect(text).toMatch(/^> (?:expect|plan|committed|election) /m);
  });
});

describe("the runner", () => {
  const group = "> group voters=m1,m2,m3\n";

  test("tells an outcome that is not the recorded one", () => {
    expect(play(`${group}> propose m1 x\n    taken as 1/2\n`)).toBe(
      `${group}> propose m1 x\n    refused: not-leader (nobody leads)\n`,
    );
  });

  test("keeps prose", () => expect(play("Once upon a time.\n")).toBe("Once upon a time.\n"));

  test("plays the same story in the same way", () => {
    const story = `${group}> ticks all 10\n> campaign m1\n> stabilize\n> propose m1 x\n> stabilize\n`;
    expect(play(story)).toBe(play(story));
    expect(play(story)).toContain("m1 leads term 2");
  });

  test.each([
    ["> dance m1", "unknown command 'dance'"],
    ["> ticks m9", "nobody is called 'm9'"],
    ["> ticks m1 soon", "'soon' is no number"],
    ["> heal m1", "does not know what to do with: m1"],
    ["> expect m1 role=leader", "should be"],
    ["> expect m1 commit=2 role=follower", "should be"],
    ["> expect m1 colour=red", "should be"],
    ["> expect m1", "expect what"],
    ["> cut m1|m9", "nobody is called 'm9'"],
  ])("refuses %s", (line, complaint) => {
    expect(() => play(`${group}${line}\n`)).toThrow(complaint);
  });

  test("takes a command that goes on in the next line for one", () => {
    const story = "> group voters=m1,m2\n>   log=1,1\n> expect m2\n>   last=2 commit=2\n";
    expect(play(story)).toBe(story);
    expect(() => play(story.replace("last=2", "last=3"))).toThrow("line 4");
  });

  test("does not let two members apply different entries, whatever is recorded", () => {
    expect(() => play("> group voters=m1,m2 log.m1=1,1 log.m2=1,2\n")).toThrow("applied 2/2 old");
  });

  test("refuses a command before there is a group, and says in which line", () => {
    expect(() => play("Prose.\n> ticks m1\n")).toThrow("line 2, '> ticks m1': there is no group yet");
  });
});
