/**
 * What would happen if these members were lost now? Answered with the very decisions that would be made then: the successor is
 * chosen by `chooseSuccessor` in a world in which the lost are silent and everybody else has pledged where it stands.
 */
import type { MemberId } from "../base/ids.ts";
import { mayDegrade } from "../cluster/spec.ts";
import { type Cohort, type FailoverRecord, leaseMsOf, memberName, type Reign } from "../cluster/state.ts";
import { streamingOf } from "../cluster/writable.ts";
import { chooseSuccessor, type LossOffer, type Succession } from "./choose-successor.ts";
import type { ClusterView } from "./cluster-view.ts";
import { heardStandby, isHeard } from "./cluster-view.ts";
import { crashLoop } from "./crash-loop.ts";
import { needsLease } from "./quorum.ts";
import type { Reason } from "./reasons.ts";

export interface Explanation {
  readonly outcome: /** There is no primary that could be lost. */
    | "no-primary"
    /** The primary is not concerned, and commits go on. */
    | "goes-on"
    /** The primary is not concerned; commits wait, or ask for fewer copies. */
    | "commits-wait"
    | "commits-weaker"
    | "failover"
    /** The reign would end, and nobody could be appointed; or nothing would be done. */
    | "held";
  /** Why, where something stands in the way. */
  readonly reason: Reason | null;
  readonly detail: string | null;
  readonly isMajorityLeft: boolean;
  readonly successorId: MemberId | null;
  readonly cohort: Cohort | null;
  readonly passedOver: readonly { readonly memberId: MemberId; readonly reason: string }[];
  /** From the loss to its being acted on, and to the first commit that is acknowledged again; null: not by itself. */
  readonly detectionMs: number | null;
  readonly writableAfterMs: number | null;
  /** What may be lost of what was acknowledged; null: nothing. */
  readonly loss: string | null;
  /** Where it is held: whom a person could have appointed all the same, taking the loss. */
  readonly offer: LossOffer | null;
}

const NOTHING = {
  reason: null,
  detail: null,
  successorId: null,
  cohort: null,
  passedOver: [],
  detectionMs: null,
  writableAfterMs: null,
  loss: null,
  offer: null,
} as const;

/** From the fence to the first acknowledged commit, where nothing was measured here yet. */
const USUAL_MS = 300;

/**
 * @param lost members whose hosts are gone, all at once. Nobody: what is now stays.
 * @param leaderId who leads the group now; null: nobody that is known.
 */
export function explainLoss(
  view: ClusterView,
  lost: ReadonlySet<MemberId>,
  leaderId: MemberId | null,
): Explanation {
  const { reign } = view.state;
  const isMajorityLeft = hasMajority(view, lost);
  if (reign === null) return { ...NOTHING, outcome: "no-primary", reason: "not-initialized", isMajorityLeft };
  const isConcerned = lost.has(reign.primaryId) || reign.fence !== null;
  if (!isConcerned)
    return { ...NOTHING, isMajorityLeft, ...explainCommits(view, reign, lost, isMajorityLeft) };
  if (!isMajorityLeft)
    return {
      ...NOTHING,
      outcome: "held",
      reason: "majority-lost",
      detail: whoeverVotes(view, lost),
      isMajorityLeft,
    };
  const pauses = view.state.pauses ?? [];
  if (reign.fence === null && pauses.length > 0) {
    const detail = pauses.map(({ reason }) => reason).join("; ");
    return { ...NOTHING, outcome: "held", reason: "paused", detail, isMajorityLeft };
  }
  const loop = crashLoop(view);
  if (reign.fence === null && loop !== null && loop.untilMs > view.nowMs)
    return { ...NOTHING, outcome: "held", reason: "crash-loop", isMajorityLeft };
  return { ...NOTHING, isMajorityLeft, ...explainSuccession(view, reign, lost, leaderId) };
}

const NO_MAJORITY = "too few voters would be left to agree on anything";

function hasMajority(view: ClusterView, lost: ReadonlySet<MemberId>): boolean {
  return votersLeft(view, lost).length * 2 > view.voterIds.length;
}

function votersLeft(view: ClusterView, lost: ReadonlySet<MemberId>): readonly MemberId[] {
  return view.voterIds.filter((id) => !lost.has(id) && (id === view.selfId || isHeard(view, id)));
}

/** The voters that would be left, and of how many. */
function whoeverVotes(view: ClusterView, lost: ReadonlySet<MemberId>): string {
  const names = votersLeft(view, lost).map((id) => memberName(view.state, id));
  return `left: ${names.join(", ") || "nobody"}, of ${view.voterIds.length} voters`;
}

/** The primary stays. Do its commits go on? */
function explainCommits(
  view: ClusterView,
  reign: Reign,
  lost: ReadonlySet<MemberId>,
  isMajorityLeft: boolean,
): Pick<Explanation, "outcome" | "reason" | "detail"> {
  const primary = view.observations.get(reign.primaryId)?.status.postgres;
  const { k } = reign.cohort;
  const left =
    primary?.kind === "primary"
      ? streamingOf(view.state, reign.cohort, primary).filter((id) => !lost.has(id)).length
      : 0;
  if (!isMajorityLeft && needsLease(view.state))
    return {
      outcome: "commits-wait",
      reason: "waiting-for-lease",
      detail: "the lease is not renewed any more",
    };
  if (left >= k) {
    const detail = isMajorityLeft ? null : `${NO_MAJORITY}; a healthy primary goes on all the same`;
    return { outcome: "goes-on", reason: null, detail };
  }
  return mayDegrade(view.state.spec) && isMajorityLeft
    ? { outcome: "commits-weaker", reason: "cohort-weakening", detail: null }
    : { outcome: "commits-wait", reason: "quorum-lost", detail: null };
}

function explainSuccession(
  view: ClusterView,
  reign: Reign,
  lost: ReadonlySet<MemberId>,
  leaderId: MemberId | null,
): Partial<Explanation> & Pick<Explanation, "outcome"> {
  const succession = chooseSuccessor(...afterwards(view, reign, lost));
  if (succession.kind !== "chosen") {
    const offer = "offer" in succession ? succession.offer : null;
    return { outcome: "held", ...whyHeld(view, succession), offer };
  }
  const { spec } = view.state;
  // Nobody acts before another leads; who stands first does so within this time.
  const electionMs = leaderId === null || lost.has(leaderId) ? spec.timing.electionMsMax : 0;
  const detectionMs = detectionOf(view, reign, leaderId, electionMs);
  // A lease is renewed all the time: its end is counted from the loss, and by a new leader from when it began to lead.
  const endsMs = needsLease(view.state)
    ? Math.max(detectionMs, electionMs + leaseMsOf(view.state))
    : detectionMs;
  return {
    outcome: "failover",
    successorId: succession.memberId,
    cohort: succession.cohort,
    passedOver: succession.passedOver,
    detectionMs,
    writableAfterMs: endsMs + usualMs(view.state.failovers ?? []),
    loss: succession.loss,
  };
}

/** From the loss to the fence. A leader's silence its successor has witnessed; any other counts from when it began to lead. */
function detectionOf(view: ClusterView, reign: Reign, leaderId: MemberId | null, electionMs: number): number {
  const { suspectMs } = view.state.spec.timing;
  if (reign.fence !== null) return electionMs;
  return leaderId === reign.primaryId ? Math.max(electionMs, suspectMs) : electionMs + suspectMs;
}

/** The world once the loss has been noticed, the reign fenced, the lease over, and everybody that is left has pledged. */
function afterwards(view: ClusterView, reign: Reign, lost: ReadonlySet<MemberId>): [ClusterView, Reign] {
  const fence = reign.fence ?? { reason: "member-lost", preferredId: null, fencedAtWallMs: view.nowWallMs };
  const ended: Reign = { ...reign, fence };
  const left = [...view.observations].filter(([id]) => !lost.has(id) && isHeard(view, id));
  const observations = new Map(
    left.map(([id, observation]) => {
      const standby = heardStandby(view, id);
      if (standby === null) return [id, observation] as const;
      const promises = { ...observation.status.promises, pledgedEpoch: reign.epoch };
      const status = { ...observation.status, promises, postgres: { ...standby, walReceiver: null } };
      return [id, { ...observation, status }] as const;
    }),
  );
  const past = Number.NEGATIVE_INFINITY;
  return [
    { ...view, state: { ...view.state, reign: ended }, observations, fenceSinceMs: past, leaseUntilMs: past },
    ended,
  ];
}

function whyHeld(
  view: ClusterView,
  succession: Exclude<Succession, { kind: "chosen" }>,
): Pick<Explanation, "reason" | "detail"> {
  const nameOf = (id: MemberId) => memberName(view.state, id);
  switch (succession.kind) {
    case "waiting":
      return {
        reason: "waiting-for-pledges",
        detail: `missing: ${succession.missing.map(nameOf).join(", ")}`,
      };
    case "lease":
      return { reason: "waiting-for-lease-end", detail: null };
    case "patience":
      return { reason: succession.reason, detail: null };
    case "blocked":
      return { reason: "most-advanced-not-eligible", detail: nameOf(succession.byId) };
    case "too-far-behind":
      return { reason: "successor-too-far-behind", detail: `lacks ${succession.lacksBytes} bytes` };
  }
}

/**
 * The median of what failovers took here, from the fence to the first acknowledged commit. A switchover's fence comes when all
 * is ready.
 */
function usualMs(failovers: readonly FailoverRecord[]): number {
  const took = failovers
    .filter(({ kind }) => kind !== "switchover")
    .flatMap(({ phases }) => phases.filter(({ phase }) => phase === "writable").map(({ afterMs }) => afterMs))
    .sort((a, b) => a - b);
  return took[Math.floor(took.length / 2)] ?? USUAL_MS;
}
