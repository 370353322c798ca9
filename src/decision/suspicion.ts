/**
 * Suspicion: is the primary dead, or are we deaf?
 *
 * Think of a lighthouse in fog. One missed flash means nothing; and if the other lighthouses went dark too, the fog is on
 * our side. So several observers must agree: the primary's own member, which sees its postmaster die within
 * milliseconds; the primary's member's silence; and the standbys, whose WAL streams end.
 *
 * Being wrong costs a needless failover, never data: revocation does not depend on any of this.
 */

import type { Reign } from "../cluster/state.ts";
import type { ClusterView } from "./cluster-view.ts";
import { dataMembers, heardStandby, isHeard, postgresAddress, silentMs } from "./cluster-view.ts";
import type { Reason } from "./reasons.ts";

export type Judgement =
  | { readonly kind: "healthy" }
  /** Not now; look again at `atMs` or when something changes. */
  | { readonly kind: "suspect"; readonly reason: Reason; readonly atMs: number | null }
  | { readonly kind: "lost"; readonly reason: Reason };

/** How long a promotion may take before another member is tried. Crash recovery is not part of it. */
export const PROMOTION_MS_MAX = 30_000;

/** The primary of the present reign, judged by everything that was observed of it. */
export function judgePrimary(view: ClusterView, reign: Reign): Judgement {
  const silence = judgeSilence(view, reign);
  if (silence.kind !== "healthy") return silence;
  const observation = view.observations.get(reign.primaryId);
  // What was said before this leader began to lead may be older than what is agreed by now.
  if (observation === undefined || observation.statusAtMs < view.leadingSinceMs) return { kind: "healthy" };
  const { postgres } = observation.status;
  if (reign.lineage === null) return { kind: "healthy" };
  switch (postgres.kind) {
    case "primary":
      return { kind: "healthy" };
    case "unresponsive":
    case "unknown":
      return { kind: "suspect", reason: "primary-not-answering", atMs: null };
    default:
      return { kind: "lost", reason: "postmaster-died" };
  }
}

function judgeSilence(view: ClusterView, reign: Reign): Judgement {
  const { timing } = view.state.spec;
  const silence = silentMs(view, reign.primaryId);
  const isGone =
    view.observations.get(reign.primaryId)?.isConnected === false && everyStandbyLostIt(view, reign);
  const patienceMs = isGone ? 2 * timing.heartbeatMs : timing.suspectMs;
  if (silence < patienceMs) {
    const isQuiet = silence > timing.suspectMs / 2;
    return isQuiet ? suspect("primary-silent", view.nowMs - silence + patienceMs) : { kind: "healthy" };
  }
  if (isMostlySilent(view)) return suspect("most-members-silent", null);
  if (isStillStreaming(view, reign)) return suspect("primary-silent-but-streaming", null);
  return { kind: "lost", reason: isGone ? "member-gone" : "member-lost" };
}

function suspect(reason: Reason, atMs: number | null): Judgement {
  return { kind: "suspect", reason, atMs };
}

/** Every standby of the cohort is heard and has lost its stream: a second, independent witness. */
function everyStandbyLostIt(view: ClusterView, reign: Reign): boolean {
  const { standbyIds } = reign.cohort;
  return (
    standbyIds.length > 0 &&
    standbyIds.every((id) => {
      const standby = heardStandby(view, id);
      return standby !== null && standby.walReceiver === null;
    })
  );
}

function isStillStreaming(view: ClusterView, reign: Reign): boolean {
  const upstream = postgresAddress(view.state, reign.primaryId);
  return dataMembers(view.state).some(({ id }) => {
    const receiver = heardStandby(view, id)?.walReceiver;
    return receiver?.status === "streaming" && receiver.upstream === upstream;
  });
}

function isMostlySilent(view: ClusterView): boolean {
  const members = view.state.members.filter(({ isLeaving }) => !isLeaving);
  const silent = members.filter(({ id }) => id !== view.selfId && !isHeard(view, id));
  return silent.length * 2 > members.length;
}
