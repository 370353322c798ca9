/**
 * Who follows: among the members that pledged, the most advanced; among equals who is not being removed, then
 * the switchover's target, then the operator's priority, then who has least left to replay.
 */
import { assert } from "../base/assert.ts";
import type { MemberId } from "../base/ids.ts";
import { comparePositions } from "../base/lsn.ts";
import type { StandbyStatus, TimelineEpoch } from "../cluster/observation.ts";
import { mayDegrade, synchronousStandbysOf } from "../cluster/spec.ts";
import { type Cohort, memberById, type Reign, rulesOf } from "../cluster/state.ts";
import { compareWal, type EpochPosition, epochOfTimeline, withTimeline } from "../cluster/timelines.ts";
import { type ClusterView, dataMembers, isHeard } from "./cluster-view.ts";
import { areEnoughPledged } from "./quorum.ts";

/** A pledged member whose WAL is known and cannot grow under the old reign any more. */
interface Candidate {
  readonly memberId: MemberId;
  readonly position: EpochPosition;
  readonly timelines: readonly TimelineEpoch[];
  readonly replayLeftBytes: number;
  readonly priority: number;
  readonly isEligible: boolean;
  readonly isPreferred: boolean;
  readonly isLeaving: boolean;
}

export type Succession =
  /** The reign is not revoked, or its commits cannot be found yet. `missing` might help. */
  | { readonly kind: "waiting"; readonly missing: readonly MemberId[] }
  /** Who holds everything may not be promoted. */
  | { readonly kind: "blocked"; readonly byId: MemberId }
  | {
      readonly kind: "chosen";
      readonly memberId: MemberId;
      readonly position: EpochPosition;
      readonly timelines: readonly TimelineEpoch[];
      readonly cohort: Cohort;
      readonly passedOver: readonly { readonly memberId: MemberId; readonly reason: string }[];
    };

/**
 * Chooses the successor of a fenced reign, or says what is missing.
 *
 * WAL is ordered as Raft orders logs, by the reign that wrote it and then by length.
 *
 * Invariant (F1): the chosen member is at least as advanced as a set of members that meets every set which can have
 * acknowledged a commit; or it is as advanced as the old primary itself, stopped and pledged.
 */
export function chooseSuccessor(view: ClusterView, reign: Reign): Succession {
  assert(reign.fence !== null, "a successor is chosen for a fenced reign only");
  const candidates = pledgedCandidates(view, reign);
  const pledged = new Set(candidates.map(({ memberId }) => memberId));
  const isRevokedAndDiscovered = pledged.has(reign.primaryId) || areEnoughPledged(reign, pledged);
  if (!isRevokedAndDiscovered)
    return { kind: "waiting", missing: participants(reign).filter((id) => !pledged.has(id)) };

  const ranked = [...candidates].sort(byMerit);
  const [furthest] = ranked;
  assert(furthest !== undefined, "a discovered set is not empty");
  const holdsEverything = ({ position }: Candidate) => compareWal(position, furthest.position) === 0;
  const chosen = ranked.find((candidate) => candidate.isEligible && holdsEverything(candidate));
  if (chosen === undefined) return { kind: "blocked", byId: furthest.memberId };
  return {
    kind: "chosen",
    memberId: chosen.memberId,
    position: chosen.position,
    timelines: chosen.timelines,
    cohort: nextCohort(view, reign, chosen, candidates),
    passedOver: whyNot(view, chosen, candidates),
  };
}

/** Who can have acknowledged, and the old primary itself. */
function participants(reign: Reign): readonly MemberId[] {
  return [...new Set([reign.primaryId, ...rulesOf(reign).flatMap(({ standbyIds }) => standbyIds)])];
}

function pledgedCandidates(view: ClusterView, reign: Reign): readonly Candidate[] {
  return participants(reign).flatMap((memberId) => {
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
        isPreferred: reign.fence?.preferredId === memberId,
        isLeaving: member.isLeaving === true,
      },
    ];
  });
}

function isBehindAppointment({ timeline, receivedLsn }: StandbyStatus, { appointedAt }: Reign): boolean {
  return appointedAt !== null && comparePositions({ timeline, lsn: receivedLsn }, appointedAt) < 0;
}

function byMerit(a: Candidate, b: Candidate): number {
  return (
    compareWal(b.position, a.position) ||
    Number(a.isLeaving) - Number(b.isLeaving) ||
    Number(b.isPreferred) - Number(a.isPreferred) ||
    b.priority - a.priority ||
    a.replayLeftBytes - b.replayLeftBytes ||
    (a.memberId < b.memberId ? -1 : 1)
  );
}

/**
 * The cohort that the successor begins with: the other members that pledged, since they are there. k never grows with an
 * appointment. Where too few are there for k: `block` names absent members too, so that commits wait for them;
 * `degrade` asks for fewer.
 */
function nextCohort(
  view: ClusterView,
  reign: Reign,
  chosen: Candidate,
  candidates: readonly Candidate[],
): Cohort {
  const { spec } = view.state;
  const isOther = (id: MemberId) => id !== chosen.memberId;
  const k = Math.min(synchronousStandbysOf(spec), ...rulesOf(reign).map((rule) => rule.k));
  const others = candidates.filter(({ memberId }) => isOther(memberId));
  const staying = others.filter(({ isLeaving }) => !isLeaving);
  // Who is being removed still acknowledges where nobody else is there: its removal waits, commits do not.
  const present = (staying.length >= k ? staying : others).map(({ memberId }) => memberId);
  if (present.length >= k) return { standbyIds: present.sort(), k };
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
