import type { MachineRequest } from "../cluster/machine-request.ts";
import type { Reason } from "./reasons.ts";

/**
 * What a member does next to its machine: actions in order, each idempotent; the first failure ends the plan, and the
 * next look decides anew. An empty plan with a reason is "wait".
 */
export interface Plan {
  readonly reason: Reason;
  readonly detail: string | null;
  readonly actions: readonly Action[];
  readonly pace: Pace;
}

/** When to look again. `calm`: events wake the member. `soon`: tens of milliseconds. `urgent`: a failover waits for it. */
export type Pace = "calm" | "soon" | "urgent";

/** One step. `agent/execute.ts` carries it out and decides nothing. */
export type Action =
  | MachineRequest
  /** `withinMs`: how long a fast stop may take before it becomes an immediate one. Absent: as long as sessions may need. */
  | { readonly kind: "stop"; readonly mode: "fast" | "immediate"; readonly withinMs?: number }
  /** Makes the roles that members need. */
  | { readonly kind: "provision" }
  /** SQL `CHECKPOINT`. */
  | { readonly kind: "checkpoint" };

/** Does nothing until something happens, and says what is waited for. */
export function wait(reason: Reason, detail: string | null = null, pace: Pace = "calm"): Plan {
  return { reason, detail, actions: [], pace };
}

/** These actions, in this order; afterwards the member looks again at once. */
export function act(reason: Reason, ...actions: readonly Action[]): Plan {
  return { reason, detail: null, actions, pace: "urgent" };
}
