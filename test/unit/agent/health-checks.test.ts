import { expect, test } from "bun:test";
import { HealthChecks } from "../../../src/agent/health-checks.ts";
import type { CheckResult, ProbePort } from "../../../src/agent/ports.ts";
import { primary, standby } from "../../support/situation.ts";

const WORKS: CheckResult = { connection: "works", write: "works", detail: null };

/** Checks of a server that answers as the test says. */
function checked() {
  const asked: PromiseWithResolvers<CheckResult>[] = [];
  const roles: boolean[] = [];
  let nowMs = 0;
  let news = 0;
  const probe: Pick<ProbePort, "check"> = {
    check: ({ isPrimary }) => {
      roles.push(isPrimary);
      const answer = Promise.withResolvers<CheckResult>();
      asked.push(answer);
      return answer.promise;
    },
  };
  const clock = { nowMs: () => nowMs, wallMs: () => 0, sleep: () => Promise.resolve() };
  const checks = new HealthChecks(probe as ProbePort, clock, () => {
    news += 1;
  });
  return {
    checks,
    roles,
    news: () => news,
    asked: () => asked.length,
    at: (timeMs: number) => {
      nowMs = timeMs;
    },
    answer: async (result: CheckResult) => {
      asked.at(-1)?.resolve(result);
      await Promise.resolve();
      await Promise.resolve();
    },
  };
}

const PRIMARY = primary(1, ["m2"]);
const NOTHING = { connectionFailingMs: null, writeFailingMs: null, postmasterStoppedMs: null, detail: null };

test("HealthChecks asks once a second, one question at a time, and only a server that runs", async () => {
  const { checks, asked, at, answer, roles } = checked();
  expect(checks.consider({ kind: "absent" }, null)).toEqual(NOTHING);
  expect(asked()).toBe(0);
  checks.consider(PRIMARY, "running");
  at(5_000);
  checks.consider(PRIMARY, "running");
  expect(asked()).toBe(1);
  await answer(WORKS);
  expect(checks.consider(standby(), "running")).toEqual(NOTHING);
  expect(roles).toEqual([true, false]);
});

test("HealthChecks says since when something has been failing: since it was asked", async () => {
  const { checks, at, answer, news } = checked();
  checks.consider(PRIMARY, "running");
  at(1_000);
  await answer({ connection: "failed", write: "unknown", detail: "refused" });
  expect(news()).toBe(1);
  at(1_200);
  expect(checks.consider(PRIMARY, "running")).toMatchObject({
    connectionFailingMs: 1_200,
    detail: "refused",
  });
  at(2_000);
  await answer({ connection: "works", write: "failed", detail: "no answer" });
  expect(checks.consider(PRIMARY, "running")).toMatchObject({
    connectionFailingMs: null,
    writeFailingMs: 800,
  });
  at(2_300);
  checks.consider(PRIMARY, "running");
  await answer(WORKS);
  expect(news()).toBe(3);
  expect(checks.consider(PRIMARY, "running")).toEqual(NOTHING);
});

test("HealthChecks forgets what failed with the server that it failed at", async () => {
  const { checks, answer } = checked();
  checks.consider(PRIMARY, "running");
  await answer({ connection: "failed", write: "unknown", detail: "refused" });
  expect(checks.consider({ kind: "absent" }, null)).toEqual(NOTHING);
});

test("HealthChecks counts for how long the postmaster has been stopped", () => {
  const { checks, at } = checked();
  checks.consider(PRIMARY, "stopped");
  at(900);
  expect(checks.consider({ kind: "unresponsive", detail: "" }, "stopped").postmasterStoppedMs).toBe(900);
  expect(checks.consider(PRIMARY, "running").postmasterStoppedMs).toBeNull();
});

test("HealthChecks keeps what waits for a start until it is told again, or the server is gone", async () => {
  const { checks, at, answer } = checked();
  checks.consider(PRIMARY, "running");
  await answer({ ...WORKS, pendingRestart: ["max_connections"] });
  at(2_000);
  checks.consider(PRIMARY, "running");
  await answer(WORKS);
  expect(checks.pendingRestart).toEqual(["max_connections"]);
  checks.consider({ kind: "absent" }, null);
  expect(checks.pendingRestart).toEqual([]);
});
