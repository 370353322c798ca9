/**
 * Who follows: among the members that pledged, the most advanced; among equals who is not being removed, then
 * whom somebody named, then not the primary that somebody wants replaced, then the operator's priority, then who has least left
 * to replay.
 */
import { assert } from "../base/assert.ts";
import type { MemberId } from "../base/ids.ts";
import { comparePositions } from "../base/lsn.ts";
import { isLossAccepted } from "../cluster/apply-policy.ts";
import type { StandbyStatus, TimelineEpoch } from "../cluster/observation.ts";
import {
  type ClusterSpec,
  failoverOf,
  isLeased as isLeasedSpec,
  mayDegrade,
  synchronousStandbysOf,
} from "../cluster/spec.ts";
import { type Cohort, featureLevelOf, memberById, type Reign, rulesOf } from "../cluster/state.ts";
import { compareWal, type EpochPosition, epochOfTimeline, withTimeline } from "../cluster/timelines.ts";
import { type ClusterView, dataMembers, heardStandby, isHeard, stayingDataMembers } from "./cluster-view.ts";
import { type Relation, relate } from "./lineage.ts";
import { areEnoughPledged, isLeasedReign, mayLackCommits, needsLease } from "./quorum.ts";

/** A pledged member whose WAL is known and cannot grow under the old reign any more. */
interface Candidate {
  readonly memberId: MemberId;
  readonly position: EpochPosition;
  readonly timelines: readonly TimelineEpoch[];
  readonly replayLeftBytes: number;
  readonly priority: number;
  readonly isEligible: boolean;
  readonly isPreferred: boolean;
  /** The primary itself, whose reign a person ended: among equals another follows. */
  readonly isUnwanted: boolean;
  readonly isLeaving: boolean;
}

export type Succession =
  /** The reign is not revoked, or its commits cannot be found yet. `missing` might help. */
  | { readonly kind: "waiting"; readonly missing: readonly MemberId[]; readonly offer: LossOffer | null }
  /** The primary may hold a lease until then. */
  | { readonly kind: "lease"; readonly untilMs: number }
  /** The old primary, or a standby that is about to pledge, is given the time to. */
  | {
      readonly kind: "patience";
      readonly reason: "primary-restarting" | "standbys-pledging";
      readonly untilMs: number;
    }
  /** Who holds everything may not be promoted. */
  | { readonly kind: "blocked"; readonly byId: MemberId; readonly offer: LossOffer | null }
  /** Under a lease: who is furthest lacks more than may be lost without asking. */
  | { readonly kind: "too-far-behind"; readonly lacksBytes: number; readonly offer: LossOffer }
  | {
      readonly kind: "chosen";
      readonly memberId: MemberId;
      readonly position: EpochPosition;
      readonly timelines: readonly TimelineEpoch[];
      readonly cohort: Cohort;
      readonly passedOver: readonly { readonly memberId: MemberId; readonly reason: string }[];
      /** What may be lost, in words; null: nothing that was acknowledged. */
      readonly loss: string | null;
    };

/** Whom a person could have appointed all the same, taking the loss of what that member lacks. */
export interface LossOffer {
  readonly memberId: MemberId;
  readonly position: EpochPosition;
}

/**
 * Chooses the successor of a fenced reign, or says what is missing.
 *
 * WAL is ordered as Raft orders logs, by the reign that wrote it and then by length.
 *
 * Invariant (F1): the chosen member is at least as advanced as a set of members that meets every set which can have
 * acknowledged a commit; or it is as advanced as the old primary itself, stopped and pledged; or the reign was leased, or a
 * person took the loss, and `loss` says so. That holds of a target outside every rule as well: what it has begins with all that
 * such a member has (`namedOutsider`).
 */
export function chooseSuccessor(view: ClusterView, reign: Reign): Succession {
  assert(reign.fence !== null, "a successor is chosen for a fenced reign only");
  const inside = pledgedCandidates(view, reign, participants(view, reign));
  const pledged = new Set(inside.map(({ memberId }) => memberId));
  const last = cleanEnd(view, reign);
  const hasEnd = ({ position }: Candidate) => last !== null && isBeyond(position, last);
  const outsider = namedOutsider(view, reign);
  const mayWin = outsider !== null && (hasEnd(outsider) || goesOnFrom(outsider, inside));
  const candidates = mayWin ? [...inside, outsider] : inside;
  const ranked = [...candidates].sort(byMerit);
  const taken = ranked.find(
    (candidate) => candidate.isEligible && isLossAccepted(view.state, candidate, view.nowWallMs),
  );
  const isLeased = isLeasedReign(reign);
  const isLeaseOver = hasPrimaryStopped(view, reign) || view.nowMs >= view.leaseUntilMs;
  const isDiscovered =
    pledged.has(reign.primaryId) ||
    areEnoughPledged(reign, pledged, isLeaseOver) ||
    ranked.some((candidate) => hasEnd(candidate) && candidate.isEligible);
  if (!isDiscovered) {
    // Whoever took a loss took what was shown, and not what the old primary acknowledges, or answers, meanwhile (F6).
    const isWaitedFor = isLeased || (taken !== undefined && needsLease(view.state));
    if (isWaitedFor && !isLeaseOver) return { kind: "lease", untilMs: view.leaseUntilMs };
    if (taken !== undefined) return choose(view, reign, taken, candidates, "a person took the loss");
    const missing = participants(view, reign).filter((id) => !pledged.has(id));
    return { kind: "waiting", missing, offer: offerOf(ranked) };
  }
  // Its commits are safe; what is read from it would be of the past as soon as another reigns.
  if (needsLease(view.state) && !isLeaseOver) return { kind: "lease", untilMs: view.leaseUntilMs };
  const patience = givePatience(view, reign, pledged, isLeased);
  if (patience !== null && taken === undefined) return patience;

  const [furthest] = ranked;
  if (furthest === undefined) return { kind: "waiting", missing: participants(view, reign), offer: null };
  const holdsEverything = ({ position }: Candidate) => compareWal(position, furthest.position) === 0;
  // Under a lease alone nobody was promised anything; any other rule must be kept.
  const isPromised = rulesOf(reign).some((rule) => rule.isLeased !== true);
  const able = ranked.find(
    (each) =>
      each.isEligible &&
      (isPromised ? holdsEverything(each) || hasEnd(each) : relationOf(view, reign, each).kind !== "alien"),
  );
  const chosen = taken ?? able;
  if (chosen === undefined) return { kind: "blocked", byId: furthest.memberId, offer: offerOf(ranked) };
  if (chosen === taken && !holdsEverything(chosen))
    return choose(view, reign, chosen, candidates, "a person took the loss");
  if (!mayLackCommits(reign) || chosen.memberId === reign.primaryId || hasEnd(chosen))
    return choose(view, reign, chosen, candidates, null);
  const lacksBytes = lackOf(view, reign, chosen);
  if (lacksBytes > lackAllowed(view) && chosen !== taken)
    return {
      kind: "too-far-behind",
      lacksBytes,
      offer: { memberId: chosen.memberId, position: chosen.position },
    };
  return choose(view, reign, chosen, candidates, leaseLoss(lacksBytes));
}

function choose(
  view: ClusterView,
  reign: Reign,
  chosen: Candidate,
  candidates: readonly Candidate[],
  loss: string | null,
): Succession {
  return {
    kind: "chosen",
    memberId: chosen.memberId,
    position: chosen.position,
    timelines: chosen.timelines,
    cohort: nextCohort(view, reign, chosen, candidates),
    passedOver: whyNot(view, chosen, candidates),
    loss,
  };
}

/** The member to whom a person could give the reign, taking a loss: the furthest that may be promoted. */
function offerOf(ranked: readonly Candidate[]): LossOffer | null {
  const best = ranked.find(({ isEligible }) => isEligible);
  return best === undefined ? null : { memberId: best.memberId, position: best.position };
}

/**
 * The old primary runs no more and has promised to reign under this epoch no more: its supervisor refuses to promote it. Where
 * it had a lease, it needs none now.
 */
function hasPrimaryStopped(view: ClusterView, reign: Reign): boolean {
  const observation = view.observations.get(reign.primaryId);
  if (observation === undefined || observation.status.promises.pledgedEpoch < reign.epoch) return false;
  const { kind } = observation.status.postgres;
  return kind === "stopped" || kind === "starting" || kind === "standby" || kind === "absent";
}

/**
 * Where the old primary stopped cleanly and pledged: the checkpoint that it ended with. It wrote nothing after that, and will
 * not, so a standby on the same timeline that has received any of what lies beyond its beginning has every commit (F1), and
 * nobody else can acknowledge any more (F5).
 */
function cleanEnd(view: ClusterView, reign: Reign): EpochPosition | null {
  const status = view.observations.get(reign.primaryId)?.status;
  // A standby that was stopped ends with an older checkpoint, beyond which there is more.
  if (status?.postgres.kind !== "stopped" || status.postgres.isFinal !== true) return null;
  const { promises, postgres } = status;
  // It must have ended this very reign, not one before.
  if (promises.pledgedEpoch < reign.epoch || promises.walEpoch !== reign.epoch) return null;
  if (postgres.timeline !== reign.lineage?.timeline) return null;
  return { epoch: reign.epoch, timeline: postgres.timeline, lsn: postgres.checkpointLsn };
}

function isBeyond(position: EpochPosition, end: EpochPosition): boolean {
  return position.epoch === end.epoch && position.timeline === end.timeline && position.lsn > end.lsn;
}

/** How long a standby that is heard may take to pledge, where pledges are not what the reign's end waits for. */
const PLEDGE_MS_MAX = 4_000;
/** The same for a switchover's target: whoever named it waits for it, but writes stand still meanwhile. */
const TARGET_PLEDGE_MS_MAX = 1_000;

/**
 * Where the commits are safe already, or were promised to nobody, it still pays to wait a little: for the primary that comes
 * back with everything, and for the standby that is the furthest.
 */
function givePatience(
  view: ClusterView,
  reign: Reign,
  pledged: ReadonlySet<MemberId>,
  isLeased: boolean,
): Extract<Succession, { kind: "patience" }> | null {
  const sinceMs = view.fenceSinceMs ?? view.nowMs;
  const restartUntilMs = sinceMs + failoverOf(view.state.spec).restartMsMax;
  if (isToComeBack(view, reign) && !pledged.has(reign.primaryId) && view.nowMs < restartUntilMs)
    return { kind: "patience", reason: "primary-restarting", untilMs: restartUntilMs };
  const targetId = reign.fence?.preferredId;
  const targetUntilMs = sinceMs + TARGET_PLEDGE_MS_MAX;
  const isTargetAwaited =
    targetId != null &&
    (isFollowingOutsider(view, reign, targetId)
      ? isOutsiderAboutToPledge(view, reign, targetId)
      : participants(view, reign).includes(targetId) && isAboutToPledge(view, targetId, pledged)) &&
    view.observations.get(targetId)?.isConnected !== false;
  if (isTargetAwaited && view.nowMs < targetUntilMs)
    return { kind: "patience", reason: "standbys-pledging", untilMs: targetUntilMs };
  if (!isLeased || pledged.has(reign.primaryId)) return null;
  const untilMs = sinceMs + PLEDGE_MS_MAX;
  const isAwaited = participants(view, reign).some(
    (id) => id !== reign.primaryId && isAboutToPledge(view, id, pledged),
  );
  return isAwaited && view.nowMs < untilMs
    ? { kind: "patience", reason: "standbys-pledging", untilMs }
    : null;
}

function isAboutToPledge(view: ClusterView, id: MemberId, pledged: ReadonlySet<MemberId>): boolean {
  return !pledged.has(id) && heardStandby(view, id) !== null;
}

function isOutsiderAboutToPledge(view: ClusterView, reign: Reign, id: MemberId): boolean {
  const standby = heardStandby(view, id);
  const pledgedEpoch = view.observations.get(id)?.status.promises.pledgedEpoch ?? 0;
  return standby !== null && (pledgedEpoch < reign.epoch || standby.walReceiver !== null);
}

/** The primary crashed, its member is there, and the policy says to let it come back first. */
function isToComeBack(view: ClusterView, reign: Reign): boolean {
  if (reign.fence?.reason !== "postmaster-died" || !isRestartFirst(view.state.spec)) return false;
  return isHeard(view, reign.primaryId);
}

/** Whether a primary that crashed is brought back rather than replaced. */
export function isRestartFirst(spec: ClusterSpec): boolean {
  const { onCrash } = failoverOf(spec);
  return onCrash === "auto" ? isLeasedSpec(spec) : onCrash === "restart";
}

/**
 * What a leased successor lacks of what the primary was seen to have, from where its history turned off, where it did: what comes
 * after that is not the primary's. Where nothing was seen, nothing can be said.
 */
function lackOf(view: ClusterView, reign: Reign, candidate: Candidate): number {
  if (view.primaryLsn === null) return 0;
  const relation = relationOf(view, reign, candidate);
  const { lsn } = candidate.position;
  const sharedLsn = relation.kind === "forked" ? Math.min(lsn, relation.atLsn) : lsn;
  return Math.max(0, view.primaryLsn - sharedLsn);
}

/**
 * How far a candidate's WAL is the reign's. Under a lease alone any that lacks little may follow; but one whose timelines only have the
 * numbers of the primary's lacks everything since they parted, however far it seems to be. (Found by the simulation, seed 415.)
 */
function relationOf(view: ClusterView, reign: Reign, { memberId, position }: Candidate): Relation {
  const promises = view.observations.get(memberId)?.status.promises;
  if (promises === undefined) return { kind: "unknown" };
  return relate({ timeline: position.timeline, replayedLsn: position.lsn, promises }, reign);
}

function lackAllowed({ state: { spec } }: ClusterView): number {
  return spec.durability.mode === "async" ? spec.durability.maxLagBytes : Number.POSITIVE_INFINITY;
}

function leaseLoss(lacksBytes: number): string {
  return lacksBytes === 0
    ? "async durability: commits may be lost that the old primary acknowledged since it was seen last"
    : `async durability: at least ${lacksBytes} bytes of WAL are lost that the old primary was seen to have`;
}

/** Who can have acknowledged, and the old primary itself. Under a lease anybody with data may follow. */
function participants(view: ClusterView, reign: Reign): readonly MemberId[] {
  const acknowledging = rulesOf(reign).flatMap(({ standbyIds }) => standbyIds);
  const others = isLeasedReign(reign) ? stayingDataMembers(view.state).map(({ id }) => id) : [];
  return [...new Set([reign.primaryId, ...acknowledging, ...others])];
}

/**
 * The member that somebody named, where it stands outside every rule: it followed this very reign, by its own books, and has
 * pledged. It counts for nothing when the reign is revoked, and may win all the same (`goesOnFrom`).
 */
function namedOutsider(view: ClusterView, reign: Reign): Candidate | null {
  const targetId = reign.fence?.preferredId ?? null;
  if (targetId === null || !isFollowingOutsider(view, reign, targetId)) return null;
  const [candidate = null] = pledgedCandidates(view, reign, [targetId]);
  return candidate?.isEligible === true && !candidate.isLeaving ? candidate : null;
}

function isFollowingOutsider(view: ClusterView, reign: Reign, id: MemberId): boolean {
  // What is received by the settings of a reign before is taken for older than it is, so that nothing can be said of it.
  const isFollowing = view.observations.get(id)?.status.promises.walEpoch === reign.epoch;
  return isFollowing && !participants(view, reign).includes(id);
}

/**
 * Whether what a member has begins with all that the furthest of `inside` has: the same timeline, written by the same reign, at
 * least as long. One reign has one writer, so the shorter one is a beginning of the longer.
 */
function goesOnFrom({ position, timelines }: Candidate, inside: readonly Candidate[]): boolean {
  const [furthest] = [...inside].sort(byMerit);
  if (furthest === undefined) return false;
  const isSameTimeline =
    position.epoch === furthest.position.epoch && position.timeline === furthest.position.timeline;
  // As the timeline is, so is all that it grew out of: books that say otherwise are not trusted.
  const agrees = timelines.every(({ timeline, epoch }) => {
    const theirs = furthest.timelines.find((each) => each.timeline === timeline);
    return theirs === undefined || theirs.epoch === epoch;
  });
  return isSameTimeline && agrees && position.lsn >= furthest.position.lsn;
}

function pledgedCandidates(
  view: ClusterView,
  reign: Reign,
  memberIds: readonly MemberId[],
): readonly Candidate[] {
  return memberIds.flatMap((memberId) => {
    const observation = view.observations.get(memberId);
    const member = memberById(view.state, memberId);
    if (observation === undefined || member === undefined || !isHeard(view, memberId)) return [];
    const { postgres, promises } = observation.status;
    if (promises.pledgedEpoch < reign.epoch) return [];
    // A position counts only once nothing is received any more: the walreceiver is gone after the pledge.
    if (postgres.kind !== "standby" || postgres.walReceiver !== null) return [];
    if (postgres.systemIdentifier !== view.state.systemIdentifier) return [];
    // The old primary counts by its own WAL: it must still have what it was appointed for.
    if (memberId === reign.primaryId && isBehindAppointment(postgres, reign)) return [];
    return [
      {
        memberId,
        position: {
          epoch: epochOfTimeline(promises, postgres.timeline),
          timeline: postgres.timeline,
          lsn: postgres.receivedLsn,
        },
        timelines: withTimeline(promises, postgres.timeline),
        replayLeftBytes: postgres.receivedLsn - postgres.replayedLsn,
        priority: member.tags.failoverPriority,
        isEligible: !member.tags.isNoFailover,
        isPreferred: preferredOf(view, reign) === memberId,
        isUnwanted: reign.fence?.reason === "operator" && memberId === reign.primaryId,
        isLeaving: member.isLeaving === true,
      },
    ];
  });
}

/** Among those that hold everything: whom somebody named, or the crashed primary where it shall come back. */
function preferredOf(view: ClusterView, reign: Reign): MemberId | null {
  return reign.fence?.preferredId ?? (isToComeBack(view, reign) ? reign.primaryId : null);
}

function isBehindAppointment({ timeline, receivedLsn }: StandbyStatus, { appointedAt }: Reign): boolean {
  return appointedAt !== null && comparePositions({ timeline, lsn: receivedLsn }, appointedAt) < 0;
}

function byMerit(a: Candidate, b: Candidate): number {
  return (
    compareWal(b.position, a.position) ||
    Number(a.isLeaving) - Number(b.isLeaving) ||
    Number(b.isPreferred) - Number(a.isPreferred) ||
    Number(a.isUnwanted) - Number(b.isUnwanted) ||
    b.priority - a.priority ||
    a.replayLeftBytes - b.replayLeftBytes ||
    (a.memberId < b.memberId ? -1 : 1)
  );
}

/** The primary acknowledges alone, under a lease. */
export const LEASED_COHORT: Cohort = { standbyIds: [], k: 0, isLeased: true };

/**
 * The cohort that the successor begins with: the other members that pledged, since they are there. k never grows with an
 * appointment. Where too few are there for k: with `block` commits wait; `degrade` asks for fewer.
 */
function nextCohort(
  view: ClusterView,
  reign: Reign,
  chosen: Candidate,
  candidates: readonly Candidate[],
): Cohort {
  const { spec } = view.state;
  if (isLeasedSpec(spec)) return LEASED_COHORT;
  const isOther = (id: MemberId) => id !== chosen.memberId;
  // A reign under a lease had no k to begin with; what it hands on is what the spec asks for.
  const before = rulesOf(reign).filter(({ isLeased }) => isLeased !== true);
  const k = Math.min(synchronousStandbysOf(spec), ...before.map((rule) => rule.k));
  const others = candidates.filter(({ memberId }) => isOther(memberId));
  const staying = others.filter(({ isLeaving }) => !isLeaving);
  // Who is being removed still acknowledges where nobody else is there: its removal waits, commits do not.
  const present = (staying.length >= k ? staying : others).map(({ memberId }) => memberId);
  if (present.length >= k) return { standbyIds: present.sort(), k };
  // Absent members are not named: one whose member hears nothing may still receive by its old settings, and would acknowledge
  // for a reign that it does not know of. With more asked for than are named, commits wait; who knows of the reign joins.
  if (!mayDegrade(spec) && featureLevelOf(view.state) >= 3) return { standbyIds: present.sort(), k };
  if (mayDegrade(spec)) return { standbyIds: present.sort(), k: present.length };
  const all = dataMembers(view.state)
    .filter(({ id, isLeaving }) => isOther(id) && (!isLeaving || present.includes(id)))
    .map(({ id }) => id);
  return { standbyIds: all.sort(), k: Math.min(k, all.length) };
}

function whyNot(view: ClusterView, chosen: Candidate, candidates: readonly Candidate[]) {
  const others = dataMembers(view.state).filter(({ id }) => id !== chosen.memberId);
  return others.map(({ id }) => {
    const candidate = candidates.find(({ memberId }) => memberId === id);
    return {
      memberId: id,
      reason: candidate === undefined ? whyAbsent(view, id) : whyLess(chosen, candidate),
    };
  });
}

function whyAbsent(view: ClusterView, id: MemberId): string {
  if (!isHeard(view, id)) return "silent";
  const kind = view.observations.get(id)?.status.postgres.kind ?? "unknown";
  return `no pledged standby (${kind})`;
}

function whyLess(chosen: Candidate, other: Candidate): string {
  const behind = compareWal(chosen.position, other.position);
  if (chosen.position.epoch > other.position.epoch) return `its WAL is of epoch ${other.position.epoch}`;
  if (behind > 0) return `behind by ${chosen.position.lsn - other.position.lsn} bytes`;
  if (!other.isEligible) return "tagged no-failover";
  if (other.isLeaving) return "being removed";
  if (chosen.isPreferred) return "not the switchover's target";
  if (other.priority < chosen.priority) return `priority ${other.priority} is lower`;
  return "as good";
}
