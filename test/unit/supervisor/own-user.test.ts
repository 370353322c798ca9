import { expect, test } from "bun:test";
import { resolve } from "node:path";

const MODULE = resolve(import.meta.dir, "../../../src/supervisor/own-user.ts");

function nameWith(environment: Record<string, string>): string {
  const program = `console.log((await import(${JSON.stringify(MODULE)})).ownUser().username)`;
  const env = { PATH: process.env["PATH"] ?? "", ...environment };
  return Bun.spawnSync([process.execPath, "-e", program], { env }).stdout.toString().trim();
}

test("the own user's name is the system's, whatever $USER says or does not say", () => {
  const name = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
  expect(name).not.toBe("");
  expect(nameWith({})).toBe(name);
  expect(nameWith({ USER: "somebody-else" })).toBe(name);
});
