/** A switchover that is to happen at a time: asked for, taken back, or given up. It is carried out by `begin-switchover`. */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { beginOperation, closeOperation } from "./operations.ts";
import { type ClusterState, memberById, memberName, type ScheduledSwitchover } from "./state.ts";

/** One at a time. What is wanted of it then is looked at then; here, only what can never come true is refused. */
export function scheduleSwitchover(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"schedule-switchover">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { reign, pauses = [] } = state;
  const { scheduleId, primaryId, targetId, dueAtMs } = change;
  if (reign === null) return refuse(state, "not-initialized");
  if (state.scheduledSwitchover != null) return refuse(state, "scheduled-already");
  if (reign.primaryId !== primaryId) return refuse(state, "stale-epoch");
  if (pauses.length > 0) return refuse(state, "paused");
  if (dueAtMs <= command.atMs) return refuse(state, "time-passed");
  if (targetId !== null) {
    const target = memberById(state, targetId);
    if (target === undefined) return refuse(state, "member-unknown");
    if (target.id === primaryId || target.kind !== "data") return refuse(state, "member-unsuitable");
    if (target.isLeaving) return refuse(state, "member-leaving");
  }
  const { by, atMs } = command;
  const scheduledSwitchover = { id: scheduleId, primaryId, targetId, dueAtMs, by, atMs };
  const { from, to } = namesOf(state, scheduledSwitchover);
  return accept(
    { ...state, scheduledSwitchover },
    event(command, "switchover.scheduled", `a switchover from ${from} to ${to} is scheduled by ${by}`, {
      from,
      to,
      dueAtMs,
      operation: scheduleId,
    }),
  );
}

/** The schedule ends, and its primary stays. What could not be done stands as an operation that failed. */
export function cancelSwitchover(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"cancel-switchover">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const scheduled = state.scheduledSwitchover;
  if (scheduled == null || scheduled.id !== change.scheduleId) return refuse(state, "not-scheduled");
  const { from, to } = namesOf(state, scheduled);
  const ended: ClusterState = { ...state, scheduledSwitchover: null };
  const fields = { from, to, dueAtMs: scheduled.dueAtMs, operation: scheduled.id };
  const { reason } = change;
  if (reason === null) {
    const message = `the scheduled switchover from ${from} to ${to} was taken back by ${command.by}`;
    return accept(ended, event(command, "switchover.unscheduled", message, fields));
  }
  const message = `the scheduled switchover from ${from} to ${to} was not done: ${reason}`;
  return accept(
    asFailed(ended, command, scheduled, reason),
    event(command, "switchover.not-done", message, { ...fields, reason }),
  );
}

function asFailed(
  state: ClusterState,
  command: Command,
  scheduled: ScheduledSwitchover,
  reason: string,
): ClusterState {
  const { from, to } = namesOf(state, scheduled);
  const begun = beginOperation(
    state,
    { ...command, by: scheduled.by },
    {
      id: scheduled.id,
      kind: "switchover",
      memberId: scheduled.targetId ?? scheduled.primaryId,
      ...(state.reign === null
        ? {}
        : { handsOver: { primaryId: scheduled.primaryId, epoch: state.reign.epoch } }),
      phase: "scheduled",
      message: `the scheduled switchover from ${from} to ${to} is due`,
    },
  );
  return closeOperation(begun, command, scheduled.id, "failed", `it was not done: ${reason}`);
}

function namesOf(
  state: ClusterState,
  { primaryId, targetId }: ScheduledSwitchover,
): { readonly from: string; readonly to: string } {
  const to = targetId === null ? "whoever is best then" : memberName(state, targetId);
  return { from: memberName(state, primaryId), to };
}
