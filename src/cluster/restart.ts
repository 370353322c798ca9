/** A planned restart of PostgreSQL, as part of what is agreed: on which members, how, and how far it is (`roadmap/0011`). */
import type { Epoch, MemberId } from "../base/ids.ts";
import type { ClusterState } from "./state.ts";

/** How the primary is started again. `auto`: whichever interrupts less. */
export type RestartStrategy = "auto" | "in-place" | "switchover";

export interface PlannedRestart {
  readonly operationId: string;
  readonly strategy: RestartStrategy;
  /** Only where a parameter waits for it. */
  readonly isPendingOnly: boolean;
  /** Commits may wait while a standby is away that they need. */
  readonly mayStall: boolean;
  /** How long a member may take until it is back. */
  readonly timeoutMs: number;
  /** In the order in which people named them; in which order they are started again is decided as it goes. */
  readonly targets: readonly RestartTarget[];
  /** What is under way now; null: nothing is. */
  readonly step: RestartStep | null;
  /** Somebody holds it: no further member is begun. Absent: nobody does. */
  readonly isPaused?: boolean;
  /** Somebody ended it; the member that is under way comes back first. Absent: nobody did. */
  readonly cancelledBy?: string;
}

export interface RestartTarget {
  readonly memberId: MemberId;
  /** The server that ran when it was asked for: as long as it runs, it is to be started again. */
  readonly instance: string;
  /** How often it was started again. */
  readonly restarts: number;
}

/** One member is being started again. The member ends this very server and no later one, however often it hears of it. */
export interface RestartStep {
  readonly memberId: MemberId;
  readonly instance: string;
  readonly method: "standby" | "in-place";
  readonly epoch: Epoch;
}

/** The step that is under way for a member; null: none is. */
export function restartStepOf(state: ClusterState, memberId: MemberId): RestartStep | null {
  const step = state.restart?.step ?? null;
  return step?.memberId === memberId ? step : null;
}

/** The primary of the present reign is being started again in place. */
export function inPlaceStep(state: ClusterState): RestartStep | null {
  const step = state.restart?.step ?? null;
  const { reign } = state;
  const isThisReign = reign !== null && step?.memberId === reign.primaryId && step.epoch === reign.epoch;
  return step?.method === "in-place" && isThisReign ? step : null;
}
