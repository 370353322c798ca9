/** What a recovery keeps, drops and leaves to be done, in sentences for whoever has to decide. Pure. */
import type { MemberId } from "../base/ids.ts";
import type { NewGroupPlan } from "../cli/recover-ports.ts";
import { type ClusterState, memberName } from "../cluster/state.ts";
import type { EntryId } from "../raft/engine/message.ts";

export interface Recovery {
  readonly before: ClusterState;
  readonly after: ClusterState;
  readonly memberId: MemberId;
  /** The newest entry of the old group. */
  readonly last: EntryId;
  /** So many entries at the end were not known to be committed. */
  readonly adoptedCount: number;
}

export function planOf({ before, after, memberId, last, adoptedCount }: Recovery): NewGroupPlan {
  const name = memberName(before, memberId);
  const lost = before.members.filter(({ id }) => id !== memberId).map((each) => each.name);
  const adopted =
    adoptedCount === 0
      ? ""
      : `, of which ${name} did not know the last ${adoptedCount} to be agreed: they may have been, so they count`;
  return {
    memberName: name,
    clusterName: before.name,
    clusterId: before.clusterId,
    kept: [
      `what was agreed up to entry ${last.index} of term ${last.term}${adopted}`,
      "the certificate authority, the API tokens, the settings",
      postgresOf(after, memberId, name),
    ],
    dropped: [
      ...lost.map((each) => `${each} is a member no more, and its id never takes part again`),
      "the cluster's id: a new one is made, and nobody of the old cluster is spoken to any more",
      "join tokens and operations that were under way",
    ],
    elsewhere: lost.flatMap((each) => {
      const isPrimary = before.reign !== null && memberName(before, before.reign.primaryId) === each;
      const stop = `${each}: never start guacamole there on what it has; empty its data-dir and let it join anew`;
      return isPrimary
        ? [`${each} was primary: make sure that its PostgreSQL is stopped and stays so`, stop]
        : [stop];
    }),
  };
}

function postgresOf({ reign }: ClusterState, memberId: MemberId, name: string): string {
  if (reign === null) return "PostgreSQL has no primary yet";
  if (reign.isAbandoned) {
    return `PostgreSQL of ${name} as it is, a standby: nothing is promoted by itself, since another member was primary, or a successor was being chosen. To promote it, losing what it has not received: --make-primary`;
  }
  return reign.primaryId === memberId && reign.fence === null
    ? `PostgreSQL of ${name} as primary of epoch ${reign.epoch}; commits wait for nobody else any more`
    : `PostgreSQL of ${name}, which becomes primary with what it has received; commits that others alone have are lost`;
}
