/**
 * A member's side: what to do with the PostgreSQL on this machine. Pure, and level-triggered: it looks at what is agreed
 * and what is there, and says the next step; nothing is remembered between two looks.
 *
 * PostgreSQL starts as a standby, and only an appointment for the newest epoch makes it a primary (F4). A primary that is
 * started again as planned goes on under the appointment that it has.
 */
import { unreachable } from "../base/assert.ts";
import { formatLsn } from "../base/lsn.ts";
import type { ManagedSettings } from "../cluster/managed-settings.ts";
import type { PostgresStatus, PrimaryStatus, StandbyStatus } from "../cluster/observation.ts";
import { restartStepOf } from "../cluster/restart.ts";
import { isNamedByReign, memberById, type Reign } from "../cluster/state.ts";
import { desiredSynchronousStandbyNames, isWritable } from "../cluster/writable.ts";
import { isRestartFirst } from "./choose-successor.ts";
import { cloneSource } from "./clone-source.ts";
import { primarySettings, standbySettings, upstreamOf } from "./desired-settings.ts";
import { hasReignedBefore, relate, relateRecovery } from "./lineage.ts";
import type { MemberView } from "./member-view.ts";
import { type Action, act, type Plan, wait } from "./plan.ts";
import { isLeasedReign, needsLease } from "./quorum.ts";
import { REASONS } from "./reasons.ts";

type StartingStatus = Extract<PostgresStatus, { kind: "starting" }>;

export function decideMember(view: MemberView): Plan {
  const { state, postgres } = view;
  if (postgres.kind === "witness") return wait("witness");
  if (postgres.kind === "unknown") return wait("supervisor-unreachable", postgres.detail);
  if (state.initialization === null) return wait("not-initialized");
  // A rewind that was cut short leaves nothing that says whose data it is; the supervisor remembers.
  const isBroken = view.needsClone !== null;
  if (postgres.kind === "foreign" && !isBroken) return wait("data-directory-foreign", postgres.detail);
  if (isOtherSystem(view))
    return wait("data-directory-foreign", "its system identifier is not this cluster's");
  const promise = decidePromise(view);
  if (promise !== null) return promise;
  if (isReleased(view)) return decideLeaving(view);
  switch (postgres.kind) {
    case "absent":
      return decideAbsent(view);
    case "stopped":
    case "foreign":
      return decideStopped(view);
    case "starting":
      return decideStarting(view, postgres);
    case "unresponsive":
      return decideMute(view, postgres.detail);
    case "standby":
      return decideStandby(view, postgres);
    case "primary":
      return decidePrimary(view, postgres);
    default:
      return unreachable(postgres);
  }
}

function isOtherSystem({ state, postgres }: MemberView): boolean {
  if (state.systemIdentifier === null || !("systemIdentifier" in postgres)) return false;
  return postgres.systemIdentifier !== state.systemIdentifier;
}

/** What comes before all else: a reign that is being ended, and a PostgreSQL that reigns without being appointed. */
function decidePromise(view: MemberView): Plan | null {
  const { reign } = view.state;
  const mayReign =
    view.postgres.kind === "primary" ||
    isPromoting(view.postgres) ||
    isMutePrimary(view) ||
    isStartingPrimary(view);
  if (reign?.fence && view.promises.pledgedEpoch < reign.epoch) {
    const pledge: Action = { kind: "pledge", epoch: reign.epoch };
    if (mayReign) return act("pledging", endOfReign(reign), pledge);
    return mayStillReceive(view, reign) ? wait("draining", null, "urgent") : act("pledging", pledge);
  }
  if (mayReign && !isAppointed(view)) return act("superseded", { kind: "stop", mode: "immediate" });
  return null;
}

/** Told to promote, a server opens the reign that it was told for, whatever it is asked to follow meanwhile. */
function isPromoting(postgres: PostgresStatus): boolean {
  return postgres.kind === "standby" && postgres.isPromoting === true;
}

/** How long a primary may take to send its last byte, where commits were promised to nobody else. */
const DRAIN_MS_MAX = 1_500;

/**
 * A primary whose commits others guard ends at once. One that acknowledged alone ends cleanly: whatever its standbys have not
 * received is lost.
 */
function endOfReign(reign: Reign): Action {
  return isLeasedReign(reign)
    ? { kind: "stop", mode: "fast", withinMs: DRAIN_MS_MAX }
    : { kind: "stop", mode: "immediate" };
}

/**
 * Under a lease no pledge ends a reign: the primary's end does. While it is there and about to end, its standbys go on
 * receiving, and lose less.
 */
function mayStillReceive({ primary, fenceKnownMs, postgres }: MemberView, reign: Reign): boolean {
  if (!isLeasedReign(reign) || primary === null || !primary.isConnected) return false;
  const { promises, postgres: theirs } = primary.status;
  const isEnding = promises.pledgedEpoch < reign.epoch && theirs.kind === "primary";
  const isReceiving = postgres.kind === "standby" && postgres.walReceiver !== null;
  return isEnding && isReceiving && (fenceKnownMs ?? 0) < 2 * DRAIN_MS_MAX;
}

/** It does not answer, and it was promoted: frozen, it would go on where it was as soon as it thaws. */
function isMutePrimary({ postgres, hasStandbySignal }: MemberView): boolean {
  return postgres.kind === "unresponsive" && !hasStandbySignal;
}

/** It was being started again in place: it would take writes as soon as it is up. */
function isStartingPrimary({ postgres, hasStandbySignal, instance }: MemberView): boolean {
  return postgres.kind === "starting" && !hasStandbySignal && instance != null;
}

/** How long a standby may hang before it is started anew. */
const MUTE_MS_MAX = 10_000;

/** A standby that hangs is no use to anybody. The primary is the leader's to judge. */
function decideMute(view: MemberView, detail: string): Plan {
  const isOther = view.state.reign !== null && view.state.reign.primaryId !== view.selfId;
  const hangs = view.unansweredMs !== null && view.unansweredMs >= MUTE_MS_MAX;
  if (!isOther || !hangs) return wait("not-answering", detail);
  return { ...act("not-answering", { kind: "stop", mode: "immediate" }), detail };
}

/** This member is the primary of a reign that is not being ended, and its WAL was opened under that very reign. */
function isAppointed({ state: { reign }, selfId, promises }: MemberView): boolean {
  return (
    reign !== null && reign.primaryId === selfId && reign.fence === null && promises.walEpoch === reign.epoch
  );
}

/** It is being removed, and no rule of the reign names it any more. */
function isReleased({ state, selfId }: MemberView): boolean {
  return memberById(state, selfId)?.isLeaving === true && !isNamedByReign(state, selfId);
}

/** Nobody shall read from a server that follows no more. The data stays: it is its owner's. */
function decideLeaving({ postgres }: MemberView): Plan {
  const isUp =
    postgres.kind === "standby" || postgres.kind === "starting" || postgres.kind === "unresponsive";
  return isUp ? act("leaving", { kind: "stop", mode: "fast" }) : wait("leaving");
}

/** A group that was recovered without its primary: there is nobody to follow, and nothing to be compared with. */
function isPrimaryLeftBehind(view: MemberView, reign: Reign): boolean {
  return memberById(view.state, reign.primaryId) === undefined;
}

function decideAbsent(view: MemberView): Plan {
  const { state, selfId } = view;
  const { initialization, reign } = state;
  if (initialization?.memberId === selfId && state.systemIdentifier === null) {
    return act("initdb", { kind: "initdb", clusterId: state.clusterId, options: initialization.options });
  }
  const mayBeMade = memberById(state, selfId)?.data !== "ready" && reign?.primaryId !== selfId;
  if (!mayBeMade) return wait("data-directory-missing");
  return decideClone(view, null);
}

/** Clones, as soon as there is a primary that serves. */
function decideClone(view: MemberView, why: string | null): Plan {
  const { reign } = view.state;
  if (reign === null || reign.fence !== null) return wait("waiting-for-initialization");
  if (view.isDiskFull) return wait("disk-full", "there is no room for a clone");
  if (!isPrimaryReady(view, reign)) return wait("waiting-for-primary");
  // PostgreSQL's programs say why in several lines; the supervisor is told in one.
  const replace = why === null ? null : why.trim().replace(/\s*[\n\r\0]+\s*/g, "; ");
  const clone: Action = {
    kind: "clone",
    clusterId: view.state.clusterId,
    ...reignOf(reign),
    source: upstreamOf(view.state, cloneSource(view.state, reign, view.selfId, view.observations)),
    replace,
  };
  const stop: Action = { kind: "stop", mode: "fast" };
  return replace === null ? act("cloning", clone) : { ...act("recloning", stop, clone), detail: replace };
}

/** The primary serves, and has what a clone or a rewind needs: the roles, and a checkpoint on its own timeline. */
function isPrimaryReady(view: MemberView, reign: Reign): boolean {
  const primary = view.primary?.status.postgres;
  if (primary?.kind !== "primary" || reign.lineage === null) return false;
  const isOfThisReign = view.primary?.status.promises.walEpoch === reign.epoch;
  const hasCheckpointed = primary.checkpointTimeline === reign.lineage.timeline;
  return isOfThisReign && primary.isProvisioned && hasCheckpointed;
}

const FAILED_STARTS_MAX = 10;

function decideStopped(view: MemberView): Plan {
  const { reign } = view.state;
  const replacement = whyReplace(view);
  if (replacement !== null) return decideClone(view, replacement);
  if (reign === null) return wait("initdb-done");
  if (mayHinderFailover(view, reign)) return wait("waiting-for-primary");
  const isOther = reign.primaryId !== view.selfId;
  if (
    view.failedStarts >= FAILED_STARTS_MAX &&
    isOther &&
    reign.fence === null &&
    isPrimaryReady(view, reign)
  ) {
    return decideClone(view, `PostgreSQL ended by itself ${view.failedStarts} times while starting`);
  }
  // Where this reign's primary was followed already (a clone, a rewind, a restart), its WAL may be needed to become
  // consistent. In any other case the first look at the own WAL comes before anything is received.
  const mayReceive =
    isOther &&
    reign.fence === null &&
    view.promises.walEpoch === reign.epoch &&
    !isPrimaryLeftBehind(view, reign);
  const isPledged = view.promises.pledgedEpoch >= reign.epoch;
  const upstream = mayReceive && !isPledged ? upstreamOf(view.state, reign.primaryId) : null;
  return act(
    "starting",
    { kind: "configure", ...reignOf(reign), settings: standbySettings(view, upstream) },
    { kind: "start", epoch: reign.epoch },
  );
}

/** How long a standby may start that cannot become consistent with what the present primary has. */
const INCONSISTENT_MS_MAX = 60_000;

/**
 * A standby that was rewound or cloned is consistent once it has replayed all that its source had written by then; one that
 * crashed, as far as its own files had got. Where that is in the present history it is fetched from the primary, and if its
 * source lost a reign meanwhile, it is nowhere to be had.
 */
function decideStarting(view: MemberView, { detail, recovery }: StartingStatus): Plan {
  const { reign } = view.state;
  const starting = wait("starting", detail, "soon");
  if (recovery === undefined || !view.hasStandbySignal || reign === null || reign.fence !== null)
    return starting;
  if (reign.primaryId === view.selfId || isPrimaryLeftBehind(view, reign)) return starting;
  const relation = relateRecovery(recovery, view.promises, reign);
  if (relation.kind === "behind") {
    const { walEpoch, pledgedEpoch } = view.promises;
    // It may still receive from a reign before: that would be taken for this one's (as in `cutOffFirst`).
    if (walEpoch !== reign.epoch && pledgedEpoch < walEpoch)
      return act("pledging", { kind: "pledge", epoch: walEpoch });
    const settings = standbySettings(view, upstreamOf(view.state, reign.primaryId));
    if (!isFollowing(view, reign, settings)) return followAsConfigured(reign, settings);
    const lack = whatIsGone(view, reign);
    return lack === null ? starting : decideClone(view, lack);
  }
  const isHopeless = relation.kind === "forked" || relation.kind === "alien";
  if (!isHopeless || (view.startingMs ?? 0) < INCONSISTENT_MS_MAX) return starting;
  const { timeline, lsn } = recovery.consistentAt;
  return decideClone(
    view,
    `it needs WAL up to ${formatLsn(lsn)} of timeline ${timeline}, which was given up`,
  );
}

/** How long a fallen PostgreSQL lets its successor go first. */
const YIELD_MS = 500;

/**
 * A primary that fell need not be quick: crash recovery would only compete with the promotion of its successor. It starts
 * (as a standby, and as a witness of everything that it acknowledged) if no successor is there soon, and at once where it is
 * what everybody waits for.
 */
function mayHinderFailover({ state, selfId, reignKnownMs, fenceKnownMs }: MemberView, reign: Reign): boolean {
  if (reign.primaryId === selfId) {
    const hasReigned = reign.lineage !== null;
    if (isRestartFirst(state.spec) && reign.fence?.reason === "postmaster-died") return false;
    return hasReigned && (fenceKnownMs === null || fenceKnownMs < YIELD_MS);
  }
  return reign.lineage === null && reign.appointedAt !== null && reignKnownMs < YIELD_MS;
}

/** Why the data that stands here is to be replaced by a clone, or null. */
function whyReplace(view: MemberView): string | null {
  if (view.state.reign?.primaryId === view.selfId) return null;
  if (view.needsClone !== null) return view.needsClone;
  const isAsked = memberById(view.state, view.selfId)?.data === "replace" && !view.hasAside;
  return isAsked ? "an operation said to build this member anew" : null;
}

function decideStandby(view: MemberView, postgres: StandbyStatus): Plan {
  const { reign } = view.state;
  if (reign === null) return wait("waiting-for-primary");
  if (reign.fence !== null) {
    return postgres.walReceiver === null
      ? wait("pledged")
      : wait("pledging", "the walreceiver is ending", "urgent");
  }
  if (isPrimaryLeftBehind(view, reign)) return wait("primary-left-behind");
  if (reign.primaryId === view.selfId) {
    // Once an epoch: whoever fell after its promotion waits for the leader, who ends that reign and begins another.
    return hasReignedBefore(postgres, view.promises, reign)
      ? wait("waiting-for-primary")
      : decidePromotion(view, reign);
  }
  const replacement = whyReplace(view);
  if (replacement !== null) return decideClone(view, replacement);
  return isToRestart(view, "standby") ? restartStandby(view, reign) : decideFollow(view, reign, postgres);
}

/** A planned restart has come to this member, and the server that it is about still runs. */
function isToRestart({ state, selfId, instance }: MemberView, method: "standby" | "in-place"): boolean {
  const step = restartStepOf(state, selfId);
  if (step === null || step.method !== method || step.instance !== instance) return false;
  return method === "standby" || step.epoch === state.reign?.epoch;
}

/** How long a standby may write out what it has replayed: else it would have to replay it again, from farther back. */
const STANDBY_STOP_MS_MAX = 20_000;

function restartStandby(view: MemberView, reign: Reign): Plan {
  const { walEpoch, pledgedEpoch } = view.promises;
  const mayFollow = walEpoch === reign.epoch && pledgedEpoch < reign.epoch;
  const settings = standbySettings(view, mayFollow ? upstreamOf(view.state, reign.primaryId) : null);
  return act(
    "restarting",
    { kind: "checkpoint" },
    { kind: "stop", mode: "fast", withinMs: STANDBY_STOP_MS_MAX },
    { kind: "configure", ...reignOf(reign), settings },
    { kind: "start", epoch: reign.epoch },
  );
}

/** A promotion that was asked for and did not come by then is asked for again: the signal may have been lost. */
const PROMOTE_AGAIN_MS = 1_000;

/**
 * Appointed: the rule for commits first, then the promotion (F1, F4). Once an epoch: a primary that fell after its
 * promotion was recorded waits for the leader, who ends that reign and begins another.
 */
function decidePromotion(view: MemberView, reign: Reign): Plan {
  if (view.promises.walEpoch === reign.epoch && reign.lineage !== null) return wait("waiting-for-primary");
  const settings = primarySettings(view);
  const isLeaseNeeded = needsLease(view.state);
  const promote: Action = { kind: "promote", ...reignOf(reign), needsLease: isLeaseNeeded };
  const hasLease = holdsLease(view, reign);
  if (isConfigured(view, settings)) {
    // Nobody reigns under a lease before it has one (F6).
    if (isLeaseNeeded && !hasLease) return wait("waiting-for-lease", null, "urgent");
    const wasAsked = view.promises.walEpoch === reign.epoch && view.reignKnownMs < PROMOTE_AGAIN_MS;
    return wasAsked ? wait("promoting", null, "urgent") : act("promoting", promote);
  }
  const configure: Action = { kind: "configure", ...reignOf(reign), settings };
  const reload: Action = { kind: "reload" };
  // A standby that already carries a rule only changes names. One that carries none must be sure that its checkpointer has
  // seen the new rule (`configurePrimary`).
  const isPrepared =
    settings.synchronousStandbyNames === null || isConfigured(view, standbySettings(view, null));
  const prepare: readonly Action[] = isPrepared
    ? [configure, reload]
    : [configure, reload, { kind: "checkpoint" }];
  return act("promoting", ...prepare, ...(isLeaseNeeded && !hasLease ? [] : [promote]));
}

/** A lease of this very reign stands here. */
function holdsLease({ lease }: MemberView, { epoch }: Reign): boolean {
  return lease?.epoch === epoch && lease.remainingMs > 0;
}

/** The ladder that a member climbs until it streams: follow as it is, rewind, clone anew. */
function decideFollow(view: MemberView, reign: Reign, postgres: StandbyStatus): Plan {
  const relation = relate(
    { timeline: postgres.timeline, replayedLsn: postgres.replayedLsn, promises: view.promises },
    reign,
  );
  switch (relation.kind) {
    case "unknown":
      return wait("waiting-for-lineage");
    case "alien":
      return decideClone(view, relation.detail);
    case "forked": {
      if (!isPrimaryReady(view, reign)) return wait("waiting-for-primary", REASONS.rewinding);
      const cutOff = cutOffFirst(view, reign, postgres);
      if (cutOff !== null) return cutOff;
      const source = upstreamOf(view.state, reign.primaryId);
      const settings = standbySettings(view, source);
      const fork = { forkTimeline: relation.timeline, forkLsn: relation.atLsn };
      return act(
        "rewinding",
        { kind: "stop", mode: "fast" },
        { kind: "rewind", ...reignOf(reign), source, ...fork },
        { kind: "configure", ...reignOf(reign), settings },
        { kind: "start", epoch: reign.epoch },
      );
    }
    case "behind":
      return decideStream(view, reign, postgres);
    default:
      return unreachable(relation);
  }
}

/**
 * What was looked at must be what is followed or rewound. A standby that did not pledge may still receive from the primary of a
 * reign before, on a timeline that takes the number of the present one: received after the look, it would be taken for that.
 */
function cutOffFirst(view: MemberView, reign: Reign, postgres: StandbyStatus): Plan | null {
  if (view.promises.walEpoch === reign.epoch) return null;
  const settings = standbySettings(view, null);
  const isPledged = view.promises.pledgedEpoch >= view.promises.walEpoch;
  if (!isPledged && !isConfigured(view, settings)) return followAsConfigured(reign, settings);
  return postgres.walReceiver === null
    ? null
    : wait("configuring", "the walreceiver of the reign before is ending", "urgent");
}

function decideStream(view: MemberView, reign: Reign, postgres: StandbyStatus): Plan {
  const cutOff = cutOffFirst(view, reign, postgres);
  if (cutOff !== null) return cutOff;
  const settings = standbySettings(view, upstreamOf(view.state, reign.primaryId));
  if (!isFollowing(view, reign, settings)) return followAsConfigured(reign, settings);
  if (postgres.walReceiver?.status !== "streaming") {
    const lack = whatIsGone(view, reign);
    return lack === null ? wait("connecting", null, "soon") : decideClone(view, lack);
  }
  const isSettled = memberById(view.state, view.selfId)?.data === "ready";
  return view.hasAside && isSettled ? act("cleaning-up", { kind: "discard-aside" }) : wait("streaming");
}

/**
 * What this standby needs next and its upstream, which is the primary, has no more; null: nothing is known to. WAL goes as
 * checkpoints come, and never comes back. The data here is replaced only once a whole copy of the primary's stands beside it,
 * which holds all that was acknowledged under this reign, by this standby, too.
 */
function whatIsGone({ walReach }: MemberView, reign: Reign): string | null {
  if (walReach == null || walReach.epoch !== reign.epoch) return null;
  const { untilLsn, primaryFromLsn } = walReach;
  return untilLsn < primaryFromLsn
    ? `it needs WAL from ${formatLsn(untilLsn)} on, which the primary has no more`
    : null;
}

function isFollowing(view: MemberView, reign: Reign, settings: ManagedSettings): boolean {
  return isConfigured(view, settings) && view.promises.walEpoch === reign.epoch;
}

function followAsConfigured(reign: Reign, settings: ManagedSettings): Plan {
  return act("configuring", { kind: "configure", ...reignOf(reign), settings }, { kind: "reload" });
}

/** How long a clean stop may hold up a switchover before it is an ordinary failover. */
const HAND_OVER_MS_MAX = 3_000;

function decidePrimary(view: MemberView, postgres: PrimaryStatus): Plan {
  const { reign, switchover } = view.state;
  if (reign === null) return wait("waiting-for-primary");
  if (switchover !== null && switchover.epoch === reign.epoch) {
    // The pledge with it: whoever has received its last checkpoint has everything, and needs nobody else to say so.
    const stop: Action = { kind: "stop", mode: "fast", withinMs: HAND_OVER_MS_MAX };
    return act("handing-over", { kind: "checkpoint" }, stop, { kind: "pledge", epoch: reign.epoch });
  }
  const settings = primarySettings(view);
  const isInEffect = postgres.synchronous.names === desiredSynchronousStandbyNames(view.state);
  if (!isConfigured(view, settings) || !isInEffect) return configurePrimary(view, reign, settings, postgres);
  if (view.lease !== null && view.lease !== undefined && !needsLease(view.state)) {
    return act("configuring", { kind: "release-lease", epoch: reign.epoch });
  }
  if (!postgres.isProvisioned) return act("provisioning", { kind: "provision" });
  if (postgres.checkpointTimeline !== postgres.timeline && mayCheckpoint(view, postgres)) {
    return act("checkpointing", { kind: "checkpoint" });
  }
  if (isToRestart(view, "in-place")) return restartInPlace(view, reign);
  if (view.hasAside) return act("cleaning-up", { kind: "discard-aside" });
  // Until its cohort is settled, a reign leans on the rules of others: what the standbys have flushed is awaited.
  const isSettled = reign.pendingCohort === null && reign.inheritedRules.length === 0;
  return isSettled ? wait("serving") : wait("serving", null, "soon");
}

/** How long a primary may take to end cleanly: what it has not ended by then it is not started again from, but failed over. */
const IN_PLACE_STOP_MS_MAX = 5_000;

/** Most is written out before, while it serves. */
function restartInPlace(view: MemberView, { epoch }: Reign): Plan {
  return act(
    "restarting",
    { kind: "checkpoint" },
    {
      kind: "restart-in-place",
      epoch,
      withinMs: IN_PLACE_STOP_MS_MAX,
      needsLease: needsLease(view.state),
    },
  );
}

/** How long the first checkpoint of a reign waits for its first commits. */
const CHECKPOINT_PATIENCE_MS = 1_000;

/**
 * Writing everything out delays the first commits of a reign, so they go first. But not for ever: the very standbys that
 * they wait for may need the checkpoint to be rewound.
 */
function mayCheckpoint(view: MemberView, postgres: PrimaryStatus): boolean {
  return view.reignKnownMs > CHECKPOINT_PATIENCE_MS || isWritable(view.state, view.selfId, postgres);
}

/**
 * Moves a running primary to another cohort. From "no synchronous standbys" to some, a checkpoint follows the reload: the
 * checkpointer is the process that tells all sessions to wait, and a checkpoint that it completed after the reload proves
 * that it has read the setting.
 */
function configurePrimary(
  view: MemberView,
  reign: Reign,
  settings: ManagedSettings,
  postgres: PrimaryStatus,
): Plan {
  const isAlone = isLeasedReign(reign) && settings.synchronousStandbyNames === null;
  if (isAlone && !holdsLease(view, reign)) return wait("waiting-for-lease", null, "soon");
  const configure: Action = {
    kind: "configure",
    ...reignOf(reign),
    settings,
    ...(isAlone ? { needsLease: isAlone } : {}),
  };
  const isFirstRule = postgres.synchronous.names === "" && settings.synchronousStandbyNames !== null;
  const actions: readonly Action[] = isFirstRule
    ? [configure, { kind: "reload" }, { kind: "checkpoint" }]
    : [configure, { kind: "reload" }];
  return act("configuring", ...actions);
}

function isConfigured(view: MemberView, settings: ManagedSettings): boolean {
  return view.settingsHash === view.hashSettings(settings);
}

/** What the supervisor keeps of a reign whose WAL it lets in. */
function reignOf({ epoch, timelines }: Reign): Pick<Reign, "epoch" | "timelines"> {
  return { epoch, timelines };
}
