import type { ConsensusDocument, ForkDocument, MemberDocument } from "../api/documents.ts";
import { renderBytes } from "./render-status.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** Members as those who look after the group see them: one row each. */
export function renderMemberList(members: readonly MemberDocument[]): string {
  return renderTable(
    [
      "member",
      "role",
      "state",
      "vote",
      "caught up",
      "leader",
      "version",
      "certificates until",
      "authority",
      "api",
    ],
    members.map((member) => [
      member.name,
      member.role,
      member.state,
      renderVote(member),
      renderCaughtUp(member),
      member.isLeader ? "*" : "",
      member.version ?? "-",
      renderCertificates(member),
      renderIssuer(member),
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

/** The day on which the first of them ends. */
function renderCertificates({ certificates }: MemberDocument): string {
  if (certificates == null) return "-";
  const { memberEndsAt, apiEndsAt, authorityEndsAt } = certificates;
  const [first = "-"] = [memberEndsAt, apiEndsAt, authorityEndsAt].toSorted();
  return first.slice(0, "2026-01-01".length);
}

/** As much of the authority's fingerprint as tells two apart; while one takes another's place, whether both are trusted. */
function renderIssuer({ certificates }: MemberDocument): string {
  const issuer = certificates?.issuer;
  if (issuer == null) return "-";
  return `${issuer.slice(0, 8)}${(certificates?.trusted ?? []).length > 1 ? ", trusts both" : ""}`;
}

function renderCaughtUp({ isCaughtUp, matchLag }: MemberDocument): string {
  if (isCaughtUp === null) return "-";
  return isCaughtUp ? "yes" : `${matchLag ?? "?"} entries behind`;
}

/** For `guacamole member forks`. */
export function renderForks(forks: readonly ForkDocument[]): string {
  if (forks.length === 0) return "Nothing is kept: this member was never rewound.\n";
  return forks.map(renderFork).join("\n");
}

function renderFork(fork: ForkDocument): string {
  const { timeline, forkedAt, keptAt, bytes, transactionCount, transactions, problem } = fork;
  const more = transactionCount - transactions.length;
  const head = [
    `timeline ${timeline} after ${forkedAt} · kept ${keptAt} · ${renderBytes(bytes)} · ${transactionCount} transactions in doubt`,
    ...(problem === null ? [] : [`not read to its end: ${problem}`]),
  ];
  const rows = transactions.map(({ transactionId, kind, at, lsn }) => [String(transactionId), kind, at, lsn]);
  const table = rows.length === 0 ? "" : `\n${renderTable(["transaction", "", "at", "lsn"], rows)}`;
  return `${head.map(withoutControls).join("\n")}\n${table}${more > 0 ? `and ${more} more\n` : ""}`;
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
