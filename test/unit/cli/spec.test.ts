/** All that is wanted as a file: exported, applied, edited, and of parameters the way back. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ok } from "../../../src/base/result.ts";
import type { CliPorts } from "../../../src/cli/ports.ts";
import { applyCommands, CONNECTIONS, WORK_MEM } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let directory: string;
let file: string;
beforeEach(async () => {
  member = await startFakeMember();
  directory = await mkdtemp(join(tmpdir(), "spec-"));
  file = join(directory, "spec.yaml");
  applyCommands(member.fake);
  const { state } = member.fake;
  if (state !== null) member.fake.state = { ...state, featureLevel: 4 };
  Object.assign(member.fake.ports, {
    serverSettings: async () =>
      ok({ settings: [WORK_MEM, CONNECTIONS], prefixes: [], fileErrors: [], takenOut: [] }),
    tryParameters: async () => ({ kind: "fits" }),
  });
});
afterEach(async () => {
  await member.close();
  await rm(directory, { recursive: true, force: true });
});

const guacamole = (argv: readonly string[], over?: Partial<CliPorts>) => member.guacamole(argv, over);
const exported = async () => (await guacamole(["spec", "export"])).out;
const generation = () => member.fake.state?.generation ?? 0;

describe("a file of all that is wanted", () => {
  test("is readable, the same each time, and applied changes nothing", async () => {
    const text = await exported();
    expect(text).toStartWith("# What is wanted of the cluster.");
    expect(text).toContain("# How commits are kept ('guacamole topology').\ndurability:\n  mode: quorum\n");
    expect(text).toContain("access: null\n");
    await writeFile(file, text);
    const { code, out } = await guacamole(["apply", "-f", file]);
    expect({ code, out }).toEqual({ code: 0, out: "All of it is so already (generation 1).\n" });
    expect(await exported()).toBe(text);
  });

  test("shows in a dry run what it would change, then does, with a reason", async () => {
    await writeFile(file, "postgres: {parameters: {cluster: {work_mem: 64MB}}}\n");
    const dry = await guacamole(["apply", "-f", file, "--dry-run"]);
    expect(dry.out).toContain("postgres.parameters.cluster.work_mem: - -> 64MB");
    expect(dry.out).toContain("Nothing was changed.");
    expect({ code: dry.code, generation: generation() }).toEqual({ code: 7, generation: 1 as never });
    const done = await guacamole(["apply", "-f", file, "--reason", "größer"]);
    expect({ code: done.code, generation: generation() }).toEqual({ code: 0, generation: 2 as never });
    expect((await guacamole(["apply", "-f", file, "--dry-run"])).code).toBe(0);
    expect((await guacamole(["spec", "history"])).out).toContain("größer");
    expect((await guacamole(["config", "history"])).out).toContain("work_mem: - -> 64MB");
  });

  test("2: what is no file of that kind, with its line; 3: what the API refuses", async () => {
    const applied = async (text: string, ...more: readonly string[]) => {
      await writeFile(file, text);
      const { code, err } = await guacamole(["apply", "-f", file, ...more]);
      return `${code} ${err}`;
    };
    expect(await applied("timing:\n  a: [1\nb: 2\n")).toMatch(/^2 .*line 3/s);
    expect(await applied("timing: {}\ntiming: {}\n")).toMatch(/^2 .*unique/s);
    expect(await applied("- 1\n")).toMatch(/^2 .*no sections/s);
    expect(await applied("")).toMatch(/^2 .*no sections/s);
    expect((await guacamole(["apply", "-f", join(directory, "none")])).code).toBe(2);
    expect(await applied("nonsense: 1\n")).toMatch(/^3 .*nonsense: there is no such field/s);
    expect(await applied("postgres: {parameters: {cluster: {work_mem: 1kB}}}\n")).toMatch(/^3 .*64 to/s);
    expect(await applied("failover: null\n", "--if-generation", "9")).toMatch(/^3 .*generation 1/s);
    expect(generation()).toBe(1);
  });

  test("can be edited, again where it is refused, and is left where nothing was edited", async () => {
    const asked: string[] = [];
    const texts = ["work_mem: 1kB", "work_mem: 32MB"];
    const edit = async (text: string) => {
      asked.push(text);
      return text.replace(/cluster: .*|work_mem: .*/, () =>
        text.includes("cluster: {}") ? `cluster:\n      ${texts.shift()}` : `${texts.shift()}`,
      );
    };
    const over = { edit, readLine: async () => "y" };
    const { code, out, err } = await guacamole(["config", "edit", "--reason", "why"], over);
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining("work_mem: - -> 32MB") });
    expect(err).toContain("64 to");
    expect(asked[0]).not.toContain("durability");
    // What was refused is there to be mended.
    expect(asked[1]).toContain("work_mem: 1kB");
    expect((await guacamole(["spec", "edit"], { edit: async (text) => text })).err).toContain("Nothing was");
    expect((await guacamole(["spec", "edit"], { edit: async () => null })).code).toBe(5);
    expect(generation()).toBe(2);
  });

  test("of the parameters of an earlier version brings back only these", async () => {
    await guacamole(["config", "set", "work_mem=64MB"]);
    await guacamole(["config", "set", "work_mem=32MB"]);
    await guacamole(["topology", "set", "--calm", "20s"]);
    const { code, out } = await guacamole(["config", "rollback", "2"]);
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining("32MB -> 64MB") });
    expect(member.fake.state?.spec).toMatchObject({
      failover: { calmMs: 20_000 },
      postgres: { parameters: { cluster: { work_mem: "64MB" } } },
    });
    expect((await guacamole(["spec", "history", "--limit", "1"])).out).toContain(
      "parameters back to generation 2",
    );
  });
});
