/**
 * The state machine: what a command does to what is agreed.
 *
 * Total and deterministic: every command on every state has one answer, the same on every member. Whatever does not fit
 * is refused with a reason and changes nothing. Time and chance stand in the command, never here.
 *
 * The same on every *release* that may be in one cluster: whatever is written here, words included, changes only together
 * with the feature level (`roadmap/0003-consensus.md`).
 */
import { assert, unreachable } from "../base/assert.ts";
import { EPOCH_ZERO, type Generation, type MemberId } from "../base/ids.ts";
import { formatPosition } from "../base/lsn.ts";
import { type Applied, accept, type ChangeOf, event, refuse, withMember } from "./applied.ts";
import { advanceAuthority, replaceAuthority, steerAuthority } from "./apply-authority.ts";
import {
  approveBreakGlass,
  endBreakGlass,
  extendBreakGlass,
  requestBreakGlass,
} from "./apply-break-glass.ts";
import { declare, noteDeclared } from "./apply-declared.ts";
import { noteHook } from "./apply-hooks.ts";
import { noteLocalAccess } from "./apply-local-access.ts";
import { addMember, createJoinToken, setMemberTags, setMemberVoting } from "./apply-members.ts";
import { acceptLoss, changeSpec, pause, resume } from "./apply-policy.ts";
import { forgetMember, removeMember, stayAfterAll } from "./apply-removal.ts";
import { beginRestartStep, endRestartStep, planRestart, steerRestart } from "./apply-restart.ts";
import { noteRoleCertificate } from "./apply-role-certificates.ts";
import { cancelSwitchover, scheduleSwitchover } from "./apply-schedule.ts";
import { createToken, noteTokenUse, revokeToken } from "./apply-tokens.ts";
import { audited } from "./audit.ts";
import type { Change, Command } from "./command.ts";
import { beginFailover, recordOf, tellAppointment, tellPhase } from "./failover-history.ts";
import { FEATURE_LEVEL, isUnderstoodByAll } from "./feature-level.ts";
import { beginOperation, closeOperation, isBusy, isRunning, logOperation } from "./operations.ts";
import { followingEpoch, recoverGroup } from "./recover-group.ts";
import { versioned } from "./spec-history.ts";
import {
  type ClusterState,
  type Cohort,
  featureLevelOf,
  memberById,
  memberName,
  newestCohort,
  type Reign,
  rulesOf,
} from "./state.ts";

export type { Applied } from "./applied.ts";

/** Applies one command. A refusal returns `state` itself. What somebody asked for leaves an entry in the audit trail. */
export function apply(state: ClusterState | null, command: Command): Applied {
  return audited(state, command, versioned(state, command, applyUnaudited(state, command)));
}

function applyUnaudited(state: ClusterState | null, command: Command): Applied {
  const { change } = command;
  if (change.kind === "form") return state === null ? form(command, change) : refuse(state, "already-formed");
  if (state === null) return refuse(state, "not-formed");
  return applyFormed(state, command, change);
}

function applyFormed(
  state: ClusterState,
  command: Command,
  change: Exclude<Change, { kind: "form" }>,
): Applied {
  switch (change.kind) {
    case "create-join-token":
      return createJoinToken(state, command, change);
    case "create-token":
      return createToken(state, command, change);
    case "revoke-token":
      return revokeToken(state, command, change);
    case "note-token-use":
      return noteTokenUse(state, command, change);
    case "add-member":
      return addMember(state, command, change);
    case "set-member-voting":
      return setMemberVoting(state, command, change);
    case "set-member-tags":
      return setMemberTags(state, command, change);
    case "remove-member":
      return removeMember(state, command, change);
    case "forget-member":
      return forgetMember(state, command, change);
    case "raise-feature-level":
      return raiseFeatureLevel(state, command, change);
    case "recover-group":
      return recoverGroup(state, command, change);
    case "initialize":
      return initialize(state, command, change);
    case "record-system":
      return recordSystem(state, command, change);
    case "fence":
      return fence(state, command, change);
    case "appoint":
      return appoint(state, command, change);
    case "record-lineage":
      return recordLineage(state, command, change);
    case "change-cohort":
      return changeCohort(state, command, change);
    case "settle-cohort":
      return settleCohort(state, command, change);
    case "record-phase":
      return recordPhase(state, command, change);
    case "change-spec":
      return changeSpec(state, command, change);
    case "declare":
      return declare(state, command, change);
    case "note-declared":
      return noteDeclared(state, command, change);
    case "pause":
      return pause(state, command, change);
    case "resume":
      return resume(state, command, change);
    case "accept-loss":
      return acceptLoss(state, command, change);
    case "mark-data-ready":
      return markDataReady(state, command, change);
    case "reinitialize-member":
      return reinitializeMember(state, command, change);
    case "begin-switchover":
      return beginSwitchover(state, command, change);
    case "schedule-switchover":
      return scheduleSwitchover(state, command, change);
    case "cancel-switchover":
      return cancelSwitchover(state, command, change);
    case "note-hook":
      return noteHook(state, command, change);
    case "request-break-glass":
      return requestBreakGlass(state, command, change);
    case "approve-break-glass":
      return approveBreakGlass(state, command, change);
    case "extend-break-glass":
      return extendBreakGlass(state, command, change);
    case "note-local-access":
      return noteLocalAccess(state, command, change);
    case "end-break-glass":
      return endBreakGlass(state, command, change);
    case "note-role-certificate":
      return noteRoleCertificate(state, command, change);
    case "plan-restart":
      return planRestart(state, command, change);
    case "begin-restart-step":
      return beginRestartStep(state, command, change);
    case "end-restart-step":
      return endRestartStep(state, command, change);
    case "steer-restart":
      return steerRestart(state, command, change);
    case "replace-authority":
      return replaceAuthority(state, command, change);
    case "advance-authority":
      return advanceAuthority(state, command, change);
    case "steer-authority":
      return steerAuthority(state, command, change);
    case "abort-switchover":
      return abortSwitchover(state, command, change);
    case "progress-operation":
      return progressOperation(state, command, change);
    case "finish-operation":
      return finishOperation(state, command, change);
    default:
      return unreachable(change);
  }
}

function form(command: Command, change: ChangeOf<"form">): Applied {
  const state: ClusterState = {
    clusterId: change.clusterId,
    name: change.name,
    generation: 1 as Generation,
    spec: change.spec,
    authority: change.authority,
    members: [change.member],
    tokens: [change.token],
    joinTokens: [],
    initialization: null,
    systemIdentifier: null,
    reign: null,
    switchover: null,
    operations: [],
    failoverCount: 0,
    switchoverCount: 0,
    ...(change.featureLevel === undefined ? {} : { featureLevel: change.featureLevel }),
  };
  return accept(
    state,
    event(command, "cluster.formed", `${change.member.name} formed the cluster '${change.name}'`, {
      clusterId: change.clusterId,
      member: change.member.name,
    }),
  );
}

function initialize(state: ClusterState, command: Command, change: ChangeOf<"initialize">): Applied {
  if (state.initialization !== null) return refuse(state, "already-initialized");
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  if (member.kind !== "data") return refuse(state, "member-unsuitable");
  const initialization = {
    memberId: change.memberId,
    operationId: change.operationId,
    options: change.options,
  };
  const begun = beginOperation(state, command, {
    id: change.operationId,
    kind: "initialize",
    memberId: change.memberId,
    phase: "initdb",
    message: `building a new PostgreSQL cluster, first on ${member.name}`,
  });
  return accept(
    { ...begun, initialization },
    event(command, "postgres.initialize", `PostgreSQL is being initialised on ${member.name}`, {
      member: member.name,
      operation: change.operationId,
    }),
  );
}

function recordSystem(state: ClusterState, command: Command, change: ChangeOf<"record-system">): Applied {
  if (state.initialization?.memberId !== change.memberId) return refuse(state, "member-unsuitable");
  if (state.systemIdentifier !== null) return refuse(state, "already-initialized");
  return accept(
    { ...state, systemIdentifier: change.systemIdentifier },
    event(command, "postgres.initialized", `initdb is done on ${memberName(state, change.memberId)}`, {
      systemIdentifier: change.systemIdentifier,
    }),
  );
}

function fence(state: ClusterState, command: Command, change: ChangeOf<"fence">): Applied {
  const reign = state.reign;
  if (reign === null || reign.epoch !== change.epoch || reign.fence !== null)
    return refuse(state, "stale-epoch");
  const fenced: Reign = {
    ...reign,
    fence: { reason: change.reason, preferredId: change.preferredId, fencedAtWallMs: command.atMs },
  };
  return accept(
    { ...beginFailover(state, command, reign, change), reign: fenced },
    event(
      command,
      "primary.fenced",
      `epoch ${change.epoch} of ${memberName(state, reign.primaryId)} is being ended: ${change.reason}`,
      { epoch: change.epoch, member: memberName(state, reign.primaryId), reason: change.reason },
    ),
  );
}

function appoint(state: ClusterState, command: Command, change: ChangeOf<"appoint">): Applied {
  const previous = state.reign;
  if ((previous?.epoch ?? EPOCH_ZERO) !== change.previousEpoch) return refuse(state, "stale-epoch");
  if (previous !== null && previous.fence === null) return refuse(state, "stale-epoch");
  if (previous === null && state.initialization?.memberId !== change.memberId) {
    return refuse(state, "member-unsuitable");
  }
  if (state.systemIdentifier === null) return refuse(state, "not-initialized");
  const member = memberById(state, change.memberId);
  if (member === undefined || member.kind !== "data") return refuse(state, "member-unsuitable");

  const reign: Reign = {
    epoch: followingEpoch(state, change.previousEpoch),
    primaryId: change.memberId,
    appointedAt: change.position,
    appointedAtWallMs: command.atMs,
    reason: change.reason,
    cohort: change.cohort,
    pendingCohort: null,
    inheritedRules: previous === null ? [] : rulesOf(previous),
    timelines: change.timelines,
    lineage: null,
    fence: null,
  };
  const wasPlanned = state.switchover !== null && previous?.fence?.preferredId === change.memberId;
  const appointed: ClusterState = {
    ...stayAfterAll(endSwitchover(state, command, change.memberId), command, change.memberId),
    reign,
    failoverCount: state.failoverCount + (previous !== null && !wasPlanned ? 1 : 0),
    switchoverCount: state.switchoverCount + (wasPlanned ? 1 : 0),
    ...(state.acceptedLoss == null ? {} : { acceptedLoss: null }),
  };
  const at = change.position === null ? "the beginning" : formatPosition(change.position);
  return accept(
    tellAppointment(appointed, command, change),
    event(
      command,
      "primary.appointed",
      `${member.name} is appointed primary of epoch ${reign.epoch} at ${at}`,
      {
        epoch: reign.epoch,
        member: member.name,
        reason: change.reason,
        passedOver: change.passedOver
          .map(({ memberId, reason }) => `${memberName(state, memberId)}: ${reason}`)
          .join("; "),
        cohort: cohortText(state, change.cohort),
      },
    ),
  );
}

/** From the appointment on a switchover is only an operation that waits for the new primary to take writes. */
function endSwitchover(state: ClusterState, command: Command, appointedId: MemberId): ClusterState {
  const { switchover } = state;
  if (switchover === null) return state;
  const ended = { ...state, switchover: null };
  const name = memberName(state, appointedId);
  return appointedId === switchover.targetId
    ? logOperation(ended, command, switchover.operationId, "promoting", `${name} is appointed`)
    : closeOperation(
        ended,
        command,
        switchover.operationId,
        "failed",
        `${name} is appointed instead: the target was behind, or had not pledged in time`,
      );
}

function recordLineage(state: ClusterState, command: Command, change: ChangeOf<"record-lineage">): Applied {
  const { reign } = state;
  if (reign === null || reign.epoch !== change.epoch || reign.fence !== null || reign.lineage !== null) {
    return refuse(state, "stale-epoch");
  }
  const { epoch, sinceFenceMs = null } = change;
  const told = tellPhase(state, command, { epoch, phase: "promoted", sinceFenceMs });
  return accept(
    { ...told, reign: { ...reign, lineage: { timeline: change.timeline, ancestors: change.ancestors } } },
    event(
      command,
      "primary.promoted",
      `${memberName(state, reign.primaryId)} is out of recovery on timeline ${change.timeline}`,
      { epoch: change.epoch, member: memberName(state, reign.primaryId), timeline: change.timeline },
    ),
  );
}

function recordPhase(state: ClusterState, command: Command, change: ChangeOf<"record-phase">): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  if (state.reign?.epoch !== change.epoch || recordOf(state, change.epoch) === undefined)
    return refuse(state, "stale-epoch");
  return accept(tellPhase(state, command, change));
}

function changeCohort(state: ClusterState, command: Command, change: ChangeOf<"change-cohort">): Applied {
  const { reign } = state;
  if (
    reign === null ||
    reign.epoch !== change.epoch ||
    reign.fence !== null ||
    (reign.pendingCohort !== null && featureLevelOf(state) < 2)
  ) {
    return refuse(state, "stale-epoch");
  }
  // One that was announced and not reached may have been used all the same: until the next is settled, it counts.
  const { pendingCohort } = reign;
  const inheritedRules =
    pendingCohort === null ? reign.inheritedRules : [...reign.inheritedRules, pendingCohort];
  return accept(
    {
      ...state,
      reign: { ...reign, pendingCohort: change.cohort, inheritedRules, ...nextNumber(state, reign) },
    },
    event(
      command,
      "cohort.changing",
      `synchronous standbys are becoming ${cohortText(state, change.cohort)}`,
      {
        epoch: change.epoch,
        cohort: cohortText(state, change.cohort),
      },
    ),
  );
}

function nextNumber(state: ClusterState, reign: Reign): Pick<Reign, "cohortNumber"> {
  return featureLevelOf(state) < 4 ? {} : { cohortNumber: newestCohort(reign).number + 1 };
}

function settleCohort(state: ClusterState, command: Command, change: ChangeOf<"settle-cohort">): Applied {
  const { reign } = state;
  if (reign === null || reign.epoch !== change.epoch || reign.fence !== null)
    return refuse(state, "stale-epoch");
  if (!isSameCohort(reign.pendingCohort ?? reign.cohort, change.cohort)) return refuse(state, "stale-epoch");
  // Another one that asks for the same may have been announced since: what was seen was not seen of it.
  if (change.number !== undefined && change.number !== newestCohort(reign).number)
    return refuse(state, "stale-epoch");
  return accept(
    { ...state, reign: { ...reign, cohort: change.cohort, pendingCohort: null, inheritedRules: [] } },
    event(command, "cohort.changed", `synchronous standbys are ${cohortText(state, change.cohort)}`, {
      epoch: change.epoch,
      cohort: cohortText(state, change.cohort),
    }),
  );
}

function raiseFeatureLevel(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"raise-feature-level">,
): Applied {
  // A binary that was put back to an older one must stop here instead of misunderstanding what comes next.
  assert(
    change.level <= FEATURE_LEVEL,
    `the log is of feature level ${change.level}; this binary understands up to ${FEATURE_LEVEL} (upgrade it)`,
  );
  if (change.level <= featureLevelOf(state)) return refuse(state, "feature-level-reached");
  return accept(
    { ...state, featureLevel: change.level },
    event(command, "cluster.feature-level", `every member understands feature level ${change.level}`, {
      level: change.level,
    }),
  );
}

function markDataReady(state: ClusterState, command: Command, change: ChangeOf<"mark-data-ready">): Applied {
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  return accept(
    withMember(state, { ...member, data: "ready" }),
    event(command, "member.data-ready", `${member.name} holds the cluster's data`, { member: member.name }),
  );
}

function reinitializeMember(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"reinitialize-member">,
): Applied {
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  if (state.reign === null) return refuse(state, "not-initialized");
  if (member.isLeaving) return refuse(state, "member-leaving");
  const isPrimary = state.reign.primaryId === member.id;
  if (member.kind !== "data" || isPrimary) return refuse(state, "member-unsuitable");
  if (isBusy(state, member.id)) return refuse(state, "operation-running");
  const begun = beginOperation(state, command, {
    id: change.operationId,
    kind: "reinitialize",
    memberId: member.id,
    phase: "cloning",
    message: `building ${member.name} anew from the primary`,
  });
  return accept(
    withMember(begun, { ...member, data: "replace" }),
    event(command, "member.reinitialize", `${member.name} is being built anew, by ${command.by}`, {
      member: member.name,
      operation: change.operationId,
    }),
  );
}

function beginSwitchover(
  state: ClusterState,
  proposed: Command,
  change: ChangeOf<"begin-switchover">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { reign } = state;
  const scheduled = change.scheduleId === undefined ? null : (state.scheduledSwitchover ?? null);
  // Whoever leads may propose it: the schedule ends with the first.
  if (change.scheduleId !== undefined && scheduled?.id !== change.scheduleId)
    return refuse(state, "not-scheduled");
  const command = scheduled === null ? proposed : { ...proposed, by: scheduled.by };
  const target = memberById(state, change.targetId);
  if (reign === null) return refuse(state, "not-initialized");
  if (target === undefined) return refuse(state, "member-unknown");
  if (reign.epoch !== change.epoch || reign.fence !== null) return refuse(state, "stale-epoch");
  if (state.switchover !== null || state.restart?.step != null) return refuse(state, "operation-running");
  // A primary whose promotion is not recorded yet would be waited for as one that is still being promoted.
  if (reign.lineage === null && featureLevelOf(state) >= 3) return refuse(state, "stale-epoch");
  if (target.id === reign.primaryId || target.kind !== "data") return refuse(state, "member-unsuitable");
  if (target.isLeaving) return refuse(state, "member-leaving");
  // Only who acknowledges is sure to hold everything; a target on its way out of the cohort would be passed over.
  const rules = reign.pendingCohort === null ? [reign.cohort] : [reign.cohort, reign.pendingCohort];
  // Under a lease nobody acknowledges: the primary ends first, and whoever has its last checkpoint has everything.
  const mayFollow = rules.every((rule) => rule.isLeased === true || rule.standbyIds.includes(target.id));
  if (!mayFollow) return refuse(state, "member-unsuitable");
  const switchover = { operationId: change.operationId, epoch: change.epoch, targetId: change.targetId };
  const from = memberName(state, reign.primaryId);
  const begun = beginOperation(state, command, {
    id: change.operationId,
    kind: "switchover",
    memberId: target.id,
    ...(featureLevelOf(state) < 4 ? {} : { handsOver: { primaryId: reign.primaryId, epoch: reign.epoch } }),
    phase: "stopping",
    message: `handing over from ${from} to ${target.name}`,
  });
  const how = scheduled === null ? "by" : "as scheduled by";
  return accept(
    { ...begun, switchover, ...(scheduled === null ? {} : { scheduledSwitchover: null }) },
    event(command, "switchover.begun", `switchover from ${from} to ${target.name}, ${how} ${command.by}`, {
      from,
      to: target.name,
      operation: change.operationId,
    }),
  );
}

function abortSwitchover(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"abort-switchover">,
): Applied {
  if (state.switchover?.operationId !== change.operationId) return refuse(state, "stale-operation");
  const closed = closeOperation(state, command, change.operationId, "failed", change.reason);
  return accept(
    { ...closed, switchover: null },
    event(command, "switchover.aborted", `the switchover was given up: ${change.reason}`, {
      operation: change.operationId,
      reason: change.reason,
    }),
  );
}

function progressOperation(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"progress-operation">,
): Applied {
  if (!isRunning(state, change.operationId)) return refuse(state, "stale-operation");
  return accept(logOperation(state, command, change.operationId, change.phase, change.message));
}

function finishOperation(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"finish-operation">,
): Applied {
  const operation = state.operations.find(({ id }) => id === change.operationId);
  if (operation?.status !== "running") return refuse(state, "stale-operation");
  const closed = closeOperation(state, command, change.operationId, change.status, change.message);
  // An initialisation that came to nothing may be begun again; one that made a PostgreSQL may not (F7).
  const isUndone =
    operation.kind === "initialize" && change.status === "failed" && state.systemIdentifier === null;
  const ended = closed.restart?.operationId === change.operationId ? { ...closed, restart: null } : closed;
  return accept(
    isUndone ? { ...ended, initialization: null } : ended,
    event(command, `operation.${change.status}`, `${operation.kind}: ${change.message}`, {
      operation: change.operationId,
      kind: operation.kind,
    }),
  );
}

/** The same standbys, in any order, and the same k. */
export function isSameCohort(a: Cohort, b: Cohort): boolean {
  const isSameSize = a.standbyIds.length === b.standbyIds.length;
  return (
    a.k === b.k &&
    (a.isLeased ?? false) === (b.isLeased ?? false) &&
    isSameSize &&
    a.standbyIds.every((id) => b.standbyIds.includes(id))
  );
}

/** For people: `any 1 of m2, m3`, or `none`. */
export function cohortText(state: ClusterState, cohort: Cohort): string {
  if (cohort.isLeased === true) return "none, under a lease";
  if (cohort.standbyIds.length === 0) return cohort.k === 0 ? "none" : `any ${cohort.k} of nobody yet`;
  const names = cohort.standbyIds.map((id) => memberName(state, id)).sort();
  return cohort.k === 0 ? `none of ${names.join(", ")}` : `any ${cohort.k} of ${names.join(", ")}`;
}
