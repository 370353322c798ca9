import type { ClusterId, Epoch, TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { ManagedSettings, Upstream } from "../cluster/managed-settings.ts";
import type { TimelineEpoch } from "../cluster/observation.ts";
import type { InitdbOptions } from "../cluster/state.ts";
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
  | { readonly kind: "initdb"; readonly clusterId: ClusterId; readonly options: InitdbOptions }
  | {
      readonly kind: "clone";
      readonly clusterId: ClusterId;
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      readonly source: Upstream;
      /** Why data that stands there may be moved aside; null: only an empty place may be filled (F7). */
      readonly replace: string | null;
    }
  | {
      readonly kind: "rewind";
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      readonly source: Upstream;
      readonly forkTimeline: TimelineId;
      readonly forkLsn: Lsn;
    }
  | {
      readonly kind: "configure";
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      readonly settings: ManagedSettings;
    }
  | { readonly kind: "start"; readonly epoch: Epoch }
  | { readonly kind: "stop"; readonly mode: "fast" | "immediate" }
  | { readonly kind: "reload" }
  | { readonly kind: "promote"; readonly epoch: Epoch; readonly timelines: readonly TimelineEpoch[] }
  | { readonly kind: "pledge"; readonly epoch: Epoch }
  | { readonly kind: "discard-aside" }
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
