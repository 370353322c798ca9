import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ok } from "../../../src/base/result.ts";
import { applyCommands, CONNECTIONS, M2, WORK_MEM } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let pending = false;
beforeEach(async () => {
  member = await startFakeMember();
  pending = false;
  applyCommands(member.fake);
  const { state } = member.fake;
  if (state !== null) member.fake.state = { ...state, featureLevel: 4 };
  Object.assign(member.fake.ports, {
    serverSettings: async (id: string) =>
      ok({
        settings: [WORK_MEM, { ...CONNECTIONS, pendingRestart: pending && id === M2 }],
        prefixes: [],
        fileErrors: [],
        takenOut: [],
      }),
    tryParameters: async () => ({ kind: "fits" }),
  });
});
afterEach(() => member.close());

/** Each command line is a wish of its own. */
let keys = 0;
const guacamole = (argv: readonly string[]) => member.guacamole(argv, { newId: () => `key-${++keys}` });

describe("config", () => {
  test("shows what is in effect and why; of what is named also what it takes", async () => {
    const { code, out } = await guacamole(["config", "show", "work_mem"]);
    expect(code).toBe(0);
    expect(out.split("\n").slice(0, 2)).toEqual([
      "PARAMETER  MEMBERS  WANTED  BY  IN EFFECT  FROM",
      "work_mem   all      -           4MB        default",
    ]);
    expect(out).toContain("from 64 to 2147483647 (in kB); takes effect at once; scope operator changes it");
  });

  test("sets values for the cluster, a role and a member, and takes them out", async () => {
    expect((await guacamole(["config", "set", "work_mem=64MB"])).code).toBe(0);
    expect((await guacamole(["config", "set", "work_mem=32MB", "--role", "standby"])).code).toBe(0);
    const { out } = await guacamole(["config", "set", "work_mem=16MB", "--member", "m2"]);
    expect(out).toContain("work_mem   m2       16MB    member   4MB");
    expect(out).toContain("NOT as wanted");
    expect((await guacamole(["config", "reset", "work_mem", "--member", "m2"])).code).toBe(0);
    const seen = await guacamole(["config", "show", "--output", "json"]);
    expect(JSON.parse(seen.out)).toMatchObject({
      desired: { cluster: { work_mem: "64MB" }, standby: { work_mem: "32MB" }, members: {} },
    });
  });

  test("says what waits for a start, and shows only what is not as wanted", async () => {
    const { out } = await guacamole(["config", "set", "max_connections=200"]);
    expect(out).toContain("takes effect when PostgreSQL is started again");
    await guacamole(["config", "reset", "max_connections"]);
    expect((await guacamole(["config", "diff"])).out).toBe("Everything is in effect as it is wanted.\n");
    pending = true;
    const diff = await guacamole(["config", "diff"]);
    expect(diff.out).toContain("m2: max_connections wait for PostgreSQL to be started again");
    expect(diff.out.split("\n")[1]).toMatch(/^max_connections +m2 .*waits for a start$/);
  });

  test("2: what is no assignment; 3: what PostgreSQL would not take, with what it would", async () => {
    expect((await guacamole(["config", "set", "work_mem"])).code).toBe(2);
    expect((await guacamole(["config", "set", "a=1", "--role", "standby", "--member", "m1"])).code).toBe(2);
    const refused = await guacamole(["config", "set", "work_mem=1kB"]);
    expect(refused.code).toBe(3);
    expect(refused.err).toContain("from 64 to 2147483647 (in kB)");
    const owned = await guacamole(["config", "set", "synchronous_standby_names=*"]);
    expect(owned.err).toContain("/v1/topology");
  });
});

test("options after a subcommand are the subcommand's, and stand for the default one as well", async () => {
  for (const argv of [
    ["config", "show", "--output", "json"],
    ["config", "--output", "json"],
    ["topology", "show", "--output", "json"],
    ["topology", "--output", "json"],
  ])
    expect(JSON.parse((await guacamole(argv)).out)).toHaveProperty("generation");
});
