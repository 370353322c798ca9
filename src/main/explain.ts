/** The API's questions about decisions, answered by the decisions themselves on what this member sees. */
import type { ApiPorts } from "../api/ports.ts";
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { longestLeaseMs } from "../cluster/state.ts";
import type { ClusterView } from "../decision/cluster-view.ts";
import { explainLoss } from "../decision/explain.ts";
import { REASONS, type Reason } from "../decision/reasons.ts";
import { WAYS_OUT } from "../decision/ways-out.ts";

/** What would happen, as this member sees the cluster: what only a leader keeps is taken at its most careful. */
export function explain(
  consensus: Pick<Consensus, "state" | "raft" | "observations">,
  selfId: MemberId,
  clock: Clock,
  lost: ReadonlySet<MemberId>,
): ReturnType<typeof explainLoss> {
  const { state, raft, observations } = consensus;
  const nowMs = clock.nowMs();
  const primary = state.reign === null ? undefined : observations.get(state.reign.primaryId)?.status.postgres;
  const view: ClusterView = {
    state,
    selfId,
    observations,
    voterIds: raft.voterIds,
    nowMs,
    nowWallMs: clock.wallMs(),
    // What was heard counts from when it was heard, whoever leads.
    leadingSinceMs: Number.NEGATIVE_INFINITY,
    reignSinceMs: Number.NEGATIVE_INFINITY,
    fenceSinceMs: null,
    lastFenceSinceMs: null,
    leaseUntilMs: nowMs + longestLeaseMs(state),
    primaryLsn: primary?.kind === "primary" ? primary.writtenLsn : null,
    formerLeaderId: null,
  };
  return explainLoss(view, lost, raft.leaderId);
}

/** The words for a reason, where it is one of ours. */
export const reasonOf: ApiPorts["reasonOf"] = (reason) => {
  if (!Object.hasOwn(REASONS, reason)) return null;
  return { text: REASONS[reason as Reason], wayOut: WAYS_OUT[reason as Reason] ?? null };
};
