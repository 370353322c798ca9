import type { MemberStatus } from "../cluster/observation.ts";
import type { ClusterState } from "../cluster/state.ts";

/** What a member's PostgreSQL is to clients, in the words that callbacks of other managers use. */
export type ServedRole = "primary" | "replica";

/** The role that is certain by now; null where one is being left or not reached yet: then nothing is told. */
export function servedRole({ reign }: ClusterState, status: MemberStatus): ServedRole | null {
  const { memberId, postgres, promises } = status;
  if (reign === null || reign.fence !== null) return null;
  if (reign.primaryId === memberId) {
    const reigns = promises.walEpoch === reign.epoch && promises.pledgedEpoch < reign.epoch;
    return postgres.kind === "primary" && reigns ? "primary" : null;
  }
  const isStreaming = postgres.kind === "standby" && postgres.walReceiver?.status === "streaming";
  return isStreaming ? "replica" : null;
}
