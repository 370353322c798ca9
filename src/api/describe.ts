import { unreachable } from "../base/assert.ts";
import type { MemberId } from "../base/ids.ts";
import { formatPosition } from "../base/lsn.ts";
import { expiresAtMs } from "../cluster/break-glass.ts";
import type { StoredEvent } from "../cluster/consensus.ts";
import { loginName, previousState } from "../cluster/login-pair.ts";
import type { Member, MemberTags } from "../cluster/member.ts";
import { type HookResult, type MemberStatus, positionOf } from "../cluster/observation.ts";
import {
  type ClusterState,
  type Cohort,
  featureLevelOf,
  memberName,
  type Operation,
} from "../cluster/state.ts";
import { describeAuthorityChange } from "./describe-authority.ts";
import type {
  ClusterDocument,
  ConsensusDocument,
  EventDocument,
  HooksDocument,
  MemberDocument,
  OperationDocument,
  ScheduledSwitchoverDocument,
} from "./documents.ts";
import type { ApiPorts } from "./ports.ts";
import { isReigning, isUnreachable, lagOf, type Sight, statusOf, writability } from "./sight.ts";

/** What people and programs are shown, as pure functions of a `Sight`. */

export function toInstant(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

export function describeCluster(
  sight: Sight,
  { name: answeredBy, reasonOf, clock }: Pick<ApiPorts, "name" | "reasonOf" | "clock">,
  consistency: "local" | "linearizable",
): ClusterDocument {
  const { state, raft } = sight;
  const { reign, switchover } = state;
  const { isWritable, reason } = writability(sight);
  return {
    clusterId: state.clusterId,
    name: state.name,
    generation: state.generation,
    isInitialized: state.initialization !== null,
    systemIdentifier: state.systemIdentifier,
    isWritable,
    writableReason: reason,
    reign:
      reign === null
        ? null
        : {
            epoch: reign.epoch,
            primary: memberName(state, reign.primaryId),
            since: toInstant(reign.appointedAtWallMs),
            reason: reign.reason,
            timeline: reign.lineage?.timeline ?? null,
            cohort: describeCohort(sight, reign.cohort),
            pendingCohort: reign.pendingCohort === null ? null : describeCohort(sight, reign.pendingCohort),
            fence:
              reign.fence === null
                ? null
                : { reason: reign.fence.reason, since: toInstant(reign.fence.fencedAtWallMs) },
          },
    durability: { ...state.spec.durability },
    raft: {
      leader: raft.leaderId === null ? null : memberName(state, raft.leaderId),
      role: raft.role,
      term: raft.term,
      commitIndex: raft.commitIndex,
      voters: raft.voterIds.map((id) => memberName(state, id)),
      learners: raft.config.learners.map((id) => memberName(state, id)),
    },
    decision: describeDecision(sight, reasonOf),
    members: state.members.map((member) => describeMember(sight, member)),
    switchover:
      switchover === null
        ? null
        : {
            operationId: switchover.operationId,
            to: memberName(state, switchover.targetId),
            phase: reign?.fence == null ? "stop" : "appoint",
          },
    scheduledSwitchover: describeScheduled(state),
    pauses: (state.pauses ?? []).map(({ reason }) => reason),
    warnings: describeWarnings(sight, toInstant(clock.wallMs())),
    runningOperations: state.operations.filter(({ status }) => status === "running").map(({ id }) => id),
    failoverCount: state.failoverCount,
    switchoverCount: state.switchoverCount,
    freshness: { consistency, index: sight.appliedIndex, answeredBy },
  };
}

/** What the primary says of itself that its owner may not have meant, and what must not be forgotten. */
function describeWarnings(sight: Sight, now: string): ClusterDocument["warnings"] {
  return [
    ...describeUnguarded(sight),
    ...describeDeclared(sight),
    ...describeOverlaps(sight.state, now),
    ...describeBreakGlass(sight.state),
    ...describeCertificateProblems(sight),
    ...describeSyslogProblems(sight),
    ...describeAuthorityChange(sight),
  ];
}

function describeBreakGlass({ breakGlass = [], tokens }: ClusterState): ClusterDocument["warnings"] {
  return breakGlass
    .filter(({ ended }) => ended === null)
    .map((grant) => {
      const who = tokens.find(({ id }) => id === grant.by)?.name ?? grant.by;
      const what = `for ${who} from ${grant.address}`;
      const until = expiresAtMs(grant);
      return until === null
        ? {
            code: "break-glass-waiting",
            text: `Break-glass access ${what} waits for an approval: ${grant.reason}`,
            hint: `'guacamole break-glass approve ${grant.id}', by somebody else.`,
          }
        : {
            code: "break-glass-open",
            text: `Break-glass access is open ${what} until ${toInstant(until)}: ${grant.reason}`,
            hint: `'guacamole break-glass revoke ${grant.id}' ends it.`,
          };
    });
}

function describeUnguarded(sight: Sight): ClusterDocument["warnings"] {
  const { reign, spec } = sight.state;
  const postgres = reign === null ? undefined : statusOf(sight, reign.primaryId)?.postgres;
  const unguarded = postgres?.kind === "primary" ? (postgres.unguarded ?? []) : [];
  if (unguarded.length === 0 || spec.durability.mode === "async") return [];
  return [
    {
      code: "commits-unguarded",
      text: `Commits of ${unguarded.join(", ")} wait for no standby: a setting there lowers synchronous_commit. A failover may lose them.`,
      hint: "ALTER ROLE or ALTER DATABASE … RESET synchronous_commit; sessions keep what they have until they connect anew.",
    },
  ];
}

function describeDeclared(sight: Sight): ClusterDocument["warnings"] {
  const { reign } = sight.state;
  const declared = reign === null ? undefined : statusOf(sight, reign.primaryId)?.declared;
  const { impossible = 0, drift = 0 } = declared ?? {};
  if (impossible + drift === 0) return [];
  return [
    {
      code: "declared-otherwise",
      text: `Declared roles or databases are not so on the primary: ${impossible} things cannot be, ${drift} were changed by hand.`,
      hint: "'guacamole role list' and 'guacamole database list' say which, and why.",
    },
  ];
}

const OVERLAPS_TOLD = 5;

function describeOverlaps({ spec }: ClusterState, now: string): ClusterDocument["warnings"] {
  const told = Object.entries(spec.declared?.roles ?? {}).flatMap(([role, { logins, isAbsent }]) => {
    if (logins === undefined || isAbsent === true || previousState(logins, now) === "ended") return [];
    const { newest, previous } = logins;
    return [
      `the one before of ${role} (login ${loginName(role, previous.login)}) until ${previous.until}, then ${loginName(role, newest)} only`,
    ];
  });
  if (told.length === 0) return [];
  const more = told.length > OVERLAPS_TOLD ? `; and ${told.length - OVERLAPS_TOLD} more` : "";
  return [
    {
      code: "passwords-overlap",
      text: `Two passwords are good: ${told.slice(0, OVERLAPS_TOLD).join("; ")}${more}.`,
      hint: "'guacamole role overlap' ends it early, or gives it more time.",
    },
  ];
}

/** Null: no switchover is scheduled. */
export function describeScheduled(state: ClusterState): ScheduledSwitchoverDocument | null {
  const scheduled = state.scheduledSwitchover;
  if (scheduled == null) return null;
  const { id, primaryId, targetId, dueAtMs, by, atMs } = scheduled;
  return {
    id,
    at: toInstant(dueAtMs),
    from: memberName(state, primaryId),
    to: targetId === null ? null : memberName(state, targetId),
    by,
    askedAt: toInstant(atMs),
  };
}

function leadingOf(sight: Sight): MemberStatus["leading"] {
  const { leaderId } = sight.raft;
  return leaderId === null ? null : (statusOf(sight, leaderId)?.leading ?? null);
}

/** The leader's reason, as it says it of itself, and what can be done about it. */
function describeDecision(sight: Sight, reasonOf: ApiPorts["reasonOf"]): ClusterDocument["decision"] {
  const { leaderId } = sight.raft;
  const leading = leadingOf(sight);
  if (leaderId === null || leading === null) return null;
  const wayOut = reasonOf(leading.reason)?.wayOut ?? null;
  return { by: memberName(sight.state, leaderId), ...leading, wayOut };
}

export function describeCohort(sight: Sight, cohort: Cohort): { standbys: string[]; k: number } {
  return { standbys: cohort.standbyIds.map((id) => memberName(sight.state, id)), k: cohort.k };
}

export function roleOf(sight: Sight, member: Member): MemberDocument["role"] {
  if (member.kind === "witness") return "witness";
  if (sight.state.reign?.primaryId === member.id) return "primary";
  return sight.state.initialization === null ? "none" : "standby";
}

export function describeMember(sight: Sight, member: Member): MemberDocument {
  const status = statusOf(sight, member.id);
  const observation = sight.observations.get(member.id);
  const isSelf = member.id === sight.selfId;
  const postgres = status?.postgres;
  const hasTimeline =
    postgres?.kind === "primary" || postgres?.kind === "standby" || postgres?.kind === "stopped";
  const position = postgres === undefined ? null : positionOf(postgres);
  const lag = isUnreachable(sight, member.id) ? null : lagOf(sight, status);
  return {
    id: member.id,
    name: member.name,
    kind: member.kind,
    role: roleOf(sight, member),
    state: stateOf(sight, member, status),
    timeline: hasTimeline ? postgres.timeline : null,
    position: position === null ? null : formatPosition(position),
    lagBytes: lag?.receivedBytes ?? null,
    replayLagBytes: lag?.replayedBytes ?? null,
    upstream: postgres?.kind === "standby" ? (postgres.walReceiver?.upstream ?? null) : null,
    reason: status?.reason ?? null,
    detail: status?.detail ?? null,
    isLeader: sight.raft.leaderId === member.id,
    isVoter: sight.raft.voterIds.includes(member.id),
    ...describeVote(sight, member),
    isConnected: isSelf ? true : (observation?.isConnected ?? null),
    isInCohort: sight.state.reign?.cohort.standbyIds.includes(member.id) ?? false,
    seenAgoMs: isSelf
      ? 0
      : observation === undefined
        ? null
        : Math.max(0, Math.round(sight.nowMs - observation.statusAtMs)),
    pledgedEpoch: status?.promises.pledgedEpoch ?? null,
    apiAddress: member.apiAddress,
    peerAddress: member.peerAddress,
    postgresAddress: member.postgresAddress,
    tags: describeTags(member.tags),
    data: member.data,
    hooks: describeHooks(status),
    work: status?.work ?? null,
    pendingRestart: [...(status?.pendingRestart ?? [])],
    certificates: describeCertificates(status),
    syslog: status?.syslog === undefined ? null : { ...status.syslog },
    version: status?.version ?? null,
  };
}

function describeCertificates(status: MemberStatus | null): MemberDocument["certificates"] {
  const certificates = status?.certificates;
  if (certificates === undefined) return null;
  return {
    memberEndsAt: toInstant(certificates.memberEndsAtMs),
    apiEndsAt: toInstant(certificates.apiEndsAtMs),
    authorityEndsAt: toInstant(certificates.authorityEndsAtMs),
    problems: [...certificates.problems],
    issuer: certificates.issuer ?? null,
    trusted: [...(certificates.trusted ?? [])],
  };
}

function describeCertificateProblems(sight: Sight): ClusterDocument["warnings"] {
  return sight.state.members.flatMap(({ id, name }) =>
    (statusOf(sight, id)?.certificates?.problems ?? []).map((problem) => ({
      code: "certificate",
      text: `${name}: ${problem}`,
      hint: `'guacamole member list' says when certificates end; the log of ${name} says what was tried.`,
    })),
  );
}

/** The trail is kept all the same: who reads it there has to know that something is missing. */
function describeSyslogProblems(sight: Sight): ClusterDocument["warnings"] {
  return sight.state.members.flatMap(({ id, name }) => {
    const syslog = statusOf(sight, id)?.syslog;
    if (syslog === undefined) return [];
    const { target, problem, lost } = syslog;
    return [
      ...(problem === null
        ? []
        : [{ text: `${name}: the audit trail is not sent to ${target}: ${problem}`, hint: SYSLOG_HINT }]),
      ...(lost === 0
        ? []
        : [
            {
              text: `${name}: up to ${lost} entries of the audit trail never got to ${target}`,
              hint: LOST_HINT,
            },
          ]),
    ].map((warning) => ({ code: "audit-syslog", ...warning }));
  });
}

const SYSLOG_HINT = "It goes on by itself once the daemon is there; nothing else waits for it.";
const LOST_HINT =
  "'guacamole audit' has the changes of all members, each member's log its refusals (audit.refused).";

function describeHooks(status: MemberStatus | null): MemberDocument["hooks"] {
  const hooks = status?.hooks;
  if (hooks === undefined) return null;
  const { guardsSwitchover, last } = hooks;
  return { guardsSwitchover, last: last === null ? null : describeHookResult(last) };
}

function describeHookResult({ hook, isOk, attempts = 1, detail, atMs }: HookResult) {
  return { hook, isOk, attempts, detail, at: toInstant(atMs) };
}

/** What each host's owner has run, in the order of a change of the primary. Of members that say nothing, nothing. */
export function describeAllHooks(sight: Sight): HooksDocument {
  return sight.state.members.flatMap(({ id, name }) => {
    const { named = [], results = [] } = statusOf(sight, id)?.hooks ?? {};
    return named.map((each) => {
      const last = results.find(({ hook }) => hook === each.hook);
      return { member: name, ...each, last: last === undefined ? null : describeHookResult(last) };
    });
  });
}

/** With what nobody said filled in. */
export function describeTags({ failoverPriority, isNoFailover, isNoSync, isCloneSource, zone }: MemberTags) {
  return {
    failoverPriority,
    isNoFailover,
    isNoSync: isNoSync ?? false,
    isCloneSource: isCloneSource ?? false,
    zone: zone ?? null,
  };
}

type Vote = Pick<MemberDocument, "vote" | "voting" | "isLeaving" | "isCaughtUp" | "matchLag">;

/** A member's place in the group that agrees. How far it has caught up, only the leader knows. */
function describeVote({ raft, selfId }: Sight, { id, voting, isLeaving }: Member): Vote {
  const isLearner = [...raft.config.learners, ...raft.config.learnersNext].includes(id);
  const isLeaderHere = raft.role === "leader" && id === selfId;
  const follower = raft.followers.find((each) => each.id === id);
  return {
    vote: raft.voterIds.includes(id) ? "voter" : isLearner ? "learner" : "none",
    voting: voting ?? "auto",
    isLeaving: isLeaving ?? false,
    isCaughtUp: isLeaderHere ? true : (follower?.isCaughtUp ?? null),
    matchLag: isLeaderHere
      ? 0
      : follower === undefined
        ? null
        : Math.max(0, raft.lastIndex - follower.matchIndex),
  };
}

export function describeConsensus(
  sight: Sight,
  answeredBy: string,
  consistency: "local" | "linearizable",
): ConsensusDocument {
  const { raft, state, appliedIndex } = sight;
  const names = (ids: readonly MemberId[]) => ids.map((id) => memberName(state, id)).sort();
  const { voters, outgoing, learners, learnersNext } = raft.config;
  return {
    leader: raft.leaderId === null ? null : memberName(state, raft.leaderId),
    role: raft.role,
    term: raft.term,
    commitIndex: raft.commitIndex,
    appliedIndex,
    lastIndex: raft.lastIndex,
    floorIndex: raft.floorIndex,
    group: {
      voters: names(voters),
      outgoing: names(outgoing),
      learners: names(learners),
      learnersNext: names(learnersNext),
    },
    isChanging: raft.isConfigPending || outgoing.length > 0,
    refusal: raft.configRefusal,
    reason: leadingOf(sight)?.voters?.text ?? null,
    followers: raft.followers.map(({ id, matchIndex, isActive, isCaughtUp }) => ({
      name: memberName(state, id),
      matchIndex,
      lag: Math.max(0, raft.lastIndex - matchIndex),
      isActive,
      isCaughtUp,
    })),
    featureLevel: featureLevelOf(state),
    stateHash: raft.stateHash === null ? null : { ...raft.stateHash },
    removed: (state.removed ?? []).map(({ id, name, atMs }) => ({ id, name, at: toInstant(atMs) })),
    freshness: { consistency, index: appliedIndex, answeredBy },
  };
}

const WORK_STATES = {
  initdb: "initializing",
  clone: "cloning",
  rewind: "rewinding",
  start: "starting",
  stop: "stopping",
} as const;

/** One word for what is seen of a member. */
export function stateOf(sight: Sight, member: Member, status: MemberStatus | null): string {
  if (status === null) return "unknown";
  if (isUnreachable(sight, member.id)) return "unreachable";
  if (status.work !== null) return WORK_STATES[status.work.kind];
  const { postgres } = status;
  const { reign } = sight.state;
  const isAppointed = reign?.primaryId === member.id;
  switch (postgres.kind) {
    case "unknown":
      return "unknown";
    case "witness":
      return "voting";
    case "absent":
      return "empty";
    case "foreign":
      return "foreign-data";
    case "stopped":
      return "stopped";
    case "starting":
      return "starting";
    case "unresponsive":
      return "unresponsive";
    case "standby":
      if (isAppointed && reign?.fence === null) return "promoting";
      return postgres.walReceiver?.status ?? "not-streaming";
    case "primary":
      if (!isAppointed) return "superseded";
      return isReigning(reign, status) ? "running" : "fenced";
    default:
      return unreachable(postgres);
  }
}

export function describeOperation(sight: Sight, operation: Operation): OperationDocument {
  const isRunning = operation.status === "running";
  return {
    id: operation.id,
    kind: operation.kind,
    member: memberName(sight.state, operation.memberId),
    status: operation.status,
    phase: operation.phase,
    by: operation.by,
    startedAt: toInstant(operation.startedAtMs),
    finishedAt: operation.finishedAtMs === null ? null : toInstant(operation.finishedAtMs),
    log: operation.log.map(({ atMs, message }) => ({ at: toInstant(atMs), message })),
    ...describeRestart(sight, operation),
    work: !isRunning
      ? []
      : sight.state.members.flatMap((member) => {
          const work = statusOf(sight, member.id)?.work ?? null;
          return work === null ? [] : [{ member: member.name, work }];
        }),
  };
}

function describeRestart(sight: Sight, { id }: Operation): Pick<OperationDocument, "restart"> {
  const { restart } = sight.state;
  if (restart?.operationId !== id) return {};
  const { strategy, isPaused = false, step, targets } = restart;
  return {
    restart: {
      strategy,
      isPaused,
      members: targets.map(({ memberId, instance, restarts }) => {
        const runs = statusOf(sight, memberId)?.instance;
        const isDone = restarts > 0 || (runs !== undefined && runs !== instance);
        const state = step?.memberId === memberId ? "restarting" : isDone ? "restarted" : "waiting";
        return { member: memberName(sight.state, memberId), state };
      }),
    },
  };
}

export function describeEvent(event: StoredEvent): EventDocument {
  return {
    id: event.id,
    name: event.name,
    at: toInstant(event.atMs),
    message: event.message,
    fields: { ...event.fields },
  };
}
