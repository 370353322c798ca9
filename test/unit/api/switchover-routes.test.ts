import { describe, expect, test } from "bun:test";
import { createApi } from "../../../src/api/create-api.ts";
import type { ClusterDocument, ScheduledSwitchoverDocument } from "../../../src/api/documents.ts";
import { parseInstant } from "../../../src/api/instant.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import { DEFAULT_TAGS } from "../../../src/cluster/member.ts";
import {
  ADMIN,
  applyCommands,
  createFake,
  type Fake,
  M1,
  M2,
  M3,
  memberOf,
  OPERATOR,
  stateOf,
  VIEWER,
} from "./fixture.ts";

/** The fake's clock stands at 5 s. */
const SOON = "1970-01-01T01:00:10+01:00";

function living(over: Parameters<typeof stateOf>[0] = {}): Fake {
  const fake = createFake();
  fake.state = stateOf({ featureLevel: 4, ...over });
  applyCommands(fake);
  return fake;
}

function ask(
  fake: Fake,
  method: string,
  body?: unknown,
  token = ADMIN,
  key?: string,
  path = "/v1/switchover",
) {
  const request = new Request(`http://member.test${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      ...(key === undefined ? {} : { "idempotency-key": key }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return createApi(fake.ports).handle(request, "network");
}

const read = async <T>(response: Response | Promise<Response>) => (await (await response).json()) as T;

describe("a switchover at a time", () => {
  test("is scheduled, listed, shown with the cluster, and taken back", async () => {
    const fake = living();
    const made = await ask(fake, "POST", { to: "m2", at: SOON }, OPERATOR);
    expect([made.status, made.headers.get("location")]).toEqual([201, "/v1/switchover"]);
    const scheduled = await read<ScheduledSwitchoverDocument>(made);
    expect(scheduled).toEqual({
      id: expect.any(String),
      at: "1970-01-01T00:00:10.000Z",
      from: "m1",
      to: "m2",
      by: "operator-1",
      askedAt: "1970-01-01T00:00:05.000Z",
    });
    expect(await read<unknown>(ask(fake, "GET", undefined, VIEWER))).toEqual([scheduled]);
    const cluster = await read<ClusterDocument>(
      ask(fake, "GET", undefined, VIEWER, undefined, "/v1/cluster"),
    );
    expect(cluster.scheduledSwitchover).toEqual(scheduled);
    expect((await ask(fake, "DELETE", undefined, VIEWER)).status).toBe(403);
    expect(await read<unknown>(ask(fake, "DELETE", undefined, OPERATOR))).toEqual([]);
    const again = await read<ProblemDocument>(ask(fake, "DELETE", undefined, OPERATOR));
    expect([again.status, again.code]).toEqual([409, "not-scheduled"]);
  });

  test("stands in the compatible read as others write it", async () => {
    const fake = living();
    const shown = () =>
      read<Record<string, unknown>>(ask(fake, "GET", undefined, ADMIN, undefined, "/cluster"));
    expect(await shown()).not.toHaveProperty("scheduled_switchover");
    await ask(fake, "POST", { at: SOON });
    expect((await shown())["scheduled_switchover"]).toEqual({ at: "1970-01-01T00:00:10+00:00", from: "m1" });
  });

  test("is one at a time; the same request again is the same wish, its deletion too", async () => {
    const fake = living();
    const first = await read<ScheduledSwitchoverDocument>(ask(fake, "POST", { at: SOON }, ADMIN, "k1"));
    expect(await read<unknown>(ask(fake, "POST", { at: SOON }, ADMIN, "k1"))).toEqual(first);
    const second = await read<ProblemDocument>(ask(fake, "POST", { to: "m3", at: SOON }));
    expect([second.status, second.code]).toEqual([409, "scheduled-already"]);
    expect((await ask(fake, "DELETE", undefined, ADMIN, "k2")).status).toBe(200);
    expect((await ask(fake, "DELETE", undefined, ADMIN, "k2")).status).toBe(200);
  });

  test("is refused in the past, and where the time has no zone or is none", async () => {
    const fake = living();
    const problem = (at: string) => read<ProblemDocument>(ask(fake, "POST", { at }));
    expect(await problem("1970-01-01T00:00:05Z")).toMatchObject({ status: 422, code: "time-passed" });
    const zoneless = await problem("2027-01-31T03:00:00");
    expect([zoneless.status, zoneless.code]).toEqual([422, "invalid-request"]);
    expect(zoneless.detail).toContain("has no zone");
    expect((await problem("tomorrow")).detail).toContain("is no time");
    expect(fake.commands).toEqual([]);
  });

  test("is refused during a pause, for members that may never take over, and below feature level 4", async () => {
    const code = async (fake: Fake, to: string) =>
      (await read<ProblemDocument>(ask(fake, "POST", { to, at: SOON }))).code;
    expect(await code(living({ pauses: [{ reason: "storage", by: "ann", atMs: 0 }] }), "m2")).toBe("paused");
    const barred = memberOf(M2, "m2", { tags: { ...DEFAULT_TAGS, isNoFailover: true } });
    const fake = living({ members: [memberOf(M1, "m1"), barred, memberOf(M3, "m3")] });
    expect(await code(fake, "m2")).toBe("member-unsuitable");
    expect(await code(fake, "m1")).toBe("member-unsuitable");
    expect(await code(fake, "m9")).toBe("member-unknown");
    expect(await code(living({ featureLevel: 3 }), "m2")).toBe("feature-level-low");
  });
});

test("GET /v1/hooks lists what each host names, with what came last of it", async () => {
  const fake = living();
  const named = { program: "/usr/local/bin/tell", timeoutMs: 10_000, attempts: 3 };
  const result = {
    hook: "after-switchover",
    isOk: false,
    attempts: 3,
    detail: "no route",
    atMs: 4_000,
  } as const;
  const hooks = {
    guardsSwitchover: false,
    last: result,
    named: [
      { hook: "on-role-change", ...named },
      { hook: "after-switchover", ...named },
    ] as const,
    results: [result],
  };
  fake.local = fake.local && { ...fake.local, hooks };
  const told = {
    hook: "after-switchover",
    isOk: false,
    attempts: 3,
    detail: "no route",
    at: "1970-01-01T00:00:04.000Z",
  };
  expect(await read<unknown>(ask(fake, "GET", undefined, VIEWER, undefined, "/v1/hooks"))).toEqual([
    { member: "m1", hook: "on-role-change", ...named, last: null },
    { member: "m1", hook: "after-switchover", ...named, last: told },
  ]);
});

test("an instant is read with its zone, to the millisecond, and never guessed", () => {
  const msOf = (text: string) => {
    const parsed = parseInstant(text);
    return parsed.ok ? parsed.value : parsed.error.split(":")[0];
  };
  expect(msOf("1970-01-01T00:00:00Z")).toBe(0);
  expect(msOf("1970-01-01 02:00+02:00")).toBe(0);
  expect(msOf("1970-01-01t00:00:01.25z")).toBe(1_250);
  expect(msOf("1970-01-01T00:00:01.123456789Z")).toBe(1_123);
  for (const none of ["2027-02-30T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-01T25:00:00Z"])
    expect(msOf(none), none).toBe("is no time that there is");
  for (const none of ["", "now", "2027-01-31", "2027-01-31T03:00:00+0100", "1769828400"])
    expect(msOf(none), none).toBe("is no time");
  expect(msOf("2027-01-31T03:00:00")).toStartWith("has no zone");
});
