/**
 * Suspicion: is the primary dead, or are we deaf?
 *
 * Think of a lighthouse in fog. One missed flash means nothing; and if the other lighthouses went dark too, the fog is on
 * our side. So several observers must agree: the primary's own member, which sees its postmaster die within
 * milliseconds, asks it for new connections and small writes, and watches its process and its disks; the primary's
 * member's silence; and the standbys, whose WAL streams end.
 *
 * Being wrong costs a needless failover, never data: revocation does not depend on any of this.
 */
import type { MemberId } from "../base/ids.ts";
import type { DiskStatus, MemberStatus, PrimaryStatus, StandbyStatus } from "../cluster/observation.ts";
import { failoverOf } from "../cluster/spec.ts";
import { memberName, type Reign, standbyNameOf } from "../cluster/state.ts";
import type { ClusterView } from "./cluster-view.ts";
import { dataMembers, heardStandby, isHeard, postgresAddress, silentMs } from "./cluster-view.ts";
import { hasReignedBefore } from "./lineage.ts";
import { areEnoughPledged } from "./quorum.ts";
import type { Reason } from "./reasons.ts";

export type Judgement =
  | { readonly kind: "healthy" }
  /** Not now; look again at `atMs` or when something changes. */
  | {
      readonly kind: "suspect";
      readonly reason: Reason;
      readonly detail: string | null;
      readonly atMs: number | null;
    }
  | Lost;

/** The reign is to end. */
export interface Lost {
  readonly kind: "lost";
  readonly reason: Reason;
  /** What was seen, a sentence each. */
  readonly evidence: readonly string[];
  /** For how long it had been so. */
  readonly detectionMs: number;
}

/** How long a promotion may take before another member is tried. Crash recovery is not part of it. */
export const PROMOTION_MS_MAX = 30_000;

/** A postmaster that the kernel shows as stopped for so long was not just looked at by a debugger. */
const STOPPED_MS_MAX = 700;
/** A server that runs and takes no new connection, or writes nothing, for so long: shorter, and a busy one would be thrown out. */
const UNANSWERED_MS_MAX = 4_000;
/** Commits that wait for standbys for so long, while those run and could follow another: the link between them is cut. */
const STALLED_MS_MAX = 3_000;

/** The primary of the present reign, judged by everything that was observed of it. */
export function judgePrimary(view: ClusterView, reign: Reign): Judgement {
  const silence = judgeSilence(view, reign);
  if (silence.kind !== "healthy") return silence;
  const observation = view.observations.get(reign.primaryId);
  // What was said before this leader began to lead may be older than what is agreed by now.
  if (observation === undefined || observation.statusAtMs < view.leadingSinceMs) return HEALTHY;
  const { status } = observation;
  // The very server that was told to promote: this status was long on its way, and its promotion is seen already.
  if (status.postgres.kind === "standby" && status.postgres.isPromoting === true) return HEALTHY;
  if (reign.lineage === null) {
    const hasFallen =
      status.postgres.kind === "standby" && hasReignedBefore(status.postgres, status.promises, reign);
    if (!hasFallen) return HEALTHY;
  }
  switch (status.postgres.kind) {
    case "primary":
      return judgeServing(view, reign, status, status.postgres);
    case "unresponsive":
    case "unknown":
      return judgeMute(view, reign, status);
    default:
      return lost("postmaster-died", view.nowMs - observation.statusAtMs, [
        `the supervisor of ${nameOf(view, reign.primaryId)} says that its PostgreSQL is ${status.postgres.kind}`,
      ]);
  }
}

// ---- silence ----------------------------------------------------------------------------------------------------------

function judgeSilence(view: ClusterView, reign: Reign): Judgement {
  const { timing } = view.state.spec;
  const silence = silentMs(view, reign.primaryId);
  const isGone =
    view.observations.get(reign.primaryId)?.isConnected === false && everyStandbyLostIt(view, reign);
  const patienceMs = isGone ? 2 * timing.heartbeatMs : silenceMsMax(view);
  if (silence < patienceMs) {
    const isQuiet = silence > timing.suspectMs / 2;
    return isQuiet ? suspect("primary-silent", null, view.nowMs - silence + patienceMs) : HEALTHY;
  }
  if (isMostlySilent(view)) return suspect("most-members-silent");
  const streaming = streamingFrom(view, reign);
  if (streaming.length > 0) return suspect("primary-silent-but-streaming", streaming.join(", "));
  const name = nameOf(view, reign.primaryId);
  return lost(isGone ? "member-gone" : "member-lost", silence, [
    `${name} has been silent for ${Math.round(silence)} ms${isGone ? ", and its connections broke" : ""}`,
    `no standby that is heard streams from ${name}`,
  ]);
}

/** Right after an automatic failover silence must last longer: a network that flaps would have it dance. */
function silenceMsMax(view: ClusterView): number {
  const { suspectMs } = view.state.spec.timing;
  const { calmMs } = failoverOf(view.state.spec);
  const wasAutomatic = view.state.failovers?.at(-1)?.kind === "automatic";
  const isRecent = view.lastFenceSinceMs !== null && view.nowMs - view.lastFenceSinceMs < calmMs;
  return wasAutomatic && isRecent ? 2 * suspectMs : suspectMs;
}

/** Every standby of the cohort is heard and has lost its stream: a second, independent witness. */
function everyStandbyLostIt(view: ClusterView, reign: Reign): boolean {
  const { standbyIds } = reign.cohort;
  return (
    standbyIds.length > 0 &&
    standbyIds.every((id) => {
      const standby = heardStandby(view, id);
      return standby !== null && !isReceiving(standby);
    })
  );
}

/** Something comes: a connection to a dead host stands for long. */
function isReceiving({ walReceiver }: StandbyStatus): boolean {
  return walReceiver !== null && walReceiver.silentMs === undefined;
}

/** The standbys that are heard and say that they stream from the primary. */
function streamingFrom(view: ClusterView, reign: Reign): readonly string[] {
  const upstream = postgresAddress(view.state, reign.primaryId);
  return dataMembers(view.state)
    .filter(({ id }) => {
      const standby = heardStandby(view, id);
      const isFromThere = standby?.walReceiver?.upstream === upstream;
      return (
        standby !== null && isFromThere && standby.walReceiver?.status === "streaming" && isReceiving(standby)
      );
    })
    .map(({ name }) => name);
}

function isMostlySilent(view: ClusterView): boolean {
  const members = view.state.members.filter(({ isLeaving }) => !isLeaving);
  const silent = members.filter(({ id }) => id !== view.selfId && !isHeard(view, id));
  return silent.length * 2 > members.length;
}

// ---- a primary that is heard ------------------------------------------------------------------------------------------

/** Its PostgreSQL is there and does not answer its own member. */
function judgeMute(view: ClusterView, reign: Reign, status: MemberStatus): Judgement {
  const name = nameOf(view, reign.primaryId);
  const trouble = judgeDisks(view, status, name) ?? judgeFrozen(status, name) ?? judgeChecks(status, name);
  if (trouble === null) return suspect("primary-not-answering", detailOf(status));
  return withSuccessor(view, reign, trouble);
}

/** It answers, but may not serve: clients cannot come in, its disk stands still, its commits wait in vain. */
function judgeServing(
  view: ClusterView,
  reign: Reign,
  status: MemberStatus,
  primary: PrimaryStatus,
): Judgement {
  const name = nameOf(view, reign.primaryId);
  const trouble =
    judgeFrozen(status, name) ??
    judgeDisks(view, status, name) ??
    judgeChecks(status, name) ??
    judgeCommits(view, reign, primary, name);
  return trouble === null ? HEALTHY : withSuccessor(view, reign, trouble);
}

function judgeFrozen({ checks, postmasterState }: MemberStatus, name: string): Lost | null {
  const stoppedMs = checks?.postmasterStoppedMs ?? null;
  if (postmasterState !== "stopped" || stoppedMs === null || stoppedMs < STOPPED_MS_MAX) return null;
  return lost("postmaster-frozen", stoppedMs, [
    `the postmaster of ${name} has been stopped (by a signal or a debugger) for ${Math.round(stoppedMs)} ms`,
  ]);
}

function judgeDisks(view: ClusterView, { disks = [] }: MemberStatus, name: string): Lost | null {
  const { diskStallMs } = failoverOf(view.state.spec);
  const ofServer = disks.filter(({ place }) => place !== "state");
  const stalled = ofServer.find(({ pendingMs }) => pendingMs !== null && pendingMs >= diskStallMs);
  if (stalled !== undefined) {
    return lost("disk-stalled", stalled.pendingMs ?? 0, [
      `a small file in the ${stalled.place} directory of ${name} has not been synced for ${Math.round(stalled.pendingMs ?? 0)} ms`,
    ]);
  }
  const full = ofServer.find(({ isFull }) => isFull);
  return full === undefined
    ? null
    : lost("disk-full", 0, [`there is no room left in the ${full.place} directory of ${name}`]);
}

function judgeChecks({ checks }: MemberStatus, name: string): Lost | null {
  if (checks === undefined) return null;
  const { connectionFailingMs, writeFailingMs, detail } = checks;
  const told = detail === null ? [] : [detail];
  if (connectionFailingMs !== null && connectionFailingMs >= UNANSWERED_MS_MAX) {
    return lost("not-taking-connections", connectionFailingMs, [
      `${name} has taken no new connection for ${Math.round(connectionFailingMs)} ms`,
      ...told,
    ]);
  }
  if (writeFailingMs === null || writeFailingMs < UNANSWERED_MS_MAX) return null;
  return lost("writes-stalled", writeFailingMs, [
    `${name} has written nothing to WAL for ${Math.round(writeFailingMs)} ms`,
    ...told,
  ]);
}

/** Commits wait although enough standbys run: they do not reach it, and would reach another of them. */
function judgeCommits(
  view: ClusterView,
  reign: Reign,
  { commitWaitMs = null, standbys }: PrimaryStatus,
  name: string,
): Lost | null {
  if (commitWaitMs === null || commitWaitMs < STALLED_MS_MAX) return null;
  const apart = reign.cohort.standbyIds.filter((id) => {
    const standby = heardStandby(view, id);
    return standby !== null && !isReceiving(standby);
  });
  const areLeft = standbys.filter(({ name, state }) => {
    const isApart = apart.some((id) => standbyNameOf(view.state, id) === name);
    return state === "streaming" && !isApart;
  });
  if (apart.length === 0 || areLeft.length > 0) return null;
  return lost("commits-stalled", commitWaitMs, [
    `commits on ${name} have been waiting for standbys for ${Math.round(commitWaitMs)} ms`,
    `${apart.map((id) => nameOf(view, id)).join(", ")} run, and receive nothing from it`,
  ]);
}

/** A primary that still is something is given up only if another can follow: else it is at least there to be mended. */
function withSuccessor(view: ClusterView, reign: Reign, trouble: Lost): Judgement {
  const able = dataMembers(view.state).filter(
    ({ id }) => id !== reign.primaryId && heardStandby(view, id) !== null && !hasTrouble(view, id),
  );
  const ids = new Set<MemberId>(able.map(({ id }) => id));
  const mayFollow = able.some(({ tags, isLeaving }) => !tags.isNoFailover && isLeaving !== true);
  if (mayFollow && areEnoughPledged(reign, ids, true)) return trouble;
  return suspect(trouble.reason, `${trouble.evidence.join("; ")}; no other member could follow`);
}

/** The same trouble would await us there. */
function hasTrouble(view: ClusterView, id: MemberId): boolean {
  const disks: readonly DiskStatus[] = view.observations.get(id)?.status.disks ?? [];
  const { diskStallMs } = failoverOf(view.state.spec);
  return disks.some(
    ({ place, isFull, pendingMs }) => place !== "state" && (isFull || (pendingMs ?? 0) >= diskStallMs),
  );
}

// ---- small words ------------------------------------------------------------------------------------------------------

const HEALTHY: Judgement = { kind: "healthy" };

function suspect(reason: Reason, detail: string | null = null, atMs: number | null = null): Judgement {
  return { kind: "suspect", reason, detail, atMs };
}

function lost(reason: Reason, detectionMs: number, evidence: readonly string[]): Lost {
  return { kind: "lost", reason, evidence, detectionMs: Math.max(0, detectionMs) };
}

function nameOf(view: ClusterView, id: MemberId): string {
  return memberName(view.state, id);
}

function detailOf({ postgres }: MemberStatus): string | null {
  return "detail" in postgres ? postgres.detail : null;
}
