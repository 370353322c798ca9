/**
 * How a member goes: first it is wanted nowhere (`remove-member`), then the leader takes it out of the synchronous standbys
 * and out of the group that votes, and at last it is forgotten (`forget-member`) but for its id, which never takes part again.
 */
import type { MemberId } from "../base/ids.ts";
import { type Applied, accept, type ChangeOf, event, refuse, withMember } from "./applied.ts";
import type { Command, RefusalCode } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import type { Member } from "./member.ts";
import { beginOperation, closeOperation, isBusy } from "./operations.ts";
import { type ClusterState, isNamedByReign, memberById, type RemovedMember } from "./state.ts";

/** More tombstones than this: the oldest are forgotten. */
const REMOVED_MAX = 200;

/** Begins a removal, unless something stands in the way. */
export function removeMember(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"remove-member">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const objection = whyNotRemovable(state, change.memberId);
  if (objection !== null) return refuse(state, objection);
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  return accept(
    startRemoval(state, command, member, change.operationId),
    event(command, "member.removing", `${member.name} is being removed, by ${command.by}`, {
      member: member.name,
      memberId: member.id,
      operation: change.operationId,
    }),
  );
}

/** What stands in the way of removing a member, or null. */
export function whyNotRemovable(state: ClusterState, id: MemberId): RefusalCode | null {
  const member = memberById(state, id);
  if (member === undefined) return "member-unknown";
  if (member.isLeaving) return "member-leaving";
  if (state.reign?.primaryId === id) return "member-is-primary";
  if (isBusy(state, id)) return "operation-running";
  const staying = state.members.filter((each) => each.id !== id && !each.isLeaving);
  return staying.length === 0 ? "last-member" : null;
}

/** The state in which a member is on its way out, with an operation that tells of it. */
export function startRemoval(
  state: ClusterState,
  command: Command,
  member: Member,
  operationId: string,
): ClusterState {
  const begun = beginOperation(state, command, {
    id: operationId,
    kind: "remove",
    memberId: member.id,
    phase: "leaving",
    message: `${member.name} is being removed: out of the synchronous standbys first, then out of the group`,
  });
  return withMember(begun, { ...member, isLeaving: true });
}

/** Ends a removal: only the tombstone is left. */
export function forgetMember(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"forget-member">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  if (!member.isLeaving || isNamedByReign(state, member.id)) return refuse(state, "member-needed");
  const operation = state.operations.find(
    ({ kind, status, memberId }) => kind === "remove" && status === "running" && memberId === member.id,
  );
  const text = `${member.name} is removed`;
  const closed =
    operation === undefined ? state : closeOperation(state, command, operation.id, "succeeded", text);
  return accept(
    withoutMembers(closed, command, [member]),
    event(command, "member.removed", text, { member: member.name, memberId: member.id }),
  );
}

/** Takes members out, leaves their tombstones, and drops the join tokens that were bound to them. */
export function withoutMembers(state: ClusterState, command: Command, gone: readonly Member[]): ClusterState {
  const ids = new Set(gone.map(({ id }) => id));
  const tombstones = gone.map(
    ({ id, name, standbyName }): RemovedMember => ({
      id,
      name,
      ...(standbyName === undefined ? {} : { standbyName }),
      atMs: command.atMs,
    }),
  );
  return {
    ...state,
    members: state.members.filter(({ id }) => !ids.has(id)),
    removed: [...(state.removed ?? []), ...tombstones].slice(-REMOVED_MAX),
    joinTokens: state.joinTokens.filter(({ replaces }) => replaces === undefined || !ids.has(replaces)),
  };
}

/** A member that is appointed primary cannot go: it alone held everything, and data comes before wishes. */
export function stayAfterAll(state: ClusterState, command: Command, id: MemberId): ClusterState {
  const member = memberById(state, id);
  if (!member?.isLeaving) return state;
  const { isLeaving: _isLeaving, ...staying } = member;
  const operation = state.operations.find(
    ({ kind, status, memberId }) => kind === "remove" && status === "running" && memberId === id,
  );
  const stays = withMember(state, staying);
  const why = `${member.name} had to be appointed primary: nobody else held every acknowledged commit`;
  return operation === undefined ? stays : closeOperation(stays, command, operation.id, "failed", why);
}
