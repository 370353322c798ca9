import { describe, expect, test } from "bun:test";
import { createApi } from "../../../src/api/create-api.ts";
import type { OperationDocument } from "../../../src/api/documents.ts";
import type { ProblemDocument } from "../../../src/api/problem.ts";
import type { MemberStatus, PostgresStatus } from "../../../src/cluster/observation.ts";
import {
  ADMIN,
  applyCommands,
  createFake,
  type Fake,
  M1,
  M2,
  M3,
  OPERATOR,
  observed,
  PRIMARY,
  reignOf,
  STANDBY,
  stateOf,
  statusOf,
  VIEWER,
} from "./fixture.ts";

function living(pending: readonly string[] = [], over: Parameters<typeof stateOf>[0] = {}): Fake {
  const fake = createFake();
  fake.state = stateOf({ featureLevel: 4, ...over });
  const servers = [
    [M1, PRIMARY],
    [M2, STANDBY],
    [M3, STANDBY],
  ] as const satisfies readonly (readonly [string, PostgresStatus])[];
  for (const [memberId, postgres] of servers) {
    const more: Partial<MemberStatus> = { instance: `old-${memberId}` };
    const status = statusOf(
      memberId,
      postgres,
      memberId === M2 ? { ...more, pendingRestart: pending } : more,
    );
    fake.observations.set(memberId, observed(status));
    if (memberId === fake.selfId) fake.local = status;
  }
  applyCommands(fake);
  return fake;
}

async function ask<T = OperationDocument>(
  fake: Fake,
  path: string,
  body: unknown = {},
  token = OPERATOR,
): Promise<{ readonly status: number; readonly body: T }> {
  const request = new Request(`http://member.test/v1${path}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "idempotency-key": JSON.stringify([path, body]).replaceAll(" ", ""),
    },
    body: JSON.stringify(body),
  });
  const answer = await createApi(fake.ports).handle(request, "network");
  return { status: answer.status, body: (await answer.json()) as T };
}

const codeOf = async (fake: Fake, path: string, body: unknown = {}, token = OPERATOR) => {
  const answer = await ask<ProblemDocument>(fake, path, body, token);
  return [answer.status, answer.body.code];
};

describe("POST /v1/restart", () => {
  test("plans it for all, or those that are named, and shows how far each is", async () => {
    const fake = living();
    const { status, body } = await ask(fake, "/restart", { strategy: "switchover" });
    expect(status).toBe(202);
    expect(body).toMatchObject({
      kind: "restart",
      status: "running",
      restart: { strategy: "switchover", isPaused: false },
    });
    expect(body.restart?.members).toEqual(["m1", "m2", "m3"].map((member) => ({ member, state: "waiting" })));
    expect(fake.state?.restart).toMatchObject({ timeoutMs: 120_000, isPendingOnly: false });
    expect((await ask(fake, "/restart", { strategy: "switchover" })).body.id).toBe(body.id);
    expect(await codeOf(fake, "/restart", { members: ["m2"] })).toEqual([409, "operation-running"]);
  });

  test("with onlyIfPending it is refused where nothing waits", async () => {
    expect(await codeOf(living(), "/restart", { onlyIfPending: true })).toEqual([409, "not-pending"]);
    const waiting = await ask(living(["shared_buffers"]), "/restart", { onlyIfPending: true });
    expect(waiting.status).toBe(202);
  });

  test("says beforehand that commits would wait", async () => {
    const k2 = { reign: reignOf({ cohort: { standbyIds: [M2, M3], k: 2 } }) };
    expect(await codeOf(living([], k2), "/restart")).toEqual([409, "restart-would-stall"]);
    expect((await ask(living([], k2), "/restart", { allowStall: true })).status).toBe(202);
    expect((await ask(living([], k2), "/members/m1/restart")).status).toBe(202);
  });

  test("refuses what it cannot do, and whoever may not ask", async () => {
    const fake = living();
    fake.observations.set(M3, observed(statusOf(M3, { kind: "absent" })));
    expect(await codeOf(fake, "/restart")).toEqual([409, "member-unsuitable"]);
    expect(await codeOf(fake, "/restart", { members: ["m9"] })).toEqual([409, "member-unknown"]);
    expect(await codeOf(fake, "/restart", { strategy: "gently" })).toEqual([422, "invalid-request"]);
    expect(await codeOf(fake, "/restart", {}, VIEWER)).toEqual([403, "scope-insufficient"]);
    expect(fake.commands).toEqual([]);
  });
});

describe("POST /v1/members/{name}/restart", () => {
  test("is of one member, in place, and only in the role that was meant", async () => {
    const fake = living();
    expect(await codeOf(fake, "/members/m1/restart", { ifRole: "standby" })).toEqual([
      409,
      "condition-not-met",
    ]);
    const { body } = await ask(fake, "/members/m1/restart", { ifRole: "primary" });
    expect(body.restart).toEqual({
      strategy: "in-place",
      isPaused: false,
      members: [{ member: "m1", state: "waiting" }],
    });
  });
});

describe("POST /v1/members/{name}/reload", () => {
  test("is passed on, and told where it could not be", async () => {
    expect((await ask<{ name: string }>(living(), "/members/m2/reload")).body.name).toBe("m2");
    expect(await codeOf(living(), "/members/m3/reload")).toEqual([503, "member-unreachable"]);
  });
});

describe("POST /v1/operations/{id}/…", () => {
  test("holds a planned restart, lets it go on, and ends it", async () => {
    const fake = living();
    const { id } = (await ask(fake, "/restart")).body;
    expect((await ask(fake, `/operations/${id}/pause`)).body).toMatchObject({
      phase: "paused",
      restart: { isPaused: true },
    });
    expect((await ask(fake, `/operations/${id}/resume`)).body.restart?.isPaused).toBe(false);
    expect((await ask(fake, `/operations/${id}/cancel`)).body).toMatchObject({ status: "failed" });
    expect(await codeOf(fake, `/operations/${id}/pause`, {}, ADMIN)).toEqual([409, "stale-operation"]);
  });
});
