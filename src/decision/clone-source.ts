import type { MemberId } from "../base/ids.ts";
import type { Observation } from "../cluster/observation.ts";
import type { ClusterState, Reign } from "../cluster/state.ts";

/**
 * From whom a member is cloned: a standby that carries the tag, follows this very reign on its own timeline and is at nothing
 * else; of several, the one that has least to replay. Where there is none, the primary.
 */
export function cloneSource(
  state: ClusterState,
  reign: Reign,
  selfId: MemberId,
  observations: ReadonlyMap<MemberId, Observation>,
): MemberId {
  const tagged = state.members.filter(({ id, tags, isLeaving }) => {
    return tags.isCloneSource === true && isLeaving !== true && id !== selfId && id !== reign.primaryId;
  });
  const able = tagged.flatMap(({ id }) => {
    const observation = observations.get(id);
    const leftBytes = observation === undefined ? null : replayLeftBytes(observation, reign);
    return leftBytes === null ? [] : [{ id, leftBytes }];
  });
  const [best] = able.sort((a, b) => a.leftBytes - b.leftBytes || (a.id < b.id ? -1 : 1));
  return best?.id ?? reign.primaryId;
}

/** Null where it is no source: nobody is cloned from a standby that may itself have to be rewound. */
function replayLeftBytes({ status, isConnected }: Observation, reign: Reign): number | null {
  const { postgres, promises, work } = status;
  if (!isConnected || work !== null || postgres.kind !== "standby") return null;
  const follows =
    promises.walEpoch === reign.epoch &&
    promises.pledgedEpoch < reign.epoch &&
    postgres.timeline === reign.lineage?.timeline &&
    postgres.walReceiver?.status === "streaming";
  return follows ? postgres.receivedLsn - postgres.replayedLsn : null;
}
