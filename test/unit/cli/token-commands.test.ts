import { afterEach, beforeEach, expect, test } from "bun:test";
import { applyCommands, stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
beforeEach(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
});
afterEach(() => member.close());

test("a token is made, listed and revoked by its name", async () => {
  const made = await member.guacamole(["token", "create", "ann", "--scope", "operator", "--expires", "90d"]);
  expect(made.code).toBe(0);
  expect(made.out).toContain("gcm_");
  expect(made.out).toContain("shown this once");
  expect(member.fake.state?.tokens.at(-1)).toMatchObject({
    name: "ann",
    scope: "operator",
    by: "local",
    expiresAtMs: 5_000 + 90 * 86_400_000,
  });
  const listed = await member.guacamole(["token", "list"]);
  expect(listed.out).toMatch(/^ann +operator /m);
  expect(listed.out).not.toContain("s".repeat(32));
  const again = await member.guacamole(["token", "create", "ann", "--scope", "viewer"]);
  expect([again.code, again.err.includes("Another token has this name.")]).toEqual([3, true]);
  const revoked = await member.guacamole(["token", "revoke", "ann"]);
  expect([revoked.code, /^ann/m.test(revoked.out)]).toEqual([0, false]);
  const gone = await member.guacamole(["token", "revoke", "ann"]);
  expect([gone.code, gone.err.includes("No token has this name or id")]).toEqual([3, true]);
});

test("a scope must be said, and a duration must be one", async () => {
  expect((await member.guacamole(["token", "create", "ann"])).code).toBe(2);
  const argv = ["token", "create", "ann", "--scope", "viewer", "--expires", "soon"];
  expect((await member.guacamole(argv)).err).toContain("30m, 12h or 90d");
});
