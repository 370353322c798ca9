/** The changes of the primary that are over, as hosts' owners want to hear of them: of each, what it was and what came of it. */
import type { Epoch } from "../base/ids.ts";
import { hasPhase } from "../cluster/failover-history.ts";
import { type ClusterState, type FailoverRecord, memberName, type Operation } from "../cluster/state.ts";

export interface PrimaryChange {
  /** Names it for ever. */
  readonly key: string;
  readonly hook: "after-switchover" | "after-failover";
  readonly from: string;
  /** Who was to follow, or did. */
  readonly to: string;
  /** Who is primary after it: `from` where nothing came of it. */
  readonly primary: string;
  /** The reign that followed, or that goes on. */
  readonly epoch: Epoch;
  readonly result: "succeeded" | "failed";
  /** A reason, or a sentence. */
  readonly detail: string;
  /** When it was over, by the leader's wall clock. */
  readonly atMs: number;
}

/** Those that are still remembered, switchovers first, each in its order. A switchover that came to nothing is one too. */
export function primaryChanges(state: ClusterState): readonly PrimaryChange[] {
  const switchovers = state.operations.flatMap((operation) => overSwitchover(state, operation));
  return [...switchovers, ...(state.failovers ?? []).flatMap(overFailover)];
}

function overSwitchover(state: ClusterState, operation: Operation): readonly PrimaryChange[] {
  const { id, status, handsOver, finishedAtMs, memberId, log } = operation;
  if (handsOver === undefined || status === "running" || finishedAtMs === null) return [];
  const record = state.failovers?.find(
    ({ epoch, kind }) => epoch === handsOver.epoch && kind === "switchover",
  );
  const from = memberName(state, handsOver.primaryId);
  return [
    {
      key: `switchover ${id}`,
      hook: "after-switchover",
      from,
      to: memberName(state, memberId),
      primary: record?.to ?? from,
      epoch: record?.nextEpoch ?? handsOver.epoch,
      result: status,
      detail: log.at(-1)?.message ?? "",
      atMs: finishedAtMs,
    },
  ];
}

/** Over once its primary takes writes; one that fell before that is followed by another. */
function overFailover(record: FailoverRecord): readonly PrimaryChange[] {
  const { number, kind, from, to, nextEpoch, reason, atMs, phases, loss } = record;
  if (kind === "switchover" || to === null || nextEpoch === null || !hasPhase(record, "writable")) return [];
  const afterMs = phases.find(({ phase }) => phase === "writable")?.afterMs ?? 0;
  return [
    {
      key: `failover ${number}`,
      hook: "after-failover",
      from,
      to,
      primary: to,
      epoch: nextEpoch,
      result: "succeeded",
      detail: loss === null ? reason : `${reason}; ${loss}`,
      atMs: atMs + afterMs,
    },
  ];
}
