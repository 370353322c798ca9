import type { ConsensusDocument, MemberDocument } from "../api/documents.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** Members as those who look after the group see them: one row each. */
export function renderMemberList(members: readonly MemberDocument[]): string {
  return renderTable(
    ["member", "role", "state", "vote", "caught up", "leader", "version", "api"],
    members.map((member) => [
      member.name,
      member.role,
      member.state,
      renderVote(member),
      renderCaughtUp(member),
      member.isLeader ? "*" : "",
      member.version ?? "-",
      member.apiAddress,
    ]),
  );
}

/** `voter`, `learner`, or what becomes of it: with the wish, where somebody has one and it is not there yet. */
function renderVote({ vote, voting, isLeaving }: MemberDocument): string {
  if (isLeaving) return "leaving";
  const present = vote === "none" ? "-" : vote;
  return voting === "auto" || voting === vote ? present : `${present} (shall be ${voting})`;
}

function renderCaughtUp({ isCaughtUp, matchLag }: MemberDocument): string {
  if (isCaughtUp === null) return "-";
  return isCaughtUp ? "yes" : `${matchLag ?? "?"} entries behind`;
}

/** The group that agrees, for `guacamole consensus`. */
export function renderConsensus(consensus: ConsensusDocument): string {
  const { group } = consensus;
  const lines = [
    `leader ${consensus.leader ?? "none"} · term ${consensus.term} · committed ${consensus.commitIndex} · applied ${consensus.appliedIndex} · log ${consensus.floorIndex + 1} to ${consensus.lastIndex} · feature level ${consensus.featureLevel}`,
    `voters   ${list(group.voters)}`,
    ...(group.outgoing.length === 0 ? [] : [`outgoing ${list(group.outgoing)}`]),
    `learners ${list([...group.learners, ...group.learnersNext])}`,
    ...(consensus.stateHash === null
      ? []
      : [`state    ${consensus.stateHash.hash} at ${consensus.stateHash.index}`]),
    ...(consensus.refusal === null ? [] : [`waiting: ${consensus.refusal}`]),
    ...(consensus.reason === null ? [] : [consensus.reason]),
  ];
  const head = `${lines.map(withoutControls).join("\n")}\n`;
  if (consensus.followers.length === 0) return head;
  const table = renderTable(
    ["member", "has", "lacks", "heard", "caught up"],
    consensus.followers.map(({ name, matchIndex, lag, isActive, isCaughtUp }) => [
      name,
      String(matchIndex),
      String(lag),
      isActive ? "yes" : "NO",
      isCaughtUp ? "yes" : "no",
    ]),
  );
  return `${head}\n${table}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
