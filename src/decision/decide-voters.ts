import type { MemberId } from "../base/ids.ts";
import type { ClusterState } from "../cluster/state.ts";

/**
 * The members that are to be given their vote. Raft takes them one at a time, and each only once it is connected: a voter
 * that is not there would only be missing from the quorum.
 */
export function decideVoters(state: ClusterState, voterIds: readonly MemberId[]): readonly MemberId[] {
  return state.members.map(({ id }) => id).filter((id) => !voterIds.includes(id));
}
