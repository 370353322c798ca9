import { afterEach, beforeEach, expect, test } from "bun:test";
import type { AuditRecordDocument } from "../../../src/api/documents.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Fake } from "../api/fixture.ts";
import { stateOf } from "../api/fixture.ts";
import { type FakeMember, startFakeMember } from "./fake-member.ts";

let member: FakeMember;
beforeEach(async () => {
  member = await startFakeMember();
  member.fake.state = stateOf({ featureLevel: 4 });
  tellEvents(member.fake);
});
afterEach(() => member.close());

/** From now on commands take effect and leave their events. */
function tellEvents(fake: Fake): void {
  fake.onCommand = (command) => {
    const { state, outcome, events } = apply(fake.state, command);
    fake.state = state;
    for (const event of events) fake.events.push({ ...event, id: fake.events.length + 1 });
    fake.next = { kind: "applied", outcome };
  };
}

const pause = (reason: string) => member.guacamole(["pause", "--reason", reason]);

test("the trail is printed for people, with what was and what is", async () => {
  await pause("storage");
  expect((await pause("storage")).code).toBe(3);
  const { code, out } = await member.guacamole(["audit"]);
  expect(code).toBe(0);
  const [change = "", values = "", refusal = ""] = out.split("\n");
  expect(change).toContain("changed");
  expect(change).toContain("POST /v1/pause  by local");
  expect(values).toStartWith("    pauses[0]: - -> {");
  expect(refusal).toContain("409 paused-already");
});

test("and for programs, one record a line", async () => {
  await pause("a");
  await pause("b");
  const { out } = await member.guacamole(["audit", "--output", "jsonl"]);
  const records = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditRecordDocument);
  expect(records.map(({ kind, by, outcome }) => [kind, by, outcome])).toEqual([
    ["pause", "local", "changed"],
    ["pause", "local", "changed"],
  ]);
  expect((await member.guacamole(["audit", "--by", "nobody", "--output", "json"])).out).toBe("[]\n");
});

test("--follow goes on with what happens, each once", async () => {
  await pause("a");
  const inBetween = [() => pause("b"), () => pause("a"), async () => member.interrupt.abort()];
  const sleep = async () => void (await inBetween.shift()?.());
  const { out } = await member.guacamole(["audit", "--follow", "--output", "jsonl"], {
    clock: { nowMs: () => 0, wallMs: () => 5_000, sleep },
  });
  const records = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as AuditRecordDocument);
  expect(records.map(({ kind, code }) => kind ?? code)).toEqual(["pause", "pause", "paused-already"]);
});

test("--since takes a duration or a time, and says so of anything else", async () => {
  await pause("a");
  const since = async (text: string) => member.guacamole(["audit", "--since", text, "--output", "json"]);
  expect(JSON.parse((await since("1970-01-01T00:00:04Z")).out)).toHaveLength(1);
  expect(JSON.parse((await since("2001-01-01T00:00:00Z")).out)).toEqual([]);
  expect(JSON.parse((await since("7d")).out)).toHaveLength(1);
  const wrong = await since("soon");
  expect([wrong.code, wrong.err.includes("--since")]).toEqual([2, true]);
});
