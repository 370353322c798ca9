import type { MemberId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { Result } from "../base/result.ts";
import type { Member } from "../cluster/member.ts";
import type { Observation, StandbyStatus } from "../cluster/observation.ts";
import { type ClusterState, memberById } from "../cluster/state.ts";
import type { RestartSeen } from "./restart-seen.ts";

/** All that the leader may use for a decision. */
export interface ClusterView {
  readonly state: ClusterState;
  readonly selfId: MemberId;
  readonly observations: ReadonlyMap<MemberId, Observation>;
  readonly voterIds: readonly MemberId[];
  /** By the monotonic clock, like all times here. */
  readonly nowMs: number;
  /** The wall clock: for what people were told a time of, and for nothing else. */
  readonly nowWallMs: number;
  readonly leadingSinceMs: number;
  /** When this member first saw the present reign. */
  readonly reignSinceMs: number;
  /** When this member first saw that the present reign is being ended; null: it is not. */
  readonly fenceSinceMs: number | null;
  /** When this member first saw the fence before the present reign; null: it did not. */
  readonly lastFenceSinceMs: number | null;
  /** Until then the primary may hold a lease (`lease.ts`). */
  readonly leaseUntilMs: number;
  /** The furthest that the present reign's primary was seen to have written; null: it was not seen. */
  readonly primaryLsn: Lsn | null;
  /** Who led before, as far as this member saw it: its silence counts from its last heartbeat. */
  readonly formerLeaderId: MemberId | null;
  /** What the owner of the primary's host says of a scheduled switchover. Absent or null: nobody was asked. */
  readonly handOver?: HandOver | null;
  /** How long the present step of a planned restart has been taking, as this leader saw it. Absent: none was seen. */
  readonly restartSeen?: RestartSeen;
}

/** Whether a primary may hand over to this member now, as was scheduled. */
export interface HandOverQuestion {
  readonly scheduleId: string;
  readonly primaryId: MemberId;
  readonly targetId: MemberId;
}

export interface HandOver {
  readonly question: HandOverQuestion;
  /** Null: it is being asked. The error says why not. */
  readonly answer: Result<null, string> | null;
}

/**
 * For how long a member has been silent. A new leader counts from when it began to lead, since nobody had reason to
 * speak to it before; except for the leader before it, whose silence it witnessed itself.
 */
export function silentMs(view: ClusterView, id: MemberId): number {
  if (id === view.selfId) return 0;
  const heardAtMs = view.observations.get(id)?.heardAtMs ?? Number.NEGATIVE_INFINITY;
  const countedFromMs = id === view.formerLeaderId ? heardAtMs : Math.max(heardAtMs, view.leadingSinceMs);
  return view.nowMs - countedFromMs;
}

/** Heard recently enough to be relied on. */
export function isHeard(view: ClusterView, id: MemberId): boolean {
  return view.observations.has(id) && silentMs(view, id) < view.state.spec.timing.suspectMs;
}

/** The standby status of a member that is heard, or null. */
export function heardStandby(view: ClusterView, id: MemberId): StandbyStatus | null {
  const postgres = view.observations.get(id)?.status.postgres;
  return isHeard(view, id) && postgres?.kind === "standby" ? postgres : null;
}

/** The address of a member's PostgreSQL, or null if it is no member. */
export function postgresAddress(state: ClusterState, id: MemberId): string | null {
  return memberById(state, id)?.postgresAddress ?? null;
}

/** The members that have a PostgreSQL: all but the witnesses. */
export function dataMembers(state: ClusterState): readonly Member[] {
  return state.members.filter(({ kind }) => kind === "data");
}

/** Those of them that are not being removed. */
export function stayingDataMembers(state: ClusterState): readonly Member[] {
  return dataMembers(state).filter(({ isLeaving }) => !isLeaving);
}
