/** Long work, as part of what is agreed: begun, told of, ended. */
import type { MemberId } from "../base/ids.ts";
import type { Command } from "./command.ts";
import type { ClusterState, Operation, OperationKind } from "./state.ts";

const OPERATIONS_MAX = 50;
const OPERATION_LOG_MAX = 100;

interface NewOperation {
  readonly id: string;
  readonly kind: OperationKind;
  readonly memberId: MemberId;
  readonly handsOver?: Operation["handsOver"];
  readonly phase: string;
  readonly message: string;
}

/** Adds an operation that is running; the oldest are forgotten. */
export function beginOperation(state: ClusterState, command: Command, begun: NewOperation): ClusterState {
  const operation: Operation = {
    id: begun.id,
    kind: begun.kind,
    memberId: begun.memberId,
    ...(begun.handsOver === undefined ? {} : { handsOver: begun.handsOver }),
    by: command.by,
    startedAtMs: command.atMs,
    finishedAtMs: null,
    status: "running",
    phase: begun.phase,
    log: [{ atMs: command.atMs, message: begun.message }],
  };
  return { ...state, operations: [...state.operations.slice(1 - OPERATIONS_MAX), operation] };
}

/** Moves an operation on to a phase, with a line in its log. */
export function logOperation(
  state: ClusterState,
  command: Command,
  operationId: string,
  phase: string,
  message: string,
): ClusterState {
  const operations = state.operations.map((each) =>
    each.id === operationId
      ? { ...each, phase, log: [...each.log.slice(1 - OPERATION_LOG_MAX), { atMs: command.atMs, message }] }
      : each,
  );
  return { ...state, operations };
}

/** Ends an operation, with a last line in its log. */
export function closeOperation(
  state: ClusterState,
  command: Command,
  operationId: string,
  status: "succeeded" | "failed",
  message: string,
): ClusterState {
  const logged = logOperation(state, command, operationId, status, message);
  const operations = logged.operations.map((each) =>
    each.id === operationId ? { ...each, status, finishedAtMs: command.atMs } : each,
  );
  return { ...logged, operations };
}

/** Whether this operation is known and has not ended. */
export function isRunning(state: ClusterState, operationId: string): boolean {
  return state.operations.some(({ id, status }) => id === operationId && status === "running");
}

/** Whether long work is about this member. A change of the authority is about all, and may wait for one that is removed. */
export function isBusy(state: ClusterState, id: MemberId): boolean {
  return state.operations.some(
    ({ kind, status, memberId }) => status === "running" && memberId === id && kind !== "authority-change",
  );
}
