/**
 * The leader's side: what should happen next in the cluster. Pure: the view is the whole world, and `nowMs` in it the
 * only time.
 *
 * Order is priority: a reign that is being ended comes first, then the primary's health, then growth and bookkeeping.
 */
import { unreachable } from "../base/assert.ts";
import { EPOCH_ZERO } from "../base/ids.ts";
import { hasPhase, recordOf } from "../cluster/failover-history.ts";
import type { Member } from "../cluster/member.ts";
import { type PrimaryStatus, positionOf } from "../cluster/observation.ts";
import { inPlaceStep } from "../cluster/restart.ts";
import { isLeased, synchronousStandbysOf } from "../cluster/spec.ts";
import {
  type ClusterState,
  type FailoverPhase,
  featureLevelOf,
  memberName,
  type Operation,
  type Reign,
  type Switchover,
  standbyNameOf,
} from "../cluster/state.ts";
import { isWritable } from "../cluster/writable.ts";
import { chooseSuccessor } from "./choose-successor.ts";
import { type ClusterDecision, hold, propose } from "./cluster-decision.ts";
import { type ClusterView, dataMembers, heardStandby, isHeard, stayingDataMembers } from "./cluster-view.ts";
import { crashLoop } from "./crash-loop.ts";
import { decideAuthority } from "./decide-authority.ts";
import { decideEnd } from "./decide-break-glass.ts";
import { decideCohort } from "./decide-cohort.ts";
import { awaitInPlace, awaitStreams, decideRestart, giveUpInPlace } from "./decide-restart.ts";
import { decideSchedule } from "./decide-schedule.ts";
import { judgePrimary, type Lost, PROMOTION_MS_MAX } from "./suspicion.ts";

export function decideCluster(view: ClusterView): ClusterDecision {
  const urgent = decideUrgent(view);
  if (urgent.kind === "propose") return urgent;
  return (
    decideSchedule(view, urgent) ??
    decideBreakGlassEnd(view) ??
    decideRestart(view, urgent) ??
    decideAuthority(view, urgent) ??
    urgent
  );
}

/** For the record: each member has ended it by then, or does. */
function decideBreakGlassEnd({ state, observations, nowWallMs }: ClusterView): ClusterDecision | null {
  const primary = state.reign === null ? undefined : observations.get(state.reign.primaryId);
  const change = decideEnd(state.breakGlass ?? [], primary?.status.breakGlass, nowWallMs);
  return change === null ? null : propose(change, "break-glass-over");
}

function decideUrgent(view: ClusterView): ClusterDecision {
  const { reign, initialization } = view.state;
  if (reign?.isAbandoned) return hold("reign-abandoned", memberName(view.state, reign.primaryId));
  if (reign?.fence) return decideSuccession(view, reign);
  const failover = reign === null ? null : decideEndOfReign(view, reign);
  if (failover !== null) return reign === null ? failover : besides(view, reign, failover);
  if (initialization === null) return hold("not-initialized");
  if (reign === null) return decideFirstReign(view, initialization.memberId);
  return decideReign(view, reign);
}

/**
 * A primary in some trouble that is heard and serves: what else is due goes on meanwhile (a standby that joins the cohort is
 * what such a primary may be waiting for).
 */
function besides(view: ClusterView, reign: Reign, failover: ClusterDecision): ClusterDecision {
  const isServing =
    isHeard(view, reign.primaryId) &&
    view.observations.get(reign.primaryId)?.status.postgres.kind === "primary";
  if (failover.kind !== "hold" || !isServing || view.state.switchover !== null) return failover;
  const due = decideReign(view, reign);
  return due.kind === "propose" ? due : failover;
}

/** A fenced reign: appoint its successor as soon as its commits are safe and found. */
function decideSuccession(view: ClusterView, reign: Reign): ClusterDecision {
  const succession = chooseSuccessor(view, reign);
  const nameOf = (id: Member["id"]) => memberName(view.state, id);
  switch (succession.kind) {
    case "waiting":
      return hold("waiting-for-pledges", `missing: ${succession.missing.map(nameOf).join(", ")}`);
    case "lease":
      return hold("waiting-for-lease-end", nameOf(reign.primaryId), succession.untilMs);
    case "patience":
      return hold(succession.reason, nameOf(reign.primaryId), succession.untilMs);
    case "blocked":
      return hold("most-advanced-not-eligible", nameOf(succession.byId));
    case "too-far-behind":
      return hold(
        "successor-too-far-behind",
        `${nameOf(succession.offer.memberId)} lacks ${succession.lacksBytes} bytes`,
      );
    case "chosen":
      return propose(
        {
          kind: "appoint",
          memberId: succession.memberId,
          previousEpoch: reign.epoch,
          cohort: succession.cohort,
          position: { timeline: succession.position.timeline, lsn: succession.position.lsn },
          timelines: succession.timelines,
          reason: reign.fence?.reason ?? "most-advanced-appointed",
          passedOver: succession.passedOver,
          ...tellAppointment(view, reign, succession.loss),
        },
        "most-advanced-appointed",
      );
    default:
      return unreachable(succession);
  }
}

/** For the history, where every member can read it. */
function tellAppointment(view: ClusterView, reign: Reign, loss: string | null) {
  if (featureLevelOf(view.state) < 3) return {};
  const positions = dataMembers(view.state).map(({ id, name }) => {
    const status = view.observations.get(id)?.status;
    return {
      member: name,
      position: status === undefined ? null : positionOf(status.postgres),
      hasPledged: status !== undefined && status.promises.pledgedEpoch >= reign.epoch,
    };
  });
  const sinceFenceMs = since(view, view.fenceSinceMs);
  return { positions, sinceFenceMs, ...(loss === null ? {} : { loss }) };
}

/** Whole milliseconds since a moment that this leader saw itself; null: it did not. */
function since(view: ClusterView, fromMs: number | null): number | null {
  return fromMs === null ? null : Math.max(0, Math.round(view.nowMs - fromMs));
}

/** Whether the present reign must end: a switchover whose primary has stopped, or a primary that is lost. */
function decideEndOfReign(view: ClusterView, reign: Reign): ClusterDecision | null {
  const { switchover } = view.state;
  if (switchover !== null) return decideSwitchover(view, reign, switchover);
  const judgement = judgePrimary(view, reign);
  if (judgement.kind === "healthy") return null;
  if (judgement.kind === "suspect") return hold(judgement.reason, judgement.detail, judgement.atMs);
  return decideInPlace(view, judgement) ?? whyNotNow(view) ?? fence(view, reign, judgement);
}

/** The primary is away as planned: it is awaited for a while, and then given up as planned work, so that it can be fenced. */
function decideInPlace(view: ClusterView, { reason }: Lost): ClusterDecision | null {
  const step = inPlaceStep(view.state);
  if (step === null || view.state.restart == null) return null;
  const awaited = reason === "postmaster-died" ? awaitInPlace(view, step) : null;
  const status = view.observations.get(step.memberId)?.status;
  return awaited ?? giveUpInPlace(view.state.restart, memberName(view.state, step.memberId), status);
}

function fence(view: ClusterView, { epoch }: Reign, judgement: Lost): ClusterDecision {
  const { reason, evidence, detectionMs } = judgement;
  const told = featureLevelOf(view.state) < 3 ? {} : { evidence, detectionMs: Math.round(detectionMs) };
  return propose({ kind: "fence", epoch, reason, preferredId: null, ...told }, reason);
}

/** The primary is lost, and nothing is done about it by itself: people said so, or it would only go on in a loop. */
function whyNotNow(view: ClusterView): ClusterDecision | null {
  const pauses = view.state.pauses ?? [];
  if (pauses.length > 0) return hold("paused", pauses.map(({ reason }) => reason).join("; "));
  const loop = crashLoop(view);
  if (loop === null || view.nowMs >= loop.untilMs) return null;
  return hold("crash-loop", `${loop.count} primaries in a row`, loop.untilMs);
}

function decideSwitchover(view: ClusterView, reign: Reign, switchover: Switchover): ClusterDecision {
  const judgement = judgePrimary(view, reign);
  if (judgement.kind === "lost") {
    return propose(
      { kind: "fence", epoch: reign.epoch, reason: "switchover", preferredId: switchover.targetId },
      "switchover",
    );
  }
  const primary = view.observations.get(reign.primaryId)?.status.postgres;
  const isServing = primary?.kind === "primary";
  if (isServing && heardStandby(view, switchover.targetId) === null) {
    return propose(
      {
        kind: "abort-switchover",
        operationId: switchover.operationId,
        reason: `${memberName(view.state, switchover.targetId)} is not a standby that can be reached`,
      },
      "switchover-target-lost",
    );
  }
  return hold("switchover-stopping");
}

function decideFirstReign(view: ClusterView, memberId: Member["id"]): ClusterDecision {
  const postgres = view.observations.get(memberId)?.status.postgres;
  if (postgres?.kind === "foreign" && view.state.systemIdentifier === null)
    return giveUpInitialization(view, postgres.detail);
  if (postgres?.kind !== "stopped" && postgres?.kind !== "standby") return hold("initializing");
  if (view.state.systemIdentifier === null) {
    return propose(
      { kind: "record-system", memberId, systemIdentifier: postgres.systemIdentifier },
      "initialized",
    );
  }
  return propose(
    {
      kind: "appoint",
      memberId,
      previousEpoch: EPOCH_ZERO,
      cohort: { standbyIds: [], k: 0 },
      position: null,
      timelines: [],
      reason: "first-primary",
      passedOver: [],
    },
    "first-primary",
  );
}

/** Something that is not ours came into the place for PostgreSQL meanwhile. It is left alone, and people are told. */
function giveUpInitialization(view: ClusterView, detail: string): ClusterDecision {
  const operationId = view.state.initialization?.operationId;
  if (operationId === undefined) return hold("not-initialized");
  return propose(
    {
      kind: "finish-operation",
      operationId,
      status: "failed",
      message: `${detail}; nothing was touched. Empty the directory, or name another one, and initialise again`,
    },
    "initialization-given-up",
  );
}

/** A reign in good health: record what came true, move the cohort, finish operations, then leave things alone. */
function decideReign(view: ClusterView, reign: Reign): ClusterDecision {
  const observation = view.observations.get(reign.primaryId);
  const primary = observation?.status.postgres;
  if (
    observation === undefined ||
    primary?.kind !== "primary" ||
    observation.status.promises.walEpoch !== reign.epoch
  ) {
    return decidePromotion(view, reign);
  }
  if (reign.lineage === null) {
    return propose(
      {
        kind: "record-lineage",
        epoch: reign.epoch,
        timeline: primary.timeline,
        ancestors: primary.ancestors,
        ...(featureLevelOf(view.state) < 3 ? {} : { sinceFenceMs: since(view, view.lastFenceSinceMs) }),
      },
      "promotion-seen",
    );
  }
  const streams = awaitStreams(view, reign, primary);
  if (streams !== null) return streams;
  const cohort = decideCohort(view, reign, primary);
  if (cohort?.kind === "propose") return cohort;
  return (
    decideData(view, reign, primary) ??
    decideOperations(view, reign, primary) ??
    decidePhase(view, reign, primary) ??
    cohort ??
    decideSeat(view, reign) ??
    hold("steady")
  );
}

/** Tells the history how far the change of primary has come. */
function decidePhase(view: ClusterView, reign: Reign, primary: PrimaryStatus): ClusterDecision | null {
  const record = recordOf(view.state, reign.epoch);
  if (record === undefined) return null;
  const tell = (phase: FailoverPhase) => {
    const sinceFenceMs = since(view, view.lastFenceSinceMs);
    return propose({ kind: "record-phase", epoch: reign.epoch, phase, sinceFenceMs }, "history-told");
  };
  if (!hasPhase(record, "writable"))
    return isWritable(view.state, reign.primaryId, primary) ? tell("writable") : null;
  if (hasPhase(record, "rejoined")) return null;
  const others = stayingDataMembers(view.state).filter(({ id }) => id !== reign.primaryId);
  const areAllBack = others.every(({ id }) =>
    primary.standbys.some(
      ({ name, state }) => name === standbyNameOf(view.state, id) && state === "streaming",
    ),
  );
  return areAllBack ? tell("rejoined") : null;
}

/** The appointed member is to leave recovery. If it does not, somebody else may: the first reign alone has nobody else. */
function decidePromotion(view: ClusterView, reign: Reign): ClusterDecision {
  const stuckAtMs = Math.max(view.leadingSinceMs, view.reignSinceMs) + PROMOTION_MS_MAX;
  if (view.nowMs < stuckAtMs || reign.appointedAt === null)
    return hold("promotion-under-way", null, stuckAtMs);
  return propose(
    { kind: "fence", epoch: reign.epoch, reason: "promotion-stuck", preferredId: null },
    "promotion-stuck",
  );
}

function decideData(view: ClusterView, reign: Reign, primary: PrimaryStatus): ClusterDecision | null {
  const ready = dataMembers(view.state).find(({ id, data }) => {
    if (data === "ready") return false;
    if (id === reign.primaryId) return true;
    const isStreaming = primary.standbys.some(
      (standby) => standby.name === standbyNameOf(view.state, id) && standby.state === "streaming",
    );
    return isStreaming && heardStandby(view, id) !== null && !isAboutToBeReplaced(view, id);
  });
  return ready === undefined ? null : propose({ kind: "mark-data-ready", memberId: ready.id }, "data-ready");
}

/** An operation said to build the member anew, and it has not begun to: what streams now is the old data. */
function isAboutToBeReplaced(view: ClusterView, id: Member["id"]): boolean {
  const member = view.state.members.find((each) => each.id === id);
  return member?.data === "replace" && view.observations.get(id)?.status.isRebuilt !== true;
}

function decideOperations(view: ClusterView, reign: Reign, primary: PrimaryStatus): ClusterDecision | null {
  const isServing = isWritable(view.state, reign.primaryId, primary) && primary.isProvisioned;
  for (const operation of view.state.operations) {
    if (operation.status !== "running") continue;
    const decision = decideOperation(view, operation, isServing);
    if (decision !== null) return decision;
  }
  return null;
}

function decideOperation(
  view: ClusterView,
  operation: Operation,
  isServing: boolean,
): ClusterDecision | null {
  const { state } = view;
  const name = memberName(state, operation.memberId);
  const done = (message: string) =>
    propose(
      { kind: "finish-operation", operationId: operation.id, status: "succeeded", message },
      "operation-done",
    );
  switch (operation.kind) {
    case "initialize": {
      if (!isServing) return null;
      const waiting = dataMembers(state).filter(({ data }) => data !== "ready");
      // Only then does the cluster keep what it promises: another member could follow, with every acknowledged commit.
      if (waiting.length === 0 && isCohortComplete(state))
        return done(`${name} takes writes, ${dataMembers(state).length - 1} standbys stream`);
      if (waiting.length === 0 || operation.phase === "cloning") return null;
      const names = waiting.map((member) => member.name).join(", ");
      return propose(
        {
          kind: "progress-operation",
          operationId: operation.id,
          phase: "cloning",
          message: `${name} takes writes; cloning to ${names}`,
        },
        "operation-progress",
      );
    }
    case "switchover":
      return isServing && state.reign?.primaryId === operation.memberId ? done(`${name} takes writes`) : null;
    case "reinitialize": {
      const isReady = state.members.some(({ id, data }) => id === operation.memberId && data === "ready");
      return isReady ? done(`${name} streams`) : null;
    }
    // Removals are led by `decide-membership.ts`; a recovery is over as soon as it is written.
    case "remove":
    case "recover":
    // Led by `decide-restart.ts` and `decide-authority.ts`.
    case "restart":
    case "authority-change":
      return null;
    default:
      return unreachable(operation.kind);
  }
}

/** Every other data member acknowledges, under the rule that the spec asks for and no other. */
function isCohortComplete({ reign, spec, members }: ClusterState): boolean {
  if (reign === null || reign.pendingCohort !== null || reign.inheritedRules.length > 0) return false;
  if (isLeased(spec)) return reign.cohort.isLeased === true;
  const others = members.filter(
    ({ id, kind, isLeaving }) => kind === "data" && !isLeaving && id !== reign.primaryId,
  ).length;
  const { standbyIds, k } = reign.cohort;
  return standbyIds.length === others && k === Math.min(synchronousStandbysOf(spec), others);
}

/** How long a leader stays where it is before it moves off the primary's host. */
const SEAT_MS_MIN = 2_000;

function decideSeat(view: ClusterView, reign: Reign): ClusterDecision | null {
  const isBesidePrimary = reign.primaryId === view.selfId;
  const hasSettledIn = view.nowMs - view.leadingSinceMs >= SEAT_MS_MIN;
  if (!isBesidePrimary) return null;
  const other = view.voterIds.find((id) => {
    const stays = view.state.members.some((member) => member.id === id && !member.isLeaving);
    const isReached = isHeard(view, id) && view.observations.get(id)?.isConnected === true;
    return id !== view.selfId && stays && isReached;
  });
  if (other === undefined) return null;
  if (!hasSettledIn) return hold("steady", null, view.leadingSinceMs + SEAT_MS_MIN);
  return { kind: "transfer-leadership", to: other, reason: "leader-beside-primary" };
}
