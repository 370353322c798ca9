/** What somebody copies out of the README works: the unit, the files, the command lines. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { parseMemberConfig } from "../../src/main/config.ts";
import { readmeBlocks } from "../support/readme.ts";
import { type FakeMember, startFakeMember } from "../unit/cli/fake-member.ts";

const HOST = { hostName: "m1", firstAddress: "10.0.0.1" };

let member: FakeMember;
beforeAll(async () => {
  member = await startFakeMember();
});
afterAll(() => member.close());

/** systemd knows no comment behind a value: it ignores the whole line, and says so in a log that nobody reads. */
function ignoredBySystemd(unit: string): readonly string[] {
  return unit.split("\n").filter((line) => !/^(?:#.*|\[\w+\]|\w+=[^#]*|)$/.test(line));
}

test("the unit has no line that systemd ignores", () => {
  const [unit = ""] = readmeBlocks("ini");
  expect(unit).toContain("KillMode=process\n");
  expect(ignoredBySystemd(unit)).toEqual([]);
  expect(ignoredBySystemd("KillMode=process  # it lives on\n")).toHaveLength(1);
});

test("each file of a member is one", () => {
  const [whole = "", ...parts] = readmeBlocks("toml");
  const files = [whole, ...parts.map((part) => `[postgres]\ndata-dir = "/data"\n${part}`)];
  expect(files.length).toBeGreaterThan(1);
  for (const file of files) {
    const config = parseMemberConfig(file, {}, HOST);
    expect(config.ok ? [] : config.error).toEqual([]);
  }
});

describe("each command line", () => {
  const lines = readmeBlocks("")
    .flatMap((block) => block.split("\n"))
    .map((line) => line.replace(/^sudo /, ""))
    .filter((line) => line.startsWith("guacamole "))
    .map((line) => line.replace(/\s+#.*$/, "").split(" > ")[0] ?? "");

  test("was found", () => expect(lines.length).toBeGreaterThan(30));

  const isOption = (word: string) => /^--?[a-z]/.test(word);

  /** What is wrong with it; null: nothing. */
  async function flawOf(line: string): Promise<string | null> {
    const words = line.split(/\s+/).slice(1);
    // The longest that is a command: what follows are its arguments.
    for (const length of [2, 1]) {
      const path = words.slice(0, length);
      const { out } = await member.guacamole([...path, "--help"]);
      if (!out.startsWith(`Usage: guacamole ${path.join(" ")} `)) continue;
      if (out.includes("\nCommands:") && words[length] !== "…")
        return `'${path.join(" ")}' is no whole command`;
      const unknown = words
        .filter(isOption)
        .find((option) => !new RegExp(`(?:^|\\s)${option}[\\s,]`).test(out));
      return unknown === undefined ? null : `'${path.join(" ")}' has no ${unknown}`;
    }
    return `there is no '${words[0]}'`;
  }

  test.each(lines)("%s", async (line) => expect(await flawOf(line)).toBeNull());

  test.each([
    ["guacamole stauts", "there is no 'stauts'"],
    ["guacamole member ad", "'member' is no whole command"],
    ["guacamole form --nam orders", "'form' has no --nam"],
  ])("is missed where there is none: %s", async (line, flaw) => expect(await flawOf(line)).toBe(flaw));
});
