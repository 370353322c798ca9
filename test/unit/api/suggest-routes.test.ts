import { expect, test } from "bun:test";
import { createApi } from "../../../src/api/create-api.ts";
import type { SuggestionsDocument } from "../../../src/api/suggest-routes.ts";
import { ok } from "../../../src/base/result.ts";
import { renderSuggestions } from "../../../src/cli/suggest-command.ts";
import type { ServerSetting } from "../../../src/cluster/server-settings.ts";
import { createFake, stateOf, VIEWER } from "./fixture.ts";

function setting(name: string, value: string, unit: string | null): ServerSetting {
  return {
    name,
    setting: value,
    unit,
    type: "integer",
    context: name === "work_mem" ? "user" : "postmaster",
    min: "0",
    max: "2147483647",
    choices: null,
    source: "default",
    sourceFile: null,
    pendingRestart: false,
    description: "",
  };
}

async function suggest(query: string) {
  const settings = [setting("shared_buffers", "16384", "8kB"), setting("work_mem", "40960", "kB")];
  const fake = createFake({
    serverSettings: async () => ok({ settings, prefixes: [], fileErrors: [], takenOut: [] }),
  });
  fake.state = stateOf({ featureLevel: 4 });
  const request = new Request(`http://member.test/v1/parameters/suggest${query}`, {
    headers: { authorization: `Bearer ${VIEWER}` },
  });
  const answer = await createApi(fake.ports).handle(request, "network");
  return { status: answer.status, body: (await answer.json()) as SuggestionsDocument };
}

test("GET /v1/parameters/suggest shows values beside what is in effect, and who was not asked", async () => {
  const { status, body } = await suggest("");
  expect(status).toBe(200);
  expect(body).toMatchObject({ for: "cluster", workload: "mixed", connections: 100 });
  expect(body.machines.map(({ member }) => member)).toEqual(["m1", "m2"]);
  expect(body.unseen).toEqual([{ member: "m3", why: "m3 does not answer" }]);
  const of = (name: string) => body.suggestions.find((each) => each.name === name);
  expect(of("shared_buffers")).toMatchObject({
    value: "4GB",
    effective: "128MB",
    isDifferent: true,
    needsRestart: true,
  });
  expect(of("work_mem")).toMatchObject({
    value: "40MB",
    effective: "40MB",
    isDifferent: false,
    needsRestart: false,
  });
  const shown = renderSuggestions(body);
  expect(shown).toContain("m3 was not asked");
  expect(shown).toMatch(/shared_buffers +128MB +4GB +at a start/);
});

test("GET /v1/parameters/suggest for one member leaves out what all must share", async () => {
  const { body } = await suggest("?member=m2&workload=oltp&connections=50");
  expect(body).toMatchObject({ for: "m2", connections: 50 });
  expect(body.suggestions.some(({ name }) => name === "max_connections")).toBe(false);
  expect((await suggest("?member=m3")).status).toBe(503);
  expect((await suggest("?member=m9")).status).toBe(409);
  expect((await suggest("?workload=games")).status).toBe(422);
});
