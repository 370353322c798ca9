import type { MemberId } from "../base/ids.ts";
import type { RaftStatus } from "../cluster/consensus.ts";
import type { MemberStatus, Observation, PrimaryStatus } from "../cluster/observation.ts";
import type { ClusterState, Reign } from "../cluster/state.ts";
import { memberById } from "../cluster/state.ts";
import { isWritable, streamingOf } from "../cluster/writable.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, notReadyProblem } from "./problem.ts";

/** What is agreed and what is seen at one moment: every read of the API is a pure function of this. */
export interface Sight {
  readonly selfId: MemberId;
  readonly selfStatus: MemberStatus | null;
  readonly state: ClusterState;
  readonly raft: RaftStatus;
  readonly appliedIndex: number;
  readonly observations: ReadonlyMap<MemberId, Observation>;
  readonly nowMs: number;
}

/** Null before this member formed or joined. */
export function tryLook(ports: ApiPorts): Sight | null {
  const consensus = ports.consensus();
  const selfId = ports.memberId();
  if (consensus === null || selfId === null) return null;
  return {
    selfId,
    selfStatus: ports.localStatus(),
    state: consensus.state,
    raft: consensus.raft,
    appliedIndex: consensus.appliedIndex,
    observations: consensus.observations,
    nowMs: ports.clock.nowMs(),
  };
}

/** @throws {ApiProblem} 409 `not-formed`; 503 `starting` for a member whose control plane does not stand yet. */
export function look(ports: ApiPorts): Sight {
  const sight = tryLook(ports);
  if (sight === null) throw notReadyProblem(ports.memberId() !== null);
  return sight;
}

/** @throws {ApiProblem} 409 `not-initialized`, with what there is no primary for. */
export function requireReign({ state: { reign } }: Sight, purpose: string): Reign {
  if (reign !== null) return reign;
  throw new ApiProblem({
    status: 409,
    code: "not-initialized",
    detail: `There is no primary ${purpose}: PostgreSQL is not initialized.`,
    hint: "'guacamole init' builds the PostgreSQL cluster.",
  });
}

/** The newest that is known of a member: of this one, from itself. */
export function statusOf(sight: Sight, id: MemberId): MemberStatus | null {
  if (id === sight.selfId && sight.selfStatus !== null) return sight.selfStatus;
  return sight.observations.get(id)?.status ?? null;
}

/** Whether what is known of a member may be over: it cannot be asked, or could not, and has said nothing since. */
export function isUnreachable(sight: Sight, id: MemberId): boolean {
  if (id === sight.selfId) return false;
  const observation = sight.observations.get(id);
  return observation !== undefined && (!observation.isConnected || observation.isPast === true);
}

/** True while `status` is of the member that is appointed, and it has not promised to be over. */
export function isReigning(reign: Reign | null, status: MemberStatus): reign is Reign {
  return (
    reign !== null &&
    reign.primaryId === status.memberId &&
    reign.fence === null &&
    status.promises.pledgedEpoch < reign.epoch &&
    status.promises.newestEpoch <= reign.epoch
  );
}

/** The appointed primary as it is seen now, or null where it is not seen out of recovery. */
export function seenPrimary(sight: Sight): PrimaryStatus | null {
  const { reign } = sight.state;
  if (reign === null || isUnreachable(sight, reign.primaryId)) return null;
  const status = statusOf(sight, reign.primaryId);
  return status?.postgres.kind === "primary" ? status.postgres : null;
}

/** Whether the cluster takes and acknowledges writes now, and why (not). */
export function writability(sight: Sight): { readonly isWritable: boolean; readonly reason: string } {
  const no = (reason: string) => ({ isWritable: false, reason });
  const { state } = sight;
  const { reign } = state;
  if (state.initialization === null)
    return no("not initialized: 'guacamole init' builds the PostgreSQL cluster");
  if (reign === null) return no("being initialized: no primary has been appointed yet");
  const name = memberById(state, reign.primaryId)?.name ?? reign.primaryId;
  if (reign.fence !== null) return no(`epoch ${reign.epoch} is being ended: ${reign.fence.reason}`);
  const status = statusOf(sight, reign.primaryId);
  if (status === null) return no(`nothing has been heard of the primary ${name}`);
  if (isUnreachable(sight, reign.primaryId)) return no(`the primary ${name} cannot be reached`);
  if (status.postgres.kind !== "primary")
    return no(`${name} is appointed, and its PostgreSQL is not out of recovery yet`);
  if (!isReigning(reign, status)) return no(`${name} has promised to be no primary any more`);
  const streaming = streamingOf(state, reign.cohort, status.postgres).length;
  if (!isWritable(state, reign.primaryId, status.postgres)) {
    return no(
      `${streaming} of the ${reign.cohort.k} standbys that must acknowledge a commit stream from ${name}`,
    );
  }
  return { isWritable: true, reason: `${name} takes writes, and ${streaming} standbys of its cohort stream` };
}

/** What a standby lacks of the primary's WAL, in bytes; null where one of the two is not known. */
export function lagOf(
  sight: Sight,
  status: MemberStatus | null,
): { readonly receivedBytes: number; readonly replayedBytes: number } | null {
  const primary = seenPrimary(sight);
  if (primary === null || status === null || status.postgres.kind !== "standby") return null;
  return {
    receivedBytes: Math.max(0, primary.writtenLsn - status.postgres.receivedLsn),
    replayedBytes: Math.max(0, primary.writtenLsn - status.postgres.replayedLsn),
  };
}
