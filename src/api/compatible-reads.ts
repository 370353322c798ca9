import { formatLsn } from "../base/lsn.ts";
import type { Member } from "../cluster/member.ts";
import type { ClusterState } from "../cluster/state.ts";
import { describeScheduled, stateOf } from "./describe.ts";
import { lagOf, type Sight, statusOf } from "./sight.ts";

/** `/patroni`, `/cluster` and `/history` in the shape that existing monitoring reads. Field names are theirs. */

export function describeForMonitoring(
  sight: Sight | null,
  name: string,
  version: string,
): Record<string, unknown> {
  const product = { version, name, ...(sight === null ? {} : { scope: sight.state.name }) };
  const status = sight?.selfStatus ?? null;
  if (sight === null || status === null)
    return { state: "uninitialized", role: "uninitialized", patroni: product };
  const { postgres } = status;
  const common = {
    state: postgres.kind === "primary" || postgres.kind === "standby" ? "running" : postgres.kind,
    role: postgres.kind === "primary" ? "primary" : "replica",
    cluster_unlocked: sight.state.reign === null || sight.state.reign.fence !== null,
    database_system_identifier: sight.state.systemIdentifier,
    tags: compatibleTags(sight.state.members.find(({ id }) => id === sight.selfId)),
    patroni: product,
  };
  if (postgres.kind === "primary") {
    return {
      ...common,
      timeline: postgres.timeline,
      xlog: { location: postgres.writtenLsn },
      replication: postgres.standbys.map((standby) => ({
        application_name: standby.name,
        state: standby.state,
        sync_state: standby.syncState,
      })),
    };
  }
  if (postgres.kind === "standby") {
    return {
      ...common,
      timeline: postgres.timeline,
      xlog: { received_location: postgres.receivedLsn, replayed_location: postgres.replayedLsn },
      ...(postgres.walReceiver === null ? {} : { replication_state: postgres.walReceiver.status }),
    };
  }
  return common;
}

export function describeClusterForMonitoring(sight: Sight | null): Record<string, unknown> {
  if (sight === null) return { members: [], scope: "" };
  const { state } = sight;
  return {
    members: state.members
      .filter(({ kind }) => kind === "data")
      .map((member) => compatibleMember(sight, member)),
    pause: (state.pauses ?? []).length > 0,
    scope: state.name,
    ...compatibleSchedule(state),
  };
}

/** With the zone as a number, and without fractions where there are none. */
function compatibleSchedule(state: ClusterState): Record<string, unknown> {
  const scheduled = describeScheduled(state);
  if (scheduled === null) return {};
  const { at, from, to } = scheduled;
  const when = at.replace(/(\.000)?Z$/, "+00:00");
  return { scheduled_switchover: { at: when, from, ...(to === null ? {} : { to }) } };
}

function compatibleMember(sight: Sight, member: Member): Record<string, unknown> {
  const status = statusOf(sight, member.id);
  const postgres = status?.postgres;
  const lag = lagOf(sight, status);
  const split = member.postgresAddress.lastIndexOf(":");
  const isInCohort = sight.state.reign?.cohort.standbyIds.includes(member.id) ?? false;
  const isPrimary = sight.state.reign?.primaryId === member.id;
  return {
    name: member.name,
    role: isPrimary ? "leader" : isInCohort ? "quorum_standby" : "replica",
    state: stateOf(sight, member, status),
    api_url: `https://${member.apiAddress}/patroni`,
    host: member.postgresAddress.slice(0, split),
    port: Number(member.postgresAddress.slice(split + 1)),
    ...(postgres !== undefined && "timeline" in postgres ? { timeline: postgres.timeline } : {}),
    ...(postgres?.kind === "primary" ? { lsn: formatLsn(postgres.writtenLsn) } : {}),
    ...(isPrimary
      ? {}
      : {
          lag: lag?.replayedBytes ?? "unknown",
          receive_lag: lag?.receivedBytes ?? "unknown",
          replay_lag: lag?.replayedBytes ?? "unknown",
        }),
    tags: compatibleTags(member),
  };
}

function compatibleTags(member: Member | undefined): Record<string, unknown> {
  if (member === undefined) return {};
  return {
    ...(member.tags.isNoFailover ? { nofailover: true } : {}),
    ...(member.tags.isNoSync === true ? { nosync: true } : {}),
    ...(member.tags.isCloneSource === true ? { clonefrom: true } : {}),
    ...(member.tags.zone === undefined ? {} : { zone: member.tags.zone }),
    ...(member.tags.failoverPriority === 0 ? {} : { failover_priority: member.tags.failoverPriority }),
  };
}

/** Each timeline that was left, with where it was left and, where that is known, in which epoch it was written. */
export function describeHistoryForMonitoring(
  sight: Sight | null,
): readonly (readonly [number, number, string])[] {
  const reign = sight?.state.reign ?? null;
  if (reign === null) return [];
  return (reign.lineage?.ancestors ?? []).map(({ timeline, endLsn }) => {
    const epoch = reign.timelines.find((each) => each.timeline === timeline)?.epoch;
    return [timeline, endLsn, epoch === undefined ? "left" : `end of epoch ${epoch}`];
  });
}
