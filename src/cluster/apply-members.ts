/** Who belongs to the cluster, what a member is wanted for, and how one comes in. */
import type { MemberId } from "../base/ids.ts";
import { type Applied, accept, type ChangeOf, event, refuse, withMember } from "./applied.ts";
import { startRemoval, whyNotRemovable } from "./apply-removal.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import type { Member, MemberTags } from "./member.ts";
import { votersMaxOf } from "./spec.ts";
import { type ClusterState, type JoinToken, memberById } from "./state.ts";

const JOIN_TOKENS_MAX = 100;

/** Makes what lets one new member in. Tokens that have expired are dropped on the way. */
export function createJoinToken(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"create-join-token">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { replaces } = change;
  if (replaces !== undefined) {
    const objection = whyNotRemovable(state, replaces);
    // The last member may be told to be replaced: by then there is another.
    if (objection !== null && objection !== "last-member") return refuse(state, objection);
  }
  const kept = state.joinTokens
    .filter((token) => token.expiresAtMs > command.atMs)
    .slice(1 - JOIN_TOKENS_MAX);
  const token: JoinToken = {
    id: change.tokenId,
    secretHash: change.secretHash,
    expiresAtMs: change.expiresAtMs,
    usedBy: null,
    ...(replaces === undefined ? {} : { replaces }),
  };
  return accept(
    { ...state, joinTokens: [...kept, token] },
    event(command, "join-token.created", `a join token was made by ${command.by}`, { token: change.tokenId }),
  );
}

/** Lets a member in and spends its token; with a token that is bound, it takes the place of another. */
export function addMember(state: ClusterState, command: Command, change: ChangeOf<"add-member">): Applied {
  const token = state.joinTokens.find(({ id }) => id === change.joinTokenId);
  if (token === undefined) return refuse(state, "join-token-unknown");
  if (token.usedBy !== null) return refuse(state, "join-token-used");
  if (token.expiresAtMs <= command.atMs) return refuse(state, "join-token-expired");
  if (token.replaces !== undefined)
    return replaceMember(state, command, change.member, token, token.replaces);
  if (state.members.some(({ name }) => name === change.member.name)) return refuse(state, "name-taken");
  const { member } = change;
  return accept(
    take(state, token, member),
    event(command, "member.joined", `${member.name} joined the cluster`, {
      member: member.name,
      memberId: member.id,
      kind: member.kind,
    }),
  );
}

/** The newcomer has the name from this moment on; the old member keeps its place under another one until it is gone. */
function replaceMember(
  state: ClusterState,
  command: Command,
  member: Member,
  token: JoinToken,
  replacedId: MemberId,
): Applied {
  const replaced = memberById(state, replacedId);
  if (replaced === undefined) return refuse(state, "member-unknown");
  if (replaced.name !== member.name) return refuse(state, "name-bound");
  const objection = whyNotRemovable(state, replacedId);
  if (objection !== null && objection !== "last-member") return refuse(state, objection);
  const renamed: Member = {
    ...replaced,
    name: `${replaced.name}-${shortId(replaced.id)}`,
    standbyName: replaced.standbyName ?? replaced.name,
  };
  const joined = take(withMember(state, renamed), token, member);
  const operationId = `replace-${token.id}`;
  return accept(
    startRemoval(joined, command, renamed, operationId),
    event(command, "member.joined", `${member.name} joined the cluster in place of the member before it`, {
      member: member.name,
      memberId: member.id,
      kind: member.kind,
      replaces: replaced.id,
      operation: operationId,
    }),
  );
}

function take(state: ClusterState, token: JoinToken, member: Member): ClusterState {
  const named = wasNameUsed(state, member.name)
    ? { ...member, standbyName: `${member.name}-${shortId(member.id)}` }
    : member;
  const members = [...state.members, named].sort((a, b) => (a.name < b.name ? -1 : 1));
  const joinTokens = state.joinTokens.map((each) =>
    each.id === token.id ? { ...each, usedBy: member.name } : each,
  );
  return { ...state, members, joinTokens };
}

/** Some PostgreSQL may still receive WAL under this name, on a host that has not heard that its member was removed. */
function wasNameUsed(state: ClusterState, name: string): boolean {
  const known = [...state.members, ...(state.removed ?? [])];
  return known.some((each) => each.name === name || each.standbyName === name);
}

function shortId(id: MemberId): string {
  return id.slice(-8);
}

/** What somebody wants of a member's vote. Who votes in the end, the leader decides. */
export function setMemberVoting(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"set-member-voting">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  if (member.isLeaving) return refuse(state, "member-leaving");
  const others = state.members.filter(({ id, isLeaving }) => id !== member.id && !isLeaving);
  const mayVote = others.some(({ voting }) => voting !== "learner");
  if (change.voting === "learner" && !mayVote) return refuse(state, "last-voter");
  const wanted = others.filter(({ voting }) => voting === "voter").length;
  if (change.voting === "voter" && wanted >= votersMaxOf(state.spec)) return refuse(state, "too-many-voters");
  return accept(
    withMember(state, { ...member, voting: change.voting }),
    event(command, "member.voting", `${member.name} shall ${WISHES[change.voting]}, by ${command.by}`, {
      member: member.name,
      voting: change.voting,
    }),
  );
}

const WISHES = {
  auto: "vote where that makes the group safer",
  voter: "vote",
  learner: "learn without a vote",
} as const;

/** Changes the tags that are named. */
export function setMemberTags(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"set-member-tags">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const member = memberById(state, change.memberId);
  if (member === undefined) return refuse(state, "member-unknown");
  const { zone = "", ...others } = { ...member.tags, ...change.tags };
  const tags: MemberTags = zone === "" ? others : { ...others, zone };
  return accept(
    withMember(state, { ...member, tags }),
    event(command, "member.tags", `the tags of ${member.name} were changed by ${command.by}`, {
      member: member.name,
      failoverPriority: tags.failoverPriority,
      isNoFailover: tags.isNoFailover,
    }),
  );
}
