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

  test.each(lines)("%s", async (line) => {
    const words = line.split(/\s+/).slice(1);
    const isOption = (word: string) => /^--?[a-z]/.test(word);
    const path = words.slice(
      0,
      Math.max(
        1,
        words.findIndex((word) => !/^[a-z-]+$/.test(word) || isOption(word)),
      ),
    );
    const usage = async (length: number) => {
      const { out } = await member.guacamole([...path.slice(0, length), "--help"]);
      return out.startsWith(`Usage: guacamole ${path.slice(0, length).join(" ")} `) ? out : null;
    };
    const help = (await usage(2)) ?? (await usage(1));
    expect(help).not.toBeNull();
    for (const option of words.filter(isOption)) expect(help).toMatch(new RegExp(`(?:^|\\s)${option}[\\s,]`));
  });
});
