import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HbaDocument } from "../../../src/api/access-documents.ts";
import { applyCommands, M1, M2, M3, observed, PRIMARY, STANDBY, stateOf, statusOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
let directory: string;

/** Each command line is a wish of its own. */
function guacamole(argv: readonly string[]) {
  return member.guacamole(argv, { newId: () => crypto.randomUUID() });
}

/** Each member gives PostgreSQL whatever is agreed, at once. */
function follow(): void {
  const revision = member.fake.state?.spec.access?.revision ?? null;
  const access = { access: { revision, askedRevision: revision, problem: null } };
  member.fake.local = statusOf(M1, PRIMARY, access);
  for (const id of [M2, M3]) member.fake.observations.set(id, observed(statusOf(id, STANDBY, access)));
}

beforeAll(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  applyCommands(member.fake);
  member.onSleep = follow;
  directory = mkdtempSync(join(tmpdir(), "hba-cli-"));
});

afterAll(async () => {
  await member.close();
  rmSync(directory, { recursive: true });
});

const rules = async () =>
  (JSON.parse((await guacamole(["hba", "show", "--output", "json"])).out) as HbaDocument).rules.map(
    ({ text }) => text.replace(/\s+/g, " "),
  );

test("guacamole hba: set, add, remove, show, explain, reset", async () => {
  const file = join(directory, "pg_hba.conf");
  writeFileSync(file, "hostssl sales app 10.0.0.0/8 scram-sha-256\nhost all all all reject\n");
  const dry = await guacamole(["hba", "set", "--file", file, "--dry-run"]);
  expect(dry).toMatchObject({ code: 0 });
  expect(dry.err).toContain("Nothing was changed");
  expect((await rules()).length).toBe(3);
  const set = await guacamole(["hba", "set", "--file", file]);
  expect(set).toMatchObject({ code: 0 });
  expect(set.out).toContain("in-force");
  const line = ["hostssl", "sales", "bert", "10.0.0.0/8", "scram-sha-256"];
  expect(await guacamole(["hba", "add", ...line, "--before", "2", "--role", "standby"])).toMatchObject({
    code: 0,
  });
  expect(await rules()).toEqual([
    "hostssl sales app 10.0.0.0/8 scram-sha-256",
    "hostssl sales bert 10.0.0.0/8 scram-sha-256",
    "host all all all reject",
  ]);
  const asked = ["hba", "explain", "--user", "bert", "--database", "sales", "--address", "10.0.0.1", "--ssl"];
  expect((await guacamole(asked)).out).toContain("It meets rule 3: it is refused. (on m1, primary)");
  expect((await guacamole([...asked, "--member", "m2"])).out).toContain("scram-sha-256 decides");
  expect(await guacamole(["hba", "remove", "2"])).toMatchObject({ code: 0 });
  const unknown = await guacamole(["hba", "remove", "9"]);
  expect(unknown).toMatchObject({ code: 3 });
  expect(unknown.err).toContain("There is no rule 9");
  expect((await guacamole(["hba", "show", "--text"])).out).toContain("scram-sha-256");
  expect(await guacamole(["hba", "reset"])).toMatchObject({ code: 0 });
  expect((await rules()).length).toBe(3);
});

test("guacamole hba: rules with names are added, changed, moved and removed", async () => {
  const line = ["hostssl", "sales", "app", "10.0.0.0/8", "scram-sha-256"];
  const add = ["hba", "add", ...line, "--name", "sales-app", "--member", "m1,m2", "--before", "1"];
  expect(await guacamole(add)).toMatchObject({ code: 0 });
  const shown = await guacamole(["hba", "show"]);
  expect(shown.out).toMatch(/1 +sales-app +hostssl +sales +app +10.0.0.0\/8 +scram-sha-256 +m1 m2/);
  expect((await guacamole(["hba", "show", "--text"])).out).toContain(
    "# guacamole: name=sales-app members=m1,m2",
  );
  const dry = await guacamole(["hba", "change", "sales-app", "local all all peer", "--dry-run"]);
  expect(dry.err).toContain("Nothing was changed");
  expect((await rules())[0]).toStartWith("hostssl");
  const local = ["hba", "change", "sales-app", "local all all peer", "--comment", "here", "--member", ""];
  expect(await guacamole(local)).toMatchObject({ code: 0 });
  expect(member.fake.state?.spec.access?.hba[0]).toEqual({
    name: "sales-app",
    type: "local",
    databases: ["all"],
    users: ["all"],
    method: "peer",
    comment: "here",
  });
  expect(await guacamole(["hba", "move", "1", "--after", "2"])).toMatchObject({ code: 0 });
  expect((await rules())[1]).toBe("local all all peer");
  const generation = String(member.fake.state?.generation);
  const stale = ["hba", "remove", "2", "--generation", "1"];
  expect(await guacamole(stale)).toMatchObject({ code: 3 });
  expect(await guacamole(["hba", "remove", "2", "--generation", generation])).toMatchObject({ code: 0 });
  expect((await rules()).length).toBe(3);
  expect((await guacamole(["hba", "change", "1"])).code).toBe(2);
  expect((await guacamole(["hba", "move", "1"])).code).toBe(2);
  expect((await guacamole(["hba", "move", "1", "--at", "2", "--after", "3"])).code).toBe(2);
  expect((await guacamole(["hba", "remove", "no name"])).code).toBe(2);
  await guacamole(["hba", "reset"]);
});

test("guacamole hba: a rule that cannot be read, or that a member does not take, is an error", async () => {
  expect(await guacamole(["hba", "add", "host all all md5"])).toMatchObject({ code: 2 });
  expect((await guacamole(["hba", "set", "--file", join(directory, "none")])).code).toBe(2);
  member.onSleep = () => {
    follow();
    const revision = member.fake.state?.spec.access?.revision ?? null;
    const refused = { access: { revision: null, askedRevision: revision, problem: "it is wrong" } };
    member.fake.observations.set(M2, observed(statusOf(M2, STANDBY, refused)));
  };
  const added = await guacamole(["hba", "add", "host all all all md5"]);
  expect(added.code).toBe(5);
  expect(added.err).toContain("m2 goes on with what it had: it is wrong");
});

test("options of a group of commands reach the command that is meant, or the one that is meant without a word", async () => {
  for (const argv of [["topology"], ["topology", "show"], ["hba"], ["hba", "show"]]) {
    const ran = await guacamole([...argv, "--output", "json"]);
    expect(JSON.parse(ran.out)).toHaveProperty("generation");
  }
});
