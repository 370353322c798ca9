/** Builders for decisions' tests: a whole small cluster in a line or two. No assertions here. */
import type { ClusterId, Epoch, Generation, MemberId, TimelineId } from "../../src/base/ids.ts";
import type { Lsn } from "../../src/base/lsn.ts";
import type { Member } from "../../src/cluster/member.ts";
import { DEFAULT_TAGS } from "../../src/cluster/member.ts";
import type {
  MemberStatus,
  Observation,
  PostgresStatus,
  PrimaryStatus,
  Promises,
  StandbyStatus,
} from "../../src/cluster/observation.ts";
import { DEFAULT_SPEC } from "../../src/cluster/spec.ts";
import type { ClusterState, Cohort, Reign } from "../../src/cluster/state.ts";
import { renderSynchronousStandbyNames } from "../../src/cluster/synchronous-standby-names.ts";
import type { ClusterView } from "../../src/decision/cluster-view.ts";

export const SYSTEM = "7000000000000000001";
export const NOW_MS = 100_000;

export function id(name: string): MemberId {
  return `00000000-0000-4000-8000-${name.slice(1).padStart(12, "0")}` as MemberId;
}
export const epoch = (value: number): Epoch => value as Epoch;
export const timeline = (value: number): TimelineId => value as TimelineId;
export const lsn = (value: number): Lsn => value as Lsn;

export function member(name: string, extra: Partial<Member> = {}): Member {
  return {
    id: id(name),
    name,
    kind: "data",
    apiAddress: `${name}:8008`,
    peerAddress: `${name}:8009`,
    postgresAddress: `${name}:5432`,
    tags: DEFAULT_TAGS,
    data: "ready",
    ...extra,
  };
}

export function cohort(k: number, ...names: readonly string[]): Cohort {
  return { k, standbyIds: names.map(id) };
}

export function reign(extra: Partial<Reign> = {}): Reign {
  return {
    epoch: epoch(1),
    primaryId: id("m1"),
    appointedAt: { timeline: timeline(1), lsn: lsn(50) },
    appointedAtWallMs: 0,
    reason: "first-primary",
    cohort: cohort(1, "m2", "m3"),
    pendingCohort: null,
    inheritedRules: [],
    timelines: [{ timeline: timeline(1), epoch: epoch(0) }],
    lineage: { timeline: timeline(2), ancestors: [{ timeline: timeline(1), endLsn: lsn(50) }] },
    fence: null,
    ...extra,
  };
}

/** Three data members, m1 reigns over m2 and m3, everything initialised. */
export function clusterState(extra: Partial<ClusterState> = {}): ClusterState {
  return {
    clusterId: "00000000-0000-4000-8000-00000000c1c1" as ClusterId,
    name: "test",
    generation: 1 as Generation,
    spec: DEFAULT_SPEC,
    authority: { certificatePem: "", privateKeyPem: "" },
    members: [member("m1"), member("m2"), member("m3")],
    tokens: [],
    joinTokens: [],
    initialization: {
      memberId: id("m1"),
      operationId: "op",
      options: { encoding: "UTF8", locale: "C.UTF-8" },
    },
    systemIdentifier: SYSTEM,
    reign: reign(),
    switchover: null,
    operations: [],
    failoverCount: 0,
    switchoverCount: 0,
    ...extra,
  };
}

export function standby(extra: Partial<StandbyStatus> = {}): StandbyStatus {
  return {
    kind: "standby",
    systemIdentifier: SYSTEM,
    timeline: timeline(2),
    receivedLsn: lsn(100),
    replayedLsn: lsn(100),
    walReceiver: { upstream: "m1:5432", status: "streaming" },
    ...extra,
  };
}

/** A standby that receives nothing any more. */
export function pledgedStandby(receivedLsn = 100, extra: Partial<StandbyStatus> = {}): StandbyStatus {
  return standby({
    walReceiver: null,
    receivedLsn: lsn(receivedLsn),
    replayedLsn: lsn(receivedLsn),
    ...extra,
  });
}

/** A primary with these standbys streaming and the rule of `k` of them in effect. */
export function primary(
  k: number,
  streaming: readonly string[],
  extra: Partial<PrimaryStatus> = {},
): PrimaryStatus {
  return {
    kind: "primary",
    systemIdentifier: SYSTEM,
    timeline: timeline(2),
    writtenLsn: lsn(100),
    ancestors: [{ timeline: timeline(1), endLsn: lsn(50) }],
    checkpointTimeline: timeline(2),
    synchronous: { names: renderSynchronousStandbyNames(k, streaming), sinceLsn: lsn(90) },
    standbys: streaming.map((name) => ({
      name,
      state: "streaming",
      flushedLsn: lsn(100),
      replayedLsn: lsn(100),
      syncState: k === 0 ? "async" : "quorum",
    })),
    isProvisioned: true,
    ...extra,
  };
}

export interface Seen {
  readonly postgres: PostgresStatus;
  readonly promises?: Partial<Promises>;
  /** Milliseconds since it was heard. Default 10. */
  readonly silentMs?: number;
  readonly isConnected?: boolean;
  readonly isRebuilt?: boolean;
  /** What else its status says. */
  readonly more?: Partial<MemberStatus>;
}

export function promises(extra: Partial<Promises> = {}): Promises {
  return {
    newestEpoch: epoch(1),
    pledgedEpoch: epoch(0),
    walEpoch: epoch(1),
    timelines: [{ timeline: timeline(1), epoch: epoch(0) }],
    ...extra,
  };
}

export function status(name: string, seen: Seen): MemberStatus {
  return {
    memberId: id(name),
    bootId: `boot-${name}`,
    sequence: 1,
    postgres: seen.postgres,
    promises: promises(seen.promises),
    isRebuilt: seen.isRebuilt ?? false,
    work: null,
    reason: "",
    detail: null,
    leading: null,
    version: "test",
    ...seen.more,
  };
}

export function observation(name: string, seen: Seen): Observation {
  const heardAtMs = NOW_MS - (seen.silentMs ?? 10);
  return {
    status: status(name, seen),
    statusAtMs: heardAtMs,
    heardAtMs,
    isConnected: seen.isConnected ?? true,
  };
}

/** What the leader m2 sees. Members that are not named were never heard. */
export function clusterView(
  state: ClusterState,
  seen: Readonly<Record<string, Seen>>,
  extra: Partial<ClusterView> = {},
): ClusterView {
  return {
    state,
    selfId: id("m2"),
    observations: new Map(Object.entries(seen).map(([name, each]) => [id(name), observation(name, each)])),
    voterIds: state.members.map((each) => each.id),
    nowMs: NOW_MS,
    nowWallMs: NOW_MS,
    leadingSinceMs: NOW_MS - 60_000,
    reignSinceMs: NOW_MS - 60_000,
    fenceSinceMs: null,
    lastFenceSinceMs: null,
    leaseUntilMs: 0,
    primaryLsn: null,
    formerLeaderId: null,
    ...extra,
  };
}
