/** The guard of the member, over a real process: a next one that cannot be started costs the next one, and no more. */

import { expect, test } from "bun:test";
import { defined } from "../../../src/base/assert.ts";
import { MemberGuard } from "../../../src/supervisor/member-guard.ts";
import { processStartTicks } from "../../../src/supervisor/process-table.ts";
import { realClock } from "../../support/postgres-clock.ts";

const LEASE_MS = 3_000;
/** Often enough to be able to say who was silent. */
const STEP_MS = 100;

test("a member that ended and cannot be started again is said so, once, and the lease is kept on", async () => {
  const member = Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore"] });
  let nowMs = 0;
  let startsTried = 0;
  const errors: string[] = [];
  const ignore = () => undefined;
  const guard = new MemberGuard({
    clock: { ...realClock, nowMs: () => nowMs },
    log: { error: (event) => errors.push(event), warn: ignore, info: ignore, debug: ignore },
    start: () => {
      startsTried += 1;
      throw new Error("EACCES: permission denied");
    },
  });
  try {
    guard.introduce({ pid: member.pid, startTicks: defined(processStartTicks(member.pid), "it runs") });
    guard.heard();
    guard.consider(LEASE_MS);
  } finally {
    member.kill("SIGKILL");
    await member.exited;
  }
  for (; nowMs < LEASE_MS; nowMs += STEP_MS) guard.consider(LEASE_MS);
  expect(startsTried).toBe(1);
  expect(errors).toEqual(["supervisor.member.not-started"]);
});
