import { stateOf } from "./describe.ts";
import { isUnreachable, lagOf, type Sight, seenPrimary, statusOf, writability } from "./sight.ts";

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

const ROLES = { follower: 0, "pre-candidate": 1, candidate: 2, leader: 3 } as const;

/**
 * Prometheus text (exposition format 0.0.4) of what this member knows. A number that is not known is left out, never
 * shown as 0.
 */
export function renderMetrics(sight: Sight | null, name: string, version: string): string {
  const lines: string[] = [];
  const add = (metric: string, type: "gauge" | "counter", help: string, samples: readonly Sample[]) => {
    if (samples.length === 0) return;
    lines.push(`# HELP ${metric} ${help}`, `# TYPE ${metric} ${type}`);
    for (const [labels, value] of samples) lines.push(`${metric}${renderLabels(labels)} ${value}`);
  };
  add("guacamole_build_info", "gauge", "Version of this member's binary.", [[{ member: name, version }, 1]]);
  add("guacamole_formed", "gauge", "1 if this member belongs to a cluster.", [[{}, Number(sight !== null)]]);
  if (sight === null) return `${lines.join("\n")}\n`;

  const { state, raft } = sight;
  const { reign } = state;
  add("guacamole_raft_term", "gauge", "Raft term of this member.", [[{}, raft.term]]);
  add(
    "guacamole_raft_role",
    "gauge",
    "Raft role of this member: 0 follower, 1 pre-candidate, 2 candidate, 3 leader.",
    [[{}, ROLES[raft.role]]],
  );
  add("guacamole_raft_has_leader", "gauge", "1 if this member knows a Raft leader.", [
    [{}, Number(raft.leaderId !== null)],
  ]);
  add("guacamole_raft_commit_index", "gauge", "Committed log index as this member knows it.", [
    [{}, raft.commitIndex],
  ]);
  add("guacamole_raft_applied_index", "gauge", "Log index that this member has applied.", [
    [{}, sight.appliedIndex],
  ]);
  add("guacamole_raft_last_index", "gauge", "Last index of this member's log.", [[{}, raft.lastIndex]]);
  add("guacamole_raft_voters", "gauge", "Voters in the Raft configuration.", [[{}, raft.voterIds.length]]);
  add("guacamole_cluster_initialized", "gauge", "1 once building the PostgreSQL cluster was ordered.", [
    [{}, Number(state.initialization !== null)],
  ]);
  add(
    "guacamole_cluster_writable",
    "gauge",
    "1 if writes are accepted and acknowledged, as this member sees it.",
    [[{}, Number(writability(sight).isWritable)]],
  );
  add("guacamole_epoch", "gauge", "Epoch of the current reign.", reign === null ? [] : [[{}, reign.epoch]]);
  add(
    "guacamole_fenced",
    "gauge",
    "1 while the current reign is being ended.",
    reign === null ? [] : [[{}, Number(reign.fence !== null)]],
  );
  add(
    "guacamole_cohort_standbys",
    "gauge",
    "Standbys in the cohort.",
    reign === null ? [] : [[{}, reign.cohort.standbyIds.length]],
  );
  add(
    "guacamole_cohort_k",
    "gauge",
    "Standbys that must acknowledge a commit.",
    reign === null ? [] : [[{}, reign.cohort.k]],
  );
  add("guacamole_failovers_total", "counter", "Reigns that ended because the primary was lost.", [
    [{}, state.failoverCount],
  ]);
  add("guacamole_switchovers_total", "counter", "Planned changes of primary.", [[{}, state.switchoverCount]]);
  add("guacamole_operations_running", "gauge", "Operations under way.", [
    [{}, state.operations.filter(({ status }) => status === "running").length],
  ]);

  const members = state.members.map((member) => ({
    member,
    status: statusOf(sight, member.id),
    isSeen: !isUnreachable(sight, member.id),
    labels: { member: member.name },
  }));
  add(
    "guacamole_member_primary",
    "gauge",
    "1 for the member that is appointed primary.",
    members.map(({ member, labels }): Sample => [labels, Number(reign?.primaryId === member.id)]),
  );
  add(
    "guacamole_member_connected",
    "gauge",
    "1 if the member's peer connection stands.",
    members.flatMap(({ member, status, isSeen, labels }): Sample[] =>
      status === null && member.id !== sight.selfId ? [] : [[labels, Number(isSeen)]],
    ),
  );
  add(
    "guacamole_member_state",
    "gauge",
    "1 for the state that is seen of the member.",
    members.map(
      ({ member, status, labels }): Sample => [{ ...labels, state: stateOf(sight, member, status) }, 1],
    ),
  );
  add(
    "guacamole_certificate_end_seconds",
    "gauge",
    "When a certificate ends, in seconds since 1970.",
    members.flatMap(({ status, labels }): Sample[] => {
      const ends = status?.certificates;
      if (ends === undefined) return [];
      return [
        [{ ...labels, certificate: "member" }, Math.floor(ends.memberEndsAtMs / 1000)],
        [{ ...labels, certificate: "api" }, Math.floor(ends.apiEndsAtMs / 1000)],
        [{ ...labels, certificate: "authority" }, Math.floor(ends.authorityEndsAtMs / 1000)],
      ];
    }),
  );
  add(
    "guacamole_member_timeline",
    "gauge",
    "PostgreSQL timeline of the member.",
    members.flatMap(({ status, isSeen, labels }): Sample[] =>
      isSeen && status !== null && "timeline" in status.postgres ? [[labels, status.postgres.timeline]] : [],
    ),
  );
  const lags = members.flatMap(({ status, isSeen, labels }) => {
    const lag = isSeen ? lagOf(sight, status) : null;
    return lag === null ? [] : [{ labels, lag }];
  });
  add(
    "guacamole_standby_receive_lag_bytes",
    "gauge",
    "WAL written by the primary that the standby has not received.",
    lags.map(({ labels, lag }): Sample => [labels, lag.receivedBytes]),
  );
  add(
    "guacamole_standby_replay_lag_bytes",
    "gauge",
    "WAL written by the primary that the standby has not replayed.",
    lags.map(({ labels, lag }): Sample => [labels, lag.replayedBytes]),
  );
  const primary = seenPrimary(sight);
  add(
    "guacamole_primary_written_lsn_bytes",
    "gauge",
    "WAL position flushed by the primary.",
    primary === null ? [] : [[{}, primary.writtenLsn]],
  );
  const works = members.flatMap(({ status, labels }) => {
    const work = status?.work ?? null;
    return work === null ? [] : [{ labels: { ...labels, kind: work.kind }, work }];
  });
  add(
    "guacamole_work_done_bytes",
    "gauge",
    "Progress of long work on a member.",
    works.flatMap(({ labels, work }): Sample[] =>
      work.doneBytes === null ? [] : [[labels, work.doneBytes]],
    ),
  );
  add(
    "guacamole_work_total_bytes",
    "gauge",
    "Size of long work on a member.",
    works.flatMap(({ labels, work }): Sample[] =>
      work.totalBytes === null ? [] : [[labels, work.totalBytes]],
    ),
  );
  return `${lines.join("\n")}\n`;
}

function renderLabels(labels: Labels): string {
  const parts = Object.entries(labels).map(
    ([key, value]) => `${key}="${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`,
  );
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}
