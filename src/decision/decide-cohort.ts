/**
 * Who must acknowledge: moves the primary's synchronous standbys to who is there, one step at a time.
 *
 * Every step is announced in the log first, then the primary moves, then it is settled. In between, both rules count for
 * a revocation, so the order in which the primary's sessions notice does not matter. A step is settled only once enough
 * of the new cohort hold everything that the old rule may have acknowledged.
 */
import type { MemberId } from "../base/ids.ts";
import type { Member } from "../cluster/member.ts";
import type { PrimaryStatus } from "../cluster/observation.ts";
import { isLeased, mayDegrade, synchronousStandbysOf } from "../cluster/spec.ts";
import {
  type Cohort,
  featureLevelOf,
  memberById,
  newestCohort,
  type Reign,
  standbyNameOf,
} from "../cluster/state.ts";
import { cohortNames } from "../cluster/writable.ts";
import { LEASED_COHORT } from "./choose-successor.ts";
import { type ClusterDecision, hold, propose } from "./cluster-decision.ts";
import {
  type ClusterView,
  dataMembers,
  heardStandby,
  isHeard,
  silentMs,
  stayingDataMembers,
} from "./cluster-view.ts";
import type { Reason } from "./reasons.ts";

export function decideCohort(
  view: ClusterView,
  reign: Reign,
  primary: PrimaryStatus,
): ClusterDecision | null {
  const isUnsettled = reign.pendingCohort !== null || reign.inheritedRules.length > 0;
  if (isUnsettled) {
    const announced = reign.pendingCohort ?? reign.cohort;
    return retreat(view, reign, primary, announced) ?? settle(view, reign, primary, announced);
  }
  const step = nextStep(view, reign, primary);
  if (step === null) return null;
  if (step.cohort === null) return hold(step.reason);
  return propose({ kind: "change-cohort", epoch: reign.epoch, cohort: step.cohort }, step.reason);
}

/**
 * Whether the primary's walsenders have all read the announced setting: each shows the standing of its own standby. (The
 * session that shows the setting itself may have read it before them.)
 */
function isKnownToSenders(view: ClusterView, primary: PrimaryStatus, pending: Cohort): boolean {
  const names = pending.k === 0 ? [] : pending.standbyIds.map((id) => standbyNameOf(view.state, id));
  return primary.standbys.every(({ name, state, syncState }) => {
    return state !== "streaming" || (syncState === "quorum") === names.includes(name);
  });
}

function settle(view: ClusterView, reign: Reign, primary: PrimaryStatus, pending: Cohort): ClusterDecision {
  const isShown = primary.synchronous.names === cohortNames(view.state, pending);
  const isInEffect = isShown && isSeenOf(view, reign) && isKnownToSenders(view, primary, pending);
  const since = primary.synchronous.sinceLsn;
  const holders = pending.standbyIds.filter((id) => {
    const connection = connectionOf(view, primary, id);
    return (
      connection?.flushedLsn !== undefined && connection.flushedLsn !== null && connection.flushedLsn >= since
    );
  });
  // Before the primary acknowledges alone, its supervisor must know when to end that (F6).
  const lease = view.observations.get(reign.primaryId)?.status.lease;
  const lacksLease = pending.isLeased === true && lease?.epoch !== reign.epoch;
  if (!isInEffect || lacksLease || holders.length < pending.k) return hold("cohort-settling");
  const { number } = newestCohort(reign);
  const counted = featureLevelOf(view.state) < 4 ? {} : { number };
  return propose(
    { kind: "settle-cohort", epoch: reign.epoch, cohort: pending, ...counted },
    "cohort-settled",
  );
}

/**
 * The primary knew of this cohort when it looked. It may have had the same rule before, left it, and be on its way back: what was
 * seen of the first time, and came late, says nothing of the second. (Found by the simulation, seed 155.)
 */
function isSeenOf(view: ClusterView, reign: Reign): boolean {
  if (featureLevelOf(view.state) < 4) return true;
  const known = view.observations.get(reign.primaryId)?.status.cohortKnown;
  const newest = newestCohort(reign);
  return known?.epoch === newest.epoch && known.number === newest.number;
}

interface Step {
  readonly cohort: Cohort | null;
  readonly reason: Reason;
}

function nextStep(view: ClusterView, reign: Reign, primary: PrimaryStatus): Step | null {
  const synchronousStandbys = synchronousStandbysOf(view.state.spec);
  const { standbyIds, k } = reign.cohort;
  const streams = ({ id }: Member) =>
    connectionOf(view, primary, id)?.state === "streaming" && isHeard(view, id);
  const keepsUp = (member: Member) => streams(member) && !isStuck(view, primary, member.id);
  // Where fewer may be asked for, commits do not wait for one that stands still until it is silent for long.
  const isThere = isStalled(view, primary) ? keepsUp : streams;
  const streaming = dataMembers(view.state)
    .filter(isThere)
    .map(({ id }) => id);
  const staying = stayingDataMembers(view.state)
    .filter((member) => keepsUp(member) && member.tags.isNoSync !== true && knowsOf(view, reign, member.id))
    .map(({ id }) => id);
  const leased = leaseStep(view, reign, staying);
  if (leased !== "as-it-is") return leased;

  const added = staying.find((id) => !standbyIds.includes(id));
  if (added !== undefined)
    return { cohort: { standbyIds: [...standbyIds, added].sort(), k }, reason: "cohort-growing" };

  // Only those that stream can acknowledge: to ask for more would undo what `degrade` has just allowed.
  const present = standbyIds.filter((id) => staying.includes(id)).length;
  if (k < Math.min(synchronousStandbys, present))
    return { cohort: { standbyIds, k: k + 1 }, reason: "cohort-strengthening" };
  if (k > synchronousStandbys) return { cohort: { standbyIds, k: k - 1 }, reason: "cohort-easing" };

  const release = releaseStep(view, reign, staying.length);
  if (release !== null && release.cohort !== null) return release;

  // While enough others stream, one that runs and is heard is only reconnecting: it can pledge, so it may stay.
  const missing = standbyIds.filter((id) => !streaming.includes(id));
  const lost = streaming.length >= k ? missing.find((id) => heardStandby(view, id) === null) : missing[0];
  if (lost === undefined && release === null && streaming.length < k && standbyIds.length < k) {
    return mayDegrade(view.state.spec) && k > 0
      ? { cohort: { standbyIds, k: k - 1 }, reason: "cohort-weakening" }
      : { cohort: null, reason: "quorum-lost" };
  }
  if (lost === undefined) return release;
  const left = standbyIds.filter((id) => id !== lost);
  if (streaming.length >= k)
    return { cohort: { standbyIds: left, k: Math.min(k, left.length) }, reason: "cohort-shrinking" };
  if (!mayDegrade(view.state.spec) || k === 0) return { cohort: null, reason: "quorum-lost" };
  return { cohort: { standbyIds, k: k - 1 }, reason: "cohort-weakening" };
}

/**
 * It follows this very reign, on disk. One that receives by the settings of a reign before (its member is frozen, or cut off)
 * must not acknowledge: nobody would know, when it counts, that what it has is of this reign.
 */
function knowsOf(view: ClusterView, { epoch }: Reign, id: MemberId): boolean {
  return view.observations.get(id)?.status.promises.walEpoch === epoch;
}

/** How long a commit may wait, or a standby stand still, before commits stop asking for it. */
const STALL_MS = 400;

function isStalled(view: ClusterView, { commitWaitMs = null }: PrimaryStatus): boolean {
  return mayDegrade(view.state.spec) && commitWaitMs !== null && commitWaitMs >= STALL_MS;
}

/** It is connected, and has flushed nothing of what it lacks for a while; or its member has just fallen silent. */
function isStuck(view: ClusterView, primary: PrimaryStatus, id: MemberId): boolean {
  const stuckMs = connectionOf(view, primary, id)?.stuckMs ?? 0;
  return stuckMs >= STALL_MS || (isStalled(view, primary) && silentMs(view, id) >= STALL_MS);
}

/** From acknowledging alone under a lease to a quorum, or back, as the spec says; `as-it-is`: no lease is concerned. */
function leaseStep(view: ClusterView, reign: Reign, staying: readonly MemberId[]): Step | null | "as-it-is" {
  const { spec } = view.state;
  const hasLease = reign.cohort.isLeased === true;
  if (isLeased(spec)) return hasLease ? null : { cohort: LEASED_COHORT, reason: "cohort-leasing" };
  if (!hasLease) return "as-it-is";
  const standbyIds = [...staying].filter((id) => id !== reign.primaryId).sort();
  const k = Math.min(synchronousStandbysOf(spec), standbyIds.length);
  const isAlone = stayingOthers(view, reign).length === 0;
  if (k === 0 && !isAlone && !mayDegrade(spec)) return { cohort: null, reason: "quorum-lost" };
  return { cohort: { standbyIds, k }, reason: "cohort-leaving-lease" };
}

/**
 * One step towards a cohort without those that are being removed, or were left behind by a recovery, or shall be in none.
 *
 * As long as enough members stay that could acknowledge, their removal waits until enough of them do. Where too few stay at
 * all, removing them means asking for fewer: whoever said so took that into account, whatever `onQuorumLoss` says of losses.
 */
function releaseStep(view: ClusterView, reign: Reign, streamingCount: number): Step | null {
  const { standbyIds, k } = reign.cohort;
  const others = stayingOthers(view, reign);
  const isNoSync = (id: MemberId) => memberById(view.state, id)?.tags.isNoSync === true;
  const leaving = standbyIds.find((id) => !others.includes(id)) ?? standbyIds.find(isNoSync);
  if (leaving === undefined) return null;
  if (streamingCount >= k) {
    const left = standbyIds.filter((id) => id !== leaving);
    return { cohort: { standbyIds: left, k: Math.min(k, left.length) }, reason: "cohort-releasing" };
  }
  if (others.length < k) return { cohort: { standbyIds, k: k - 1 }, reason: "cohort-releasing" };
  return { cohort: null, reason: "removal-would-block" };
}

/** A cohort was announced that those who stay can never satisfy: the next one counts others, or asks for less. */
function retreat(
  view: ClusterView,
  reign: Reign,
  primary: PrimaryStatus,
  { standbyIds, k }: Cohort,
): ClusterDecision | null {
  if (featureLevelOf(view.state) < 2) return null;
  const others = stayingOthers(view, reign);
  if (standbyIds.filter((id) => others.includes(id)).length >= k) return null;
  const streaming = others.filter(
    (id) => connectionOf(view, primary, id)?.state === "streaming" && knowsOf(view, reign, id),
  );
  const all = [...new Set([...standbyIds, ...streaming])].sort();
  const isWeaker = all.length === standbyIds.length;
  if (isWeaker && others.length >= k) return null;
  const cohort = isWeaker ? { standbyIds, k: k - 1 } : { standbyIds: all, k };
  return propose({ kind: "change-cohort", epoch: reign.epoch, cohort }, "cohort-releasing");
}

function stayingOthers(view: ClusterView, reign: Reign): readonly MemberId[] {
  return stayingDataMembers(view.state)
    .map(({ id }) => id)
    .filter((id) => id !== reign.primaryId);
}

function connectionOf(view: ClusterView, primary: PrimaryStatus, id: MemberId) {
  const name = standbyNameOf(view.state, id);
  return primary.standbys.find((standby) => standby.name === name);
}
