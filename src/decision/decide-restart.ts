/**
 * A planned restart, one member after another. Pure, and taken anew at each look from what is agreed and what is seen: which
 * server ran when it was asked for says who is still to be started again, so it does not matter who leads, or what came between.
 *
 * Order. What a standby may not have less of than its primary travels in the WAL: a primary that comes up with more stops the
 * replay of every standby that has less, and a standby that is started with less than its WAL says does not come up at all. So
 * standbys first where a value grows, and the primary first, in place, where one shrinks (`roadmap/0011`).
 */
import type { MemberId } from "../base/ids.ts";
import type { Member } from "../cluster/member.ts";
import type { MemberStatus, PrimaryStatus, ServerLimits } from "../cluster/observation.ts";
import { isStandbyLimit, STANDBY_LIMITS } from "../cluster/parameter-rules.ts";
import {
  inPlaceStep,
  type PlannedRestart,
  type RestartStep,
  type RestartTarget,
} from "../cluster/restart.ts";
import { memberById, memberName, type Reign, standbyNameOf } from "../cluster/state.ts";
import { isWritable } from "../cluster/writable.ts";
import { type ClusterDecision, hold, propose } from "./cluster-decision.ts";
import { type ClusterView, heardStandby, isHeard, stayingDataMembers } from "./cluster-view.ts";
import { askFirst, chooseTarget } from "./hand-over.ts";
import { REASONS } from "./reasons.ts";
import { NO_RESTART_SEEN } from "./restart-seen.ts";

/** A primary that is away for longer than this is one that is lost: the ordinary rules decide again. */
export const IN_PLACE_MS_MAX = 30_000;
/** How long the checkpoint before it may take, during which the primary serves. */
const CHECKPOINT_MS_MAX = 10 * 60_000;
/** A member that cannot begin says why at once; what it said before is none of it. */
const REFUSAL_MS_MIN = 2_000;
/** What a standby may lack to count as caught up: as much as comes in while one looks. */
const CAUGHT_UP_BYTES = 16 * 1024 * 1024;
const STUCK_MS = 400;
/** Once as it was asked for, and once more where a value could only shrink after the primary's had. */
const RESTARTS_MAX = 2;

/**
 * @param otherwise what the leader would do without it: the reason of a hold stands in the way of a next member.
 * @returns null where nothing is planned, or where `otherwise` says all that there is to say for now.
 */
export function decideRestart(view: ClusterView, otherwise: ClusterDecision): ClusterDecision | null {
  const { restart, reign } = view.state;
  if (restart == null || reign === null) return null;
  if (restart.step !== null) return decideStep(view, reign, restart, restart.step, otherwise);
  if (restart.cancelledBy !== undefined)
    return end(restart, "failed", `it was ended by ${restart.cancelledBy}`);
  if (restart.isPaused === true || view.state.switchover !== null) return null;
  const primary = view.observations.get(reign.primaryId)?.status.postgres;
  const trouble = whyNotNow(view, reign, otherwise);
  if (trouble !== null || primary?.kind !== "primary") {
    const why = trouble ?? "the primary is not seen";
    return otherwise.reason === "steady" ? tellWaiting(view, restart, why) : null;
  }
  return decideNext(view, reign, restart);
}

/** Shows once that it waits; what for is the leader's reason meanwhile. */
function tellWaiting(view: ClusterView, { operationId }: PlannedRestart, why: string): ClusterDecision {
  const operation = view.state.operations.find(({ id }) => id === operationId);
  if (operation === undefined || operation.phase === "waiting") return hold("restart-waiting", why);
  const message = `it waits until the cluster is well: ${why}`;
  return propose(
    { kind: "progress-operation", operationId, phase: "waiting", message },
    "operation-progress",
  );
}

function end(
  { operationId }: PlannedRestart,
  status: "succeeded" | "failed",
  message: string,
): ClusterDecision {
  return propose({ kind: "finish-operation", operationId, status, message }, "restart-ended");
}

// ---- what is under way ------------------------------------------------------------------------------------------------

function decideStep(
  view: ClusterView,
  reign: Reign,
  restart: PlannedRestart,
  step: RestartStep,
  otherwise: ClusterDecision,
): ClusterDecision | null {
  const { memberId, instance, method } = step;
  const name = memberName(view.state, memberId);
  const done = (message: string) =>
    propose(
      { kind: "end-restart-step", operationId: restart.operationId, memberId, message },
      "restart-member-back",
    );
  const member = memberById(view.state, memberId);
  if (member === undefined || member.isLeaving) return done(`${name} is being removed: nothing is awaited`);
  const status = view.observations.get(memberId)?.status;
  const isAnother = status?.instance !== undefined && status.instance !== instance;
  const isPrimary = reign.primaryId === memberId;
  const isOver = method === "in-place" ? !isPrimary || reign.epoch !== step.epoch : isPrimary;
  if (isOver && reign.fence === null)
    return done(`the primary changed while ${name} was being started again`);
  const missing = isAnother ? whyNotBack(view, reign, member) : notEnded(status);
  if (missing === null) return done(`${name} is back`);
  const tooLong = whyGivenUp(view, restart, step, missing);
  if (tooLong !== null)
    return end(
      restart,
      "failed",
      `${name} does not come back: ${tooLong}. What came before it stays; mend it ('guacamole status' and its PostgreSQL's log say more), then ask again for the rest`,
    );
  return otherwise.reason === "steady" || otherwise.reason === "quorum-lost"
    ? hold("restart-under-way", `${name} ${missing}`)
    : null;
}

function notEnded(status: MemberStatus | undefined): string {
  const kind = status?.postgres.kind;
  const isUp = kind === "primary" || kind === "standby";
  return isUp ? "is about to end" : "is not up again";
}

/** Too long, or it says itself that it cannot; null: it may still come. */
function whyGivenUp(
  view: ClusterView,
  { timeoutMs }: PlannedRestart,
  { memberId, method }: RestartStep,
  missing: string,
): string | null {
  const { sinceMs, downSinceMs } = view.restartSeen ?? { ...NO_RESTART_SEEN, sinceMs: view.nowMs };
  const status = view.observations.get(memberId)?.status;
  const said = status?.detail == null ? "" : ` (${status.detail})`;
  const passedMs = view.nowMs - sinceMs;
  if (method === "in-place") {
    const isRefused = status?.detail?.startsWith("restart-in-place:") === true && downSinceMs === null;
    if (isRefused && passedMs >= REFUSAL_MS_MIN) return status?.detail ?? missing;
    const maxMs = Math.max(CHECKPOINT_MS_MAX, timeoutMs);
    return passedMs < maxMs ? null : `after ${Math.round(passedMs / 1000)} s it ${missing}${said}`;
  }
  return passedMs < timeoutMs ? null : `after ${Math.round(passedMs / 1000)} s it ${missing}${said}`;
}

/**
 * The primary is away because it is being started again, as planned. Null: that is over, or was never so, and the ordinary
 * rules decide.
 */
export function awaitInPlace(view: ClusterView, step: RestartStep): ClusterDecision | null {
  const status = view.observations.get(step.memberId)?.status;
  const { downSinceMs } = view.restartSeen ?? NO_RESTART_SEEN;
  const untilMs = (downSinceMs ?? view.nowMs) + IN_PLACE_MS_MAX;
  const isAtIt = status?.work?.kind === "start" || status?.postgres.kind === "starting";
  if (!isAtIt || view.nowMs >= untilMs) return null;
  return hold("primary-started-again", memberName(view.state, step.memberId), untilMs);
}

/** It is up again in place, and its standbys are about to stream again: nobody asks for fewer of them meanwhile. */
export function awaitStreams(
  view: ClusterView,
  reign: Reign,
  primary: PrimaryStatus,
): ClusterDecision | null {
  const { downSinceMs } = view.restartSeen ?? NO_RESTART_SEEN;
  const isAwaited = inPlaceStep(view.state) !== null && !isWritable(view.state, reign.primaryId, primary);
  if (!isAwaited || downSinceMs === null || view.nowMs >= downSinceMs + IN_PLACE_MS_MAX) return null;
  const name = memberName(view.state, reign.primaryId);
  return hold(
    "primary-started-again",
    `${name} is up, its standbys come back`,
    downSinceMs + IN_PLACE_MS_MAX,
  );
}

/** The primary did not come back in place: its reign is judged by the ordinary rules. */
export function giveUpInPlace(
  restart: PlannedRestart,
  name: string,
  status: MemberStatus | undefined,
): ClusterDecision {
  const said = status?.detail == null ? "" : ` (${status.detail})`;
  return end(
    restart,
    "failed",
    `${name} does not come back in place: its PostgreSQL is ${status?.postgres.kind ?? "not seen"}${said}. The failover that follows is the way out; then ask again for the rest`,
  );
}

// ---- whether another may be begun -------------------------------------------------------------------------------------

/** The cluster is not well: nobody else is taken out of it. */
function whyNotNow(view: ClusterView, reign: Reign, otherwise: ClusterDecision): string | null {
  const { state } = view;
  if (otherwise.kind !== "hold") return "something else is being agreed on";
  if (otherwise.reason !== "steady") return REASONS[otherwise.reason];
  if (reign.fence !== null || reign.lineage === null) return "the primary is changing";
  if (reign.pendingCohort !== null || reign.inheritedRules.length > 0) return "the cohort is changing";
  const primary = view.observations.get(reign.primaryId)?.status;
  if (primary?.postgres.kind !== "primary" || !isWritable(state, reign.primaryId, primary.postgres))
    return "the primary does not take writes";
  if (primary.limits === undefined)
    return `${memberName(state, reign.primaryId)} was not asked for its limits yet`;
  for (const member of stayingDataMembers(state)) {
    if (member.id === reign.primaryId) continue;
    const why = whyNotBack(view, reign, member);
    if (why !== null) return `${member.name} ${why}`;
  }
  return null;
}

/** Why a member is not a whole part of the cluster, as the end of a sentence; null: it is. */
function whyNotBack(view: ClusterView, reign: Reign, member: Member): string | null {
  const { state } = view;
  const status = view.observations.get(member.id)?.status;
  if (status === undefined || !isHeard(view, member.id)) return "is not heard";
  if (member.id === reign.primaryId) {
    const { postgres } = status;
    const serves = postgres.kind === "primary" && isWritable(state, member.id, postgres);
    if (!serves) return "does not take writes again";
    return status.limits === undefined ? "was not asked for its limits yet" : null;
  }
  const primary = view.observations.get(reign.primaryId)?.status.postgres;
  const standby = heardStandby(view, member.id);
  if (standby === null) return "does not run as a standby";
  if (primary?.kind !== "primary") return "has no primary to follow";
  const connection = primary.standbys.find(({ name }) => name === standbyNameOf(state, member.id));
  if (connection?.state !== "streaming" || standby.walReceiver?.status !== "streaming")
    return "does not stream";
  if (status.promises.walEpoch !== reign.epoch || member.data !== "ready")
    return "does not follow this reign yet";
  const flushedLsn = connection.flushedLsn ?? 0;
  if (primary.writtenLsn - flushedLsn > CAUGHT_UP_BYTES || (connection.stuckMs ?? 0) >= STUCK_MS)
    return "has not caught up";
  if (primary.writtenLsn - standby.replayedLsn > CAUGHT_UP_BYTES) return "has not replayed what it has";
  const isAwaited = reign.cohort.isLeased !== true && member.tags.isNoSync !== true;
  if (isAwaited && !reign.cohort.standbyIds.includes(member.id)) return "is not in the cohort yet";
  return status.limits === undefined ? "was not asked for its limits yet" : null;
}

// ---- who is next ------------------------------------------------------------------------------------------------------

function decideNext(view: ClusterView, reign: Reign, restart: PlannedRestart): ClusterDecision {
  const due = restart.targets.filter((target) => isDue(view, reign, restart, target));
  const standbys = due.filter(({ memberId }) => memberId !== reign.primaryId);
  const primary = due.find(({ memberId }) => memberId === reign.primaryId);
  const held = primary === undefined ? null : standbyWithLess(view, reign);
  if (primary !== undefined && held === null && shrinks(view, reign))
    return restartPrimary(view, reign, restart);
  const next = inOrder(view, standbys)[0];
  if (next !== undefined) return restartStandby(view, reign, restart, next);
  if (primary === undefined) return end(restart, "succeeded", summary(view, restart));
  if (held !== null) return end(restart, "failed", held);
  return restartPrimary(view, reign, restart);
}

function limitsOf(view: ClusterView, id: MemberId): ServerLimits | null {
  return view.observations.get(id)?.status.limits ?? null;
}

/** It is still to be started again: it is the server that ran then, or a start would bring something that waits. */
function isDue(
  view: ClusterView,
  reign: Reign,
  { isPendingOnly }: PlannedRestart,
  { memberId, instance, restarts }: RestartTarget,
): boolean {
  const member = memberById(view.state, memberId);
  const status = view.observations.get(memberId)?.status;
  if (member === undefined || member.isLeaving || status === undefined) return false;
  if (status.instance === instance && !isPendingOnly) return true;
  const pending = restarts === 0 ? (status.pendingRestart ?? []) : limitsIn(status);
  return restarts < RESTARTS_MAX && wouldHelp(view, reign, memberId, { ...status, pendingRestart: pending });
}

/** After its start only these may still wait: for the primary's. */
function limitsIn({ pendingRestart = [] }: MemberStatus): readonly string[] {
  return pendingRestart.filter(isStandbyLimit);
}

/** A start would bring into effect something that waits: what must not be less than the primary's waits for the primary. */
function wouldHelp(view: ClusterView, reign: Reign, id: MemberId, status: MemberStatus): boolean {
  const { pendingRestart = [], limits } = status;
  const others = pendingRestart.filter((name) => !isStandbyLimit(name));
  if (others.length > 0 || limits === undefined) return others.length > 0;
  const ofPrimary = limitsOf(view, reign.primaryId);
  return STANDBY_LIMITS.some((name) => {
    const { running, wanted } = limits[name];
    if (!pendingRestart.includes(name) || wanted === running) return false;
    const floor = id === reign.primaryId ? 0 : (ofPrimary?.[name].running ?? 0);
    return wanted > running || Math.max(wanted, floor) < running;
  });
}

/** A start of the primary would lower something. */
function shrinks(view: ClusterView, reign: Reign): boolean {
  const limits = limitsOf(view, reign.primaryId);
  return limits !== null && STANDBY_LIMITS.some((name) => limits[name].wanted < limits[name].running);
}

/** A standby that would stop replaying as soon as the primary comes up with what it would have; null: there is none. */
function standbyWithLess(view: ClusterView, reign: Reign): string | null {
  const wanted = limitsOf(view, reign.primaryId);
  for (const { id, name } of stayingDataMembers(view.state)) {
    const limits = limitsOf(view, id);
    if (id === reign.primaryId || limits === null || wanted === null) continue;
    const less = STANDBY_LIMITS.find((limit) => limits[limit].running < wanted[limit].wanted);
    if (less !== undefined)
      return `${name} runs with ${less} = ${limits[less].running}, and ${memberName(view.state, reign.primaryId)} would come up with ${wanted[less].wanted}: ${name} would stop replaying. Start ${name} again first`;
  }
  return null;
}

/** Those that would hardly be promoted first: the best successor stays as long as it can. */
function inOrder(view: ClusterView, targets: readonly RestartTarget[]): readonly RestartTarget[] {
  const rank = ({ memberId }: RestartTarget) => memberById(view.state, memberId)?.tags.failoverPriority ?? 0;
  return targets.toSorted(
    (a, b) =>
      rank(a) - rank(b) ||
      memberName(view.state, a.memberId).localeCompare(memberName(view.state, b.memberId), "en"),
  );
}

function restartStandby(
  view: ClusterView,
  reign: Reign,
  restart: PlannedRestart,
  { memberId }: RestartTarget,
): ClusterDecision {
  const name = memberName(view.state, memberId);
  const left = standbysLeft(view, reign, memberId);
  if (left < reign.cohort.k && !restart.mayStall)
    return end(
      restart,
      "failed",
      `without ${name} only ${left} of the ${reign.cohort.k} standbys are left that a commit needs: commits would wait. Add a standby, or allow it ('--allow-stall')`,
    );
  return begin(view, restart, memberId, "standby", reign);
}

/** How many could acknowledge without it. */
function standbysLeft(view: ClusterView, reign: Reign, without: MemberId): number {
  const primary = view.observations.get(reign.primaryId)?.status.postgres as PrimaryStatus;
  const streaming = primary.standbys.filter(({ state }) => state === "streaming").map(({ name }) => name);
  return reign.cohort.standbyIds.filter(
    (id) => id !== without && streaming.includes(standbyNameOf(view.state, id)),
  ).length;
}

/**
 * By a switchover where another member can take over: it runs with what waits already, and all that clients notice is the
 * hand-over. In place where something shrinks (every standby still has the greater value), or where there is nobody.
 */
function restartPrimary(view: ClusterView, reign: Reign, restart: PlannedRestart): ClusterDecision {
  const { strategy, operationId } = restart;
  const { primaryId, epoch } = reign;
  if (strategy === "in-place" || (strategy === "auto" && shrinks(view, reign)))
    return begin(view, restart, primaryId, "in-place", reign);
  const id = `${operationId}-switchover-${epoch}`;
  const before = view.state.operations.find((operation) => operation.id === id);
  if (before !== undefined)
    return end(
      restart,
      "failed",
      `the switchover did not succeed: ${before.log.at(-1)?.message ?? before.phase}`,
    );
  const chosen = chooseTarget(view, { id, targetId: null });
  if ("why" in chosen)
    return strategy === "auto"
      ? begin(view, restart, primaryId, "in-place", reign)
      : end(restart, "failed", `nobody can take over: ${chosen.why}`);
  const asking = askFirst(view, { id, primaryId }, chosen.id, (why) => end(restart, "failed", why));
  if (asking !== null) return asking;
  return propose(
    { kind: "begin-switchover", targetId: chosen.id, operationId: id, epoch },
    "restart-by-switchover",
  );
}

function begin(
  view: ClusterView,
  restart: PlannedRestart,
  memberId: MemberId,
  method: RestartStep["method"],
  { epoch }: Reign,
): ClusterDecision {
  const instance = view.observations.get(memberId)?.status.instance;
  const { operationId } = restart;
  if (instance === undefined)
    return tellWaiting(view, restart, `${memberName(view.state, memberId)} runs nothing`);
  return propose(
    { kind: "begin-restart-step", operationId, memberId, instance, method, epoch },
    "restart-member",
  );
}

function summary(view: ClusterView, { targets }: PlannedRestart): string {
  const waiting = targets.flatMap(({ memberId }) => {
    const names = view.observations.get(memberId)?.status.pendingRestart ?? [];
    return names.length === 0 ? [] : [`${memberName(view.state, memberId)} (${names.join(", ")})`];
  });
  const all = "every member that was to be started again is back";
  return waiting.length === 0 ? all : `${all}; still waiting for a start: ${waiting.join("; ")}`;
}
