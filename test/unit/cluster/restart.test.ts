import { describe, expect, test } from "bun:test";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change } from "../../../src/cluster/command.ts";
import { restartStepOf } from "../../../src/cluster/restart.ts";
import type { ClusterState } from "../../../src/cluster/state.ts";
import { clusterState, epoch, id, member } from "../../support/situation.ts";

const LEVEL_4 = clusterState({ featureLevel: 4 });
const PLAN = {
  kind: "plan-restart",
  operationId: "op1",
  strategy: "auto",
  isPendingOnly: false,
  mayStall: false,
  timeoutMs: 60_000,
  targets: ["m1", "m2"].map((name) => ({ memberId: id(name), instance: `old-${name}` })),
} as const;
const BEGIN = {
  kind: "begin-restart-step",
  operationId: "op1",
  memberId: id("m2"),
  instance: "old-m2",
  method: "standby",
  epoch: epoch(1),
} as const;
const END = {
  kind: "end-restart-step",
  operationId: "op1",
  memberId: id("m2"),
  message: "m2 is back",
} as const;
const steer = (wish: "pause" | "resume" | "cancel") =>
  ({ kind: "steer-restart", operationId: "op1", wish }) as const;

let commands = 0;

function accepted(state: ClusterState, ...changes: readonly Change[]): ClusterState {
  return changes.reduce((before, change) => {
    commands += 1;
    const applied = apply(before, { id: `c${commands}`, atMs: 1_000, by: "ann", change });
    if (!applied.outcome.ok || applied.state === null) throw new Error(`${change.kind} was refused`);
    return applied.state;
  }, state);
}

function refusal(state: ClusterState, change: Change): string {
  const applied = apply(state, { id: "c", atMs: 1_000, by: "ann", change });
  expect(applied.state).toBe(state);
  return applied.outcome.ok ? "accepted" : applied.outcome.code;
}

describe("a planned restart", () => {
  test("is one at a time, of data members that stay, and an operation", () => {
    const state = accepted(LEVEL_4, PLAN);
    expect(state.restart).toMatchObject({ operationId: "op1", step: null });
    expect(state.operations.at(-1)).toMatchObject({
      id: "op1",
      kind: "restart",
      status: "running",
      by: "ann",
    });
    expect(refusal(state, { ...PLAN, operationId: "op2" })).toBe("operation-running");
    expect(refusal(LEVEL_4, { ...PLAN, targets: [] })).toBe("member-unknown");
    const witness = clusterState({ featureLevel: 4, members: [member("m1", { kind: "witness" })] });
    expect(refusal(witness, PLAN)).toBe("member-unsuitable");
    expect(refusal(clusterState({ featureLevel: 3 }), PLAN)).toBe("feature-level-low");
  });

  test("takes one member after another, under the reign that it was decided for", () => {
    const state = accepted(LEVEL_4, PLAN);
    expect(refusal(state, { ...BEGIN, epoch: epoch(2) })).toBe("stale-epoch");
    expect(refusal(state, { ...BEGIN, method: "in-place" })).toBe("member-unsuitable");
    const begun = accepted(state, BEGIN);
    expect(restartStepOf(begun, id("m2"))).toMatchObject({ instance: "old-m2" });
    expect(restartStepOf(begun, id("m1"))).toBeNull();
    expect(refusal(begun, { ...BEGIN, memberId: id("m3") })).toBe("operation-running");
    const switchover = {
      kind: "begin-switchover",
      targetId: id("m3"),
      operationId: "s",
      epoch: epoch(1),
    } as const;
    expect(refusal(begun, switchover)).toBe("operation-running");
    const ended = accepted(begun, END);
    expect(ended.restart?.targets.map(({ restarts }) => restarts)).toEqual([0, 1]);
    expect(refusal(ended, END)).toBe("stale-operation");
    const finish = {
      kind: "finish-operation",
      operationId: "op1",
      status: "succeeded",
      message: "done",
    } as const;
    expect(accepted(ended, finish)).toMatchObject({ restart: null });
  });

  test("is held and let go on; what is under way comes to its end", () => {
    const held = accepted(LEVEL_4, PLAN, BEGIN, steer("pause"));
    const back = accepted(held, END);
    expect(back.operations.at(-1)?.phase).toBe("paused");
    expect(refusal(back, BEGIN)).toBe("operation-running");
    expect(accepted(back, steer("resume"), { ...BEGIN, memberId: id("m3") }).restart?.step).not.toBeNull();
  });

  test("is ended at once, or once the member that is under way is back", () => {
    const idle = accepted(LEVEL_4, PLAN, steer("cancel"));
    expect([idle.restart, idle.operations.at(-1)?.status]).toEqual([null, "failed"]);
    const busy = accepted(LEVEL_4, PLAN, BEGIN, steer("cancel"));
    expect(busy.restart).toMatchObject({ cancelledBy: "ann", step: { memberId: id("m2") } });
    expect(refusal(accepted(busy, END), BEGIN)).toBe("operation-running");
  });

  test("is the only operation that can be steered", () => {
    const other = accepted(LEVEL_4, { kind: "reinitialize-member", memberId: id("m3"), operationId: "op1" });
    expect(refusal(other, steer("pause"))).toBe("not-steerable");
    expect(refusal(LEVEL_4, steer("cancel"))).toBe("stale-operation");
  });
});
