import type { MemberId, Term } from "../../base/ids.ts";
import type { Message } from "./message.ts";
import { voteOutcome, votersOf } from "./quorum.ts";
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from "./roles.ts";
import type { EngineState } from "./state.ts";

/** Who leads: asking for votes, giving them, counting them (Raft §5.2, §5.4.1; pre-vote: thesis §9.6). */

type VoteRequest = Extract<Message, { type: "pre-vote" | "vote" }>;
type VoteResponse = Extract<Message, { type: "pre-vote-response" | "vote-response" }>;

/** One tick without being leader: whoever has heard no leader for its patience asks whether it could win (Raft §5.2). */
export function tickElection(state: EngineState): void {
  state.quietTicks += 1;
  state.electionElapsed += 1;
  if (state.electionElapsed >= state.patienceTicks && state.isPromotable) startPreVote(state);
}

/** Asks whether a campaign would succeed. An only voter knows, and goes on at once. */
export function startPreVote(state: EngineState): void {
  becomePreCandidate(state);
  askForVotes(state, "pre-vote", false);
  countVotes(state);
}

/** @param isTransfer the leader wants this: voters need not be loyal to it. */
export function startVote(state: EngineState, isTransfer: boolean): void {
  becomeCandidate(state);
  askForVotes(state, "vote", isTransfer);
}

/**
 * Leader stickiness (thesis §4.2.3): a voter that heard a leader within the minimum election timeout does not want
 * another one. PreVote alone does not stop a removed member whose log is up to date.
 */
export function isLoyal(state: EngineState): boolean {
  return state.role.kind === "leader" || state.quietTicks < state.timing.electionTicksMin;
}

/** Anybody may ask and anybody answers, whatever the own configuration says: it may be old (thesis §4.1). */
export function handleVoteRequest(state: EngineState, message: VoteRequest): void {
  const isFree =
    state.vote === message.from ||
    (state.vote === null && state.leaderId === null) ||
    (message.type === "pre-vote" && message.term > state.term);
  const isGranted = isFree && state.log.isUpToDate(message.last);
  if (message.type === "pre-vote") {
    // A yes carries the term that was asked about: with the own, lower one it would be dropped as old and a member
    // whose term is behind could never help to finish an election.
    const term: Term = isGranted ? message.term : state.term;
    state.send(message.from, { type: "pre-vote-response", isGranted }, term);
    return;
  }
  state.send(message.from, { type: "vote-response", isGranted });
  if (!isGranted) return;
  state.vote = message.from;
  state.resetPatience();
}

/** A vote or a pre-vote arrives. One for an election that this member stands in no more is dropped. */
export function handleVoteResponse(state: EngineState, message: VoteResponse): void {
  const { role } = state;
  const isAwaited =
    message.type === "vote-response"
      ? role.kind === "candidate"
      : role.kind === "pre-candidate" && (!message.isGranted || message.term === state.term + 1);
  if (isAwaited) recordVote(state, message.from, message.isGranted);
}

/** The first answer of a voter counts. */
export function recordVote(state: EngineState, from: MemberId, isGranted: boolean): void {
  const { role } = state;
  if (role.kind !== "candidate" && role.kind !== "pre-candidate") return;
  if (!role.votes.has(from)) role.votes.set(from, isGranted);
  countVotes(state);
}

function askForVotes(state: EngineState, type: VoteRequest["type"], isTransfer: boolean): void {
  const term = (type === "pre-vote" ? state.term + 1 : state.term) as Term;
  for (const id of votersOf(state.membership.latest.config)) {
    if (id !== state.id) state.send(id, { type, last: state.log.last, isTransfer }, term);
  }
}

function countVotes(state: EngineState): void {
  const { role } = state;
  if (role.kind !== "candidate" && role.kind !== "pre-candidate") return;
  const outcome = voteOutcome(state.membership.latest.config, role.votes);
  if (outcome === "pending") return;
  if (outcome === "lost") becomeFollower(state, state.term, null);
  else if (role.kind === "pre-candidate") startVote(state, false);
  else becomeLeader(state);
}
