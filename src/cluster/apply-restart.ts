/** Planned restarts: asked for, moved on step by step by the leader, held and ended by people. */
import type { MemberId } from "../base/ids.ts";
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command, RefusalCode } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { beginOperation, closeOperation, isRunning, logOperation } from "./operations.ts";
import type { PlannedRestart, RestartTarget } from "./restart.ts";
import { type ClusterState, memberById, memberName, type Reign } from "./state.ts";

/** One at a time. In which order, and whether it can be done now, is the leader's to say. */
export function planRestart(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"plan-restart">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  if (state.reign === null) return refuse(state, "not-initialized");
  if (state.restart != null) return refuse(state, "operation-running");
  const refusal = change.targets.map(({ memberId }) => whyNot(state, memberId)).find((why) => why !== null);
  const [first] = change.targets;
  if (first === undefined) return refuse(state, "member-unknown");
  if (refusal != null) return refuse(state, refusal);
  const { operationId, strategy, isPendingOnly, mayStall, timeoutMs } = change;
  const targets = change.targets.map((target) => ({ ...target, restarts: 0 }));
  const restart = { operationId, strategy, isPendingOnly, mayStall, timeoutMs, targets, step: null };
  const names = targets.map(({ memberId }) => memberName(state, memberId)).join(", ");
  const begun = beginOperation(state, command, {
    id: operationId,
    kind: "restart",
    memberId: first.memberId,
    phase: "planned",
    message: `PostgreSQL is to be started again on ${names}`,
  });
  return accept(
    { ...begun, restart },
    event(command, "restart.planned", `PostgreSQL is to be started again on ${names}, by ${command.by}`, {
      members: names,
      operation: operationId,
    }),
  );
}

function whyNot(state: ClusterState, memberId: MemberId): RefusalCode | null {
  const member = memberById(state, memberId);
  if (member === undefined) return "member-unknown";
  if (member.kind !== "data") return "member-unsuitable";
  return member.isLeaving ? "member-leaving" : null;
}

/** From here on the member ends the server that is named, and starts another. */
export function beginRestartStep(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"begin-restart-step">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { reign, restart } = state;
  if (restart?.operationId !== change.operationId) return refuse(state, "stale-operation");
  const isHeld = restart.step !== null || restart.isPaused === true || restart.cancelledBy !== undefined;
  if (isHeld || state.switchover !== null) return refuse(state, "operation-running");
  if (reign === null || reign.epoch !== change.epoch || reign.fence !== null)
    return refuse(state, "stale-epoch");
  const { memberId, instance, method, epoch } = change;
  if (!isOf(reign, memberId, method)) return refuse(state, "member-unsuitable");
  const name = memberName(state, memberId);
  const how = method === "in-place" ? "is being started again in place" : "is being started again";
  const told = logOperation(state, command, restart.operationId, name, `${name} ${how}`);
  return accept(
    { ...told, restart: { ...restart, step: { memberId, instance, method, epoch } } },
    event(command, "restart.member", `PostgreSQL of ${name} ${how}`, {
      member: name,
      operation: restart.operationId,
    }),
  );
}

function isOf({ primaryId }: Reign, memberId: MemberId, method: "standby" | "in-place"): boolean {
  return (memberId === primaryId) === (method === "in-place");
}

/** The step is over: the member is back, or something else came of it. */
export function endRestartStep(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"end-restart-step">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { restart } = state;
  const isThis = restart?.operationId === change.operationId && restart.step?.memberId === change.memberId;
  if (restart == null || !isThis) return refuse(state, "stale-operation");
  const name = memberName(state, change.memberId);
  const targets = restart.targets.map(
    (target): RestartTarget =>
      target.memberId === change.memberId ? { ...target, restarts: target.restarts + 1 } : target,
  );
  const phase = restart.isPaused ? "paused" : name;
  const told = logOperation(state, command, restart.operationId, phase, change.message);
  const ended: PlannedRestart = { ...restart, targets, step: null };
  return accept(
    { ...told, restart: ended },
    event(command, "restart.member-back", change.message, { member: name, operation: restart.operationId }),
  );
}

/** Somebody holds a planned restart, lets it go on, or ends it. What is under way comes to its end in any case. */
export function steerRestart(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"steer-restart">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { restart } = state;
  if (restart?.operationId !== change.operationId) {
    const isOther = isRunning(state, change.operationId);
    return refuse(state, isOther ? "not-steerable" : "stale-operation");
  }
  const { by } = command;
  const tell = (name: string, message: string) =>
    event(command, name, message, { operation: change.operationId });
  switch (change.wish) {
    case "pause": {
      const message = `${by} holds it: no further member is begun`;
      const told = logOperation(state, command, change.operationId, "paused", message);
      return accept({ ...told, restart: { ...restart, isPaused: true } }, tell("restart.paused", message));
    }
    case "resume": {
      const { isPaused: _isPaused, ...going } = restart;
      const message = `${by} lets it go on`;
      const told = logOperation(state, command, change.operationId, "planned", message);
      return accept({ ...told, restart: going }, tell("restart.resumed", message));
    }
    default: {
      const message = `it was ended by ${by}`;
      if (restart.step === null) {
        const closed = closeOperation(state, command, change.operationId, "failed", message);
        return accept({ ...closed, restart: null }, tell("restart.cancelled", message));
      }
      const name = memberName(state, restart.step.memberId);
      const waiting = `${message}; ${name}, which is under way, comes back first`;
      const told = logOperation(state, command, change.operationId, "ending", waiting);
      return accept(
        { ...told, restart: { ...restart, cancelledBy: by } },
        tell("restart.cancelled", waiting),
      );
    }
  }
}
