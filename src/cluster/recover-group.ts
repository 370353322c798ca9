/**
 * The day a majority is gone for good: one member goes on alone, as a new cluster of one, because a person said so.
 *
 * What the survivor knows may be old: the others may have agreed on things, a successor among them, that never reached it.
 * So nothing here may make a primary by itself:
 *
 * - The reign's primary is the survivor, and the reign is not being ended: it stays what it was. The others are no members
 *   any more, so the leader takes them out of its cohort in the usual order, and commits are acknowledged again.
 * - The primary is somebody else, or the reign was being ended: a successor may have been appointed, and may be running.
 *   The reign is *abandoned*: nobody fences, nobody appoints, the survivor's PostgreSQL stays a standby. That the old
 *   rules could be satisfied by the survivor alone means nothing, since the rules it knows may be old as well.
 * - A person says that the survivor shall be primary (`makePrimary`), and takes the loss of what others acknowledged. Then
 *   the reign is ended under one rule, which names the survivor alone: it pledges, it holds all that its rule can ask
 *   for, it is appointed. The usual steps, and no second way to make a primary.
 *
 * Epochs go on far above what the survivor knows: what comes back from the lost part must never look like the new history.
 */
import { type Epoch, type MemberId, nextEpoch } from "../base/ids.ts";
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import { withoutMembers } from "./apply-removal.ts";
import { withoutOther } from "./authority-change.ts";
import type { Command } from "./command.ts";
import type { Member } from "./member.ts";
import { beginOperation, closeOperation, logOperation } from "./operations.ts";
import { type ClusterState, memberById, type Reign } from "./state.ts";

/** More reigns than a lost majority can have seen since the survivor last heard of one. */
const EPOCHS_SKIPPED = 1_000;

/** The epoch of the next reign: never one that a part of the cluster which was lost can have used. */
export function followingEpoch(state: ClusterState, previous: Epoch): Epoch {
  const next = nextEpoch(previous);
  return state.epochFloor !== undefined && state.epochFloor > next ? state.epochFloor : next;
}

export function recoverGroup(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"recover-group">,
): Applied {
  const survivor = memberById(state, change.memberId);
  if (survivor === undefined) return refuse(state, "member-unknown");
  const canReign = state.systemIdentifier !== null && survivor.kind === "data";
  if (change.makePrimary && !canReign) return refuse(state, "member-unsuitable");
  const lost = state.members.filter(({ id }) => id !== survivor.id);
  // Whoever was to trust the other authority is left behind.
  const alone = withoutMembers(withoutOther(endOperations(state, command)), command, lost);
  const { isLeaving: _isLeaving, voting: _voting, ...staying } = survivor;
  const recovered: ClusterState = {
    ...alone,
    clusterId: change.clusterId,
    members: [staying],
    joinTokens: [],
    switchover: null,
    ...(alone.restart == null ? {} : { restart: null }),
    initialization: keepInitialization(state, survivor.id),
    reign: recoverReign(state.reign, command, survivor.id, change.makePrimary),
    epochFloor: ((state.epochFloor ?? state.reign?.epoch ?? 0) + EPOCHS_SKIPPED) as Epoch,
  };
  return accept(
    tell(recovered, command, survivor, lost, state.clusterId),
    event(command, "cluster.recovered", `the group was recovered from ${survivor.name} alone`, {
      member: survivor.name,
      lost: lost.map(({ name }) => name).join(", "),
      was: state.clusterId,
      clusterId: change.clusterId,
      makePrimary: change.makePrimary,
    }),
  );
}

function recoverReign(
  reign: Reign | null,
  command: Command,
  survivorId: MemberId,
  makePrimary: boolean,
): Reign | null {
  if (reign === null) return null;
  const { isAbandoned: wasAbandoned, ...known } = reign;
  const goesOn = reign.primaryId === survivorId && reign.fence === null && wasAbandoned !== true;
  if (goesOn) return reign;
  if (!makePrimary) return { ...known, isAbandoned: true };
  return {
    ...known,
    cohort: { standbyIds: [survivorId], k: 1 },
    pendingCohort: null,
    inheritedRules: [],
    fence: { reason: "recovered", preferredId: survivorId, fencedAtWallMs: command.atMs },
  };
}

/** An initdb that the lost part was doing may be done again elsewhere; one that made a PostgreSQL may not (F7). */
function keepInitialization(state: ClusterState, survivorId: MemberId): ClusterState["initialization"] {
  const { initialization, systemIdentifier } = state;
  const isLost = initialization?.memberId !== survivorId && systemIdentifier === null;
  return isLost ? null : initialization;
}

function endOperations(state: ClusterState, command: Command): ClusterState {
  const running = state.operations.filter(({ status }) => status === "running");
  return running.reduce(
    (ended, { id }) => closeOperation(ended, command, id, "failed", "the group was recovered without it"),
    state,
  );
}

function tell(
  state: ClusterState,
  command: Command,
  survivor: Member,
  lost: readonly Member[],
  was: string,
): ClusterState {
  const begun = beginOperation(state, command, {
    id: command.id,
    kind: "recover",
    memberId: survivor.id,
    phase: "recovered",
    message: `${survivor.name} goes on alone as cluster ${state.clusterId}, which was ${was}`,
  });
  const told = lost.reduce(
    (so, { name }) => logOperation(so, command, command.id, "recovered", `${name} was left behind`),
    begun,
  );
  const last = state.reign?.isAbandoned
    ? "The primary was another member, or was being replaced: nothing is promoted before a person says so"
    : `${survivor.name} is the whole group`;
  return closeOperation(told, command, command.id, "succeeded", last);
}
