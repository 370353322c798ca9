/** Whom this member stays connected with. */
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { PeerAddress } from "../peer/transport.ts";
import type { StoreIdentity } from "../store/identity.ts";

export function peersOf(
  { memberId, promotableFrom, peers: known }: StoreIdentity,
  state: ClusterState | null,
  appliedIndex: LogIndex,
): readonly PeerAddress[] {
  const peers = new Map<MemberId, PeerAddress>();
  // While a joiner replays the past, the state may name members that have moved or gone, and not yet its leader.
  if (appliedIndex <= promotableFrom) for (const peer of known) peers.set(peer.id, peer);
  for (const { id, peerAddress } of state?.members ?? []) peers.set(id, { id, address: peerAddress });
  peers.delete(memberId);
  return [...peers.values()];
}
