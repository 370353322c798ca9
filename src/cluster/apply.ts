/**
 * The state machine: what a command does to what is agreed.
 *
 * Total and deterministic: every command on every state has one answer, the same on every member. Whatever does not fit
 * is refused with a reason and changes nothing. Time and chance stand in the command, never here.
 */
import { unreachable } from "../base/assert.ts";
import { EPOCH_ZERO, type Generation, type MemberId, nextEpoch } from "../base/ids.ts";
import { formatPosition } from "../base/lsn.ts";
import type { Change, ClusterEvent, Command, Outcome, RefusalCode } from "./command.ts";
import type { Member } from "./member.ts";
import {
  type ClusterState,
  type Cohort,
  memberById,
  memberName,
  type Operation,
  type OperationKind,
  type Reign,
  rulesOf,
} from "./state.ts";

export interface Applied {
  /** Null only before the first command. */
  readonly state: ClusterState | null;
  readonly outcome: Outcome;
  readonly events: readonly ClusterEvent[];
}

/** Applies one command. A refusal returns `state` itself. */
export function apply(state: ClusterState | null, command: Command): Applied {
  const { change } = command;
  if (change.kind === "form") return state === null ? form(command, change) : refuse(state, "already-formed");
  if (state === null) return refuse(state, "not-formed");
  return applyFormed(state, command, change);
}

const OPERATIONS_MAX = 50;
const OPERATION_LOG_MAX = 100;
const JOIN_TOKENS_MAX = 100;

type ChangeOf<Kind extends Change["kind"]> = Extract<Change, { kind: Kind }>;

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
    case "add-member":
      return addMember(state, command, change);
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
    case "mark-data-ready":
      return markDataReady(state, command, change);
    case "reinitialize-member":
      return reinitializeMember(state, command, change);
    case "begin-switchover":
      return beginSwitchover(state, command, change);
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
  };
  return accept(
    state,
    event(command, "cluster.formed", `${change.member.name} formed the cluster '${change.name}'`, {
      clusterId: change.clusterId,
      member: change.member.name,
    }),
  );
}

function createJoinToken(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"create-join-token">,
): Applied {
  const kept = state.joinTokens
    .filter((token) => token.expiresAtMs > command.atMs)
    .slice(1 - JOIN_TOKENS_MAX);
  const token = {
    id: change.tokenId,
    secretHash: change.secretHash,
    expiresAtMs: change.expiresAtMs,
    usedBy: null,
  };
  return accept(
    { ...state, joinTokens: [...kept, token] },
    event(command, "join-token.created", `a join token was made by ${command.by}`, { token: change.tokenId }),
  );
}

function createToken(state: ClusterState, command: Command, change: ChangeOf<"create-token">): Applied {
  const token = {
    id: change.tokenId,
    secretHash: change.secretHash,
    scope: change.scope,
    createdAtMs: command.atMs,
  };
  return accept(
    { ...state, tokens: [...state.tokens, token] },
    event(command, "token.created", `a token with scope ${change.scope} was made by ${command.by}`, {
      token: change.tokenId,
      scope: change.scope,
    }),
  );
}

function addMember(state: ClusterState, command: Command, change: ChangeOf<"add-member">): Applied {
  const { member } = change;
  const token = state.joinTokens.find(({ id }) => id === change.joinTokenId);
  if (token === undefined) return refuse(state, "join-token-unknown");
  if (token.usedBy !== null) return refuse(state, "join-token-used");
  if (token.expiresAtMs <= command.atMs) return refuse(state, "join-token-expired");
  if (state.members.some(({ name }) => name === member.name)) return refuse(state, "name-taken");
  const members = [...state.members, member].sort((a, b) => (a.name < b.name ? -1 : 1));
  const joinTokens = state.joinTokens.map((each) =>
    each === token ? { ...each, usedBy: member.name } : each,
  );
  return accept(
    { ...state, members, joinTokens },
    event(command, "member.joined", `${member.name} joined the cluster`, {
      member: member.name,
      memberId: member.id,
      kind: member.kind,
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
    { ...state, reign: fenced },
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
    epoch: nextEpoch(change.previousEpoch),
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
    ...endSwitchover(state, command, change.memberId),
    reign,
    failoverCount: state.failoverCount + (previous !== null && !wasPlanned ? 1 : 0),
    switchoverCount: state.switchoverCount + (wasPlanned ? 1 : 0),
  };
  const at = change.position === null ? "the beginning" : formatPosition(change.position);
  return accept(
    appointed,
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
  return accept(
    { ...state, reign: { ...reign, lineage: { timeline: change.timeline, ancestors: change.ancestors } } },
    event(
      command,
      "primary.promoted",
      `${memberName(state, reign.primaryId)} is out of recovery on timeline ${change.timeline}`,
      { epoch: change.epoch, member: memberName(state, reign.primaryId), timeline: change.timeline },
    ),
  );
}

function changeCohort(state: ClusterState, command: Command, change: ChangeOf<"change-cohort">): Applied {
  const { reign } = state;
  if (
    reign === null ||
    reign.epoch !== change.epoch ||
    reign.fence !== null ||
    reign.pendingCohort !== null
  ) {
    return refuse(state, "stale-epoch");
  }
  return accept(
    { ...state, reign: { ...reign, pendingCohort: change.cohort } },
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

function settleCohort(state: ClusterState, command: Command, change: ChangeOf<"settle-cohort">): Applied {
  const { reign } = state;
  if (reign === null || reign.epoch !== change.epoch || reign.fence !== null)
    return refuse(state, "stale-epoch");
  if (!isSameCohort(reign.pendingCohort ?? reign.cohort, change.cohort)) return refuse(state, "stale-epoch");
  return accept(
    { ...state, reign: { ...reign, cohort: change.cohort, pendingCohort: null, inheritedRules: [] } },
    event(command, "cohort.changed", `synchronous standbys are ${cohortText(state, change.cohort)}`, {
      epoch: change.epoch,
      cohort: cohortText(state, change.cohort),
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
  const isPrimary = state.reign.primaryId === member.id;
  if (member.kind !== "data" || isPrimary) return refuse(state, "member-unsuitable");
  const isUnderWay = state.operations.some(
    (operation) => operation.status === "running" && operation.memberId === member.id,
  );
  if (isUnderWay) return refuse(state, "operation-running");
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
  command: Command,
  change: ChangeOf<"begin-switchover">,
): Applied {
  const { reign } = state;
  const target = memberById(state, change.targetId);
  if (reign === null) return refuse(state, "not-initialized");
  if (target === undefined) return refuse(state, "member-unknown");
  if (reign.epoch !== change.epoch || reign.fence !== null) return refuse(state, "stale-epoch");
  if (state.switchover !== null) return refuse(state, "operation-running");
  if (target.id === reign.primaryId || target.kind !== "data") return refuse(state, "member-unsuitable");
  // Only who acknowledges is sure to hold everything; a target on its way out of the cohort would be passed over.
  const rules = reign.pendingCohort === null ? [reign.cohort] : [reign.cohort, reign.pendingCohort];
  if (!rules.every((rule) => rule.standbyIds.includes(target.id))) return refuse(state, "member-unsuitable");
  const switchover = { operationId: change.operationId, epoch: change.epoch, targetId: change.targetId };
  const from = memberName(state, reign.primaryId);
  const begun = beginOperation(state, command, {
    id: change.operationId,
    kind: "switchover",
    memberId: target.id,
    phase: "stopping",
    message: `handing over from ${from} to ${target.name}`,
  });
  return accept(
    { ...begun, switchover },
    event(command, "switchover.begun", `switchover from ${from} to ${target.name}, by ${command.by}`, {
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
  return accept(
    isUndone ? { ...closed, initialization: null } : closed,
    event(command, `operation.${change.status}`, `${operation.kind}: ${change.message}`, {
      operation: change.operationId,
      kind: operation.kind,
    }),
  );
}

interface NewOperation {
  readonly id: string;
  readonly kind: OperationKind;
  readonly memberId: MemberId;
  readonly phase: string;
  readonly message: string;
}

function beginOperation(state: ClusterState, command: Command, begun: NewOperation): ClusterState {
  const operation: Operation = {
    id: begun.id,
    kind: begun.kind,
    memberId: begun.memberId,
    by: command.by,
    startedAtMs: command.atMs,
    finishedAtMs: null,
    status: "running",
    phase: begun.phase,
    log: [{ atMs: command.atMs, message: begun.message }],
  };
  return { ...state, operations: [...state.operations.slice(1 - OPERATIONS_MAX), operation] };
}

function logOperation(
  state: ClusterState,
  command: Command,
  operationId: string,
  phase: string,
  message: string,
): ClusterState {
  const operations = state.operations.map((each) =>
    each.id === operationId
      ? { ...each, phase, log: [...each.log.slice(1 - OPERATION_LOG_MAX), { atMs: command.atMs, message }] }
      : each,
  );
  return { ...state, operations };
}

function closeOperation(
  state: ClusterState,
  command: Command,
  operationId: string,
  status: "succeeded" | "failed",
  message: string,
): ClusterState {
  const logged = logOperation(state, command, operationId, status, message);
  const operations = logged.operations.map((each) =>
    each.id === operationId ? { ...each, status, finishedAtMs: command.atMs } : each,
  );
  return { ...logged, operations };
}

function isRunning(state: ClusterState, operationId: string): boolean {
  return state.operations.some(({ id, status }) => id === operationId && status === "running");
}

function withMember(state: ClusterState, member: Member): ClusterState {
  return { ...state, members: state.members.map((each) => (each.id === member.id ? member : each)) };
}

/** The same standbys, in any order, and the same k. */
export function isSameCohort(a: Cohort, b: Cohort): boolean {
  const isSameSize = a.standbyIds.length === b.standbyIds.length;
  return a.k === b.k && isSameSize && a.standbyIds.every((id) => b.standbyIds.includes(id));
}

/** For people: `any 1 of m2, m3`, or `none`. */
export function cohortText(state: ClusterState, cohort: Cohort): string {
  if (cohort.standbyIds.length === 0) return "none";
  const names = cohort.standbyIds.map((id) => memberName(state, id)).sort();
  return cohort.k === 0 ? `none of ${names.join(", ")}` : `any ${cohort.k} of ${names.join(", ")}`;
}

function event(
  command: Command,
  name: string,
  message: string,
  fields: ClusterEvent["fields"],
): ClusterEvent {
  return { name, atMs: command.atMs, message, fields: { ...fields, by: command.by } };
}

function accept(state: ClusterState, ...events: readonly ClusterEvent[]): Applied {
  return { state, outcome: { ok: true }, events };
}

function refuse(state: ClusterState | null, code: RefusalCode): Applied {
  const { message, hint } = REFUSALS[code];
  return { state, outcome: { ok: false, code, message, hint }, events: [] };
}

const REFUSALS: Readonly<Record<RefusalCode, { readonly message: string; readonly hint: string | null }>> = {
  "already-formed": {
    message: "This control plane was formed before.",
    hint: "To begin anew, use a member with an empty data directory.",
  },
  "not-formed": {
    message: "There is no control plane yet.",
    hint: "Run 'guacamole form' on one member, or 'guacamole join' to join an existing one.",
  },
  "name-taken": {
    message: "Another member has this name.",
    hint: "Choose another `name` in guacamole.toml; a name is unique in the cluster.",
  },
  "join-token-unknown": {
    message: "This join token is not known here.",
    hint: "Make one with 'guacamole member add' on a member of the cluster.",
  },
  "join-token-used": {
    message: "This join token was used before; each admits one member, once.",
    hint: "Make a new one with 'guacamole member add'.",
  },
  "join-token-expired": {
    message: "This join token has expired.",
    hint: "Make a new one with 'guacamole member add'.",
  },
  "already-initialized": {
    message: "PostgreSQL was initialised before; nothing was touched.",
    hint: "See 'guacamole status'. To build one member anew, use 'guacamole member reinit NAME'.",
  },
  "not-initialized": {
    message: "PostgreSQL is not initialised yet.",
    hint: "Run 'guacamole init' first.",
  },
  "member-unknown": {
    message: "There is no member of this name.",
    hint: "See 'guacamole member list'.",
  },
  "member-unsuitable": {
    message:
      "This member cannot take that part: it is the primary already, a witness, or not the one that was named.",
    hint: "See 'guacamole status' for the roles.",
  },
  "stale-epoch": {
    message: "The primary is changing, or has changed meanwhile; nothing was done.",
    hint: "Look at 'guacamole status' and try again.",
  },
  "stale-operation": {
    message: "This operation has ended.",
    hint: null,
  },
  "operation-running": {
    message: "Another operation of this kind is running.",
    hint: "See 'guacamole operation list'.",
  },
};
