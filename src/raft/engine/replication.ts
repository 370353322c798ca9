import { assert, defined } from "../../base/assert.ts";
import type { LogIndex, MemberId } from "../../base/ids.ts";
import { isActive } from "./followers.ts";
import { next, previous } from "./log.ts";
import type { Entry, Message } from "./message.ts";
import type { Progress } from "./progress.ts";
import { hasQuorum, quorumIndex, votersOf } from "./quorum.ts";
import { confirmReads, takesRound } from "./reads.ts";
import { becomeFollower } from "./roles.ts";
import type { EngineState, LeaderRole } from "./state.ts";
import { continueTransfer, tickTransfer } from "./transfer.ts";

/** How the log spreads: the leader's side first, then the follower's (Raft §5.3, §5.4.2). */

type Append = Extract<Message, { type: "append" }>;
type AppendResponse = Extract<Message, { type: "append-response" }>;
type Heartbeat = Extract<Message, { type: "heartbeat" }>;
type HeartbeatResponse = Extract<Message, { type: "heartbeat-response" }>;

// --- The leader -------------------------------------------------------------------------------------------------

/**
 * One tick as leader: steps down where no quorum is heard, and speaks to everybody when a heartbeat is due.
 *
 * @param trueTicks how many ticks have really passed: who stood still for longer than an election takes may have a
 *   successor, and must not lead for another moment.
 */
export function tickLeader(state: EngineState, leader: LeaderRole, trueTicks: number): void {
  for (const progress of leader.progress.values()) progress.quietTicks += trueTicks;
  if (!hearsQuorum(state, leader)) {
    becomeFollower(state, state.term, null);
    return;
  }
  tickTransfer(state, leader, trueTicks);
  leader.heartbeatElapsed += 1;
  if (leader.heartbeatElapsed >= state.timing.heartbeatTicks) beat(state, leader);
}

/** A leader that nobody hears must not believe that it leads (CheckQuorum, thesis §6.2). */
function hearsQuorum(state: EngineState, leader: LeaderRole): boolean {
  return hasQuorum(state.membership.latest.config, (id) => id === state.id || isActive(state, leader, id));
}

/** Asks everybody whether this is still their leader, for reads that wait for that. */
export function beatForReads(state: EngineState, leader: LeaderRole): void {
  if (takesRound(state, leader)) beat(state, leader);
  // Not only when a follower answers: a group of one confirms itself, and a group may become smaller while a read waits.
  confirmReads(state, leader);
}

function beat(state: EngineState, leader: LeaderRole): void {
  leader.heartbeatElapsed = 0;
  leader.round += 1;
  for (const [id, progress] of leader.progress) {
    // Never beyond what the follower is known to hold: it could not tell whether its entry is the committed one.
    const commit = Math.min(state.log.commitIndex, progress.matchIndex) as LogIndex;
    state.sendAtOnce(id, { type: "heartbeat", commit, round: leader.round });
  }
}

/** Sends each follower what it can take. Called once per ready, so that many proposals travel in one message. */
export function replicate(state: EngineState, leader: LeaderRole): void {
  for (const [id, progress] of leader.progress) {
    while (sendAppend(state, id, progress)) {
      // Until there is nothing more, or the window is full.
    }
  }
}

/** @returns true if there may be more to send at once. */
function sendAppend(state: EngineState, id: MemberId, progress: Progress): boolean {
  const { log, limits } = state;
  const isPaused = progress.isPaused(limits);
  // A full window whose messages were all lost would wait for ever, so a heartbeat's answer gets an empty append through.
  if (progress.state === "snapshot" || (isPaused && !(progress.mustAsk && progress.state === "replicate"))) {
    return false;
  }
  const previousIndex = previous(progress.nextIndex);
  const previousTerm = log.termAt(previousIndex);
  if (previousTerm === null) {
    wantSnapshot(state, id, progress);
    return false;
  }
  const countMax = Math.min(limits.appendEntriesMax, sendableTo(state, id) - previousIndex);
  const entries =
    countMax > 0 && !isPaused ? log.slice(progress.nextIndex, countMax, limits.appendBytesMax) : [];
  const toldCommit = Math.min(log.commitIndex, previousIndex + entries.length) as LogIndex;
  const isCommitNews = progress.state === "replicate" && toldCommit > progress.toldCommit;
  if (entries.length === 0 && !isCommitNews && !progress.mustAsk && progress.state === "replicate")
    return false;
  state.sendAtOnce(id, {
    type: "append",
    previous: { index: previousIndex, term: previousTerm },
    entries,
    commit: log.commitIndex,
  });
  progress.toldCommit = toldCommit;
  progress.sent(entries);
  return entries.length > 0;
}

/**
 * How far this follower is told. A learner gets what is committed and no more: its log must never be ahead of all that vote,
 * or, once it is asked for its vote, it could only refuse them (the leader that told it may be gone for good).
 */
function sendableTo({ log, membership }: EngineState, id: MemberId): LogIndex {
  return votersOf(membership.latest.config).includes(id) ? log.last.index : log.commitIndex;
}

/** Not for one that does not answer: it would only be tried, in vain, again and again. */
function wantSnapshot(state: EngineState, id: MemberId, progress: Progress): void {
  if (progress.quietTicks >= state.timing.electionTicksMin) return;
  progress.needSnapshot();
  state.snapshotsWanted.push(id);
}

/** The snapshot for this follower has been sent, or could not be. Either way a probe finds out how things stand. */
export function endSnapshot(state: EngineState, leader: LeaderRole, id: MemberId): void {
  leader.progress.get(id)?.endSnapshot(next(state.log.floor.index));
}

/** A follower says what it holds now, or where its log differs: then the two are compared further back (Raft §5.3). */
export function handleAppendResponse(state: EngineState, leader: LeaderRole, message: AppendResponse): void {
  const progress = leader.progress.get(message.from);
  if (progress === undefined) return;
  progress.heard();
  if (message.rejection !== null) {
    const { index, term } = message.rejection;
    progress.rejected(message.index, state.log.findAgreement(index, term).index);
    return;
  }
  assert(
    message.index <= state.log.last.index,
    "a follower that matches holds nothing that its leader lacks",
  );
  if (progress.accepted(message.index, state.log.floor.index)) advanceCommit(state, leader);
  continueTransfer(state, leader, message.from);
}

/** A follower is alive: where it lacks entries, or it is unknown what it holds, sending goes on. */
export function handleHeartbeatResponse(
  state: EngineState,
  leader: LeaderRole,
  message: HeartbeatResponse,
): void {
  const progress = leader.progress.get(message.from);
  if (progress === undefined) return;
  progress.heard();
  progress.answeredRound = Math.max(progress.answeredRound, message.round);
  confirmReads(state, leader);
  if (progress.state === "probe" || progress.matchIndex < state.log.last.index) progress.resume();
}

/**
 * An entry is committed once a quorum holds it *and* it is of the leader's own term; older ones are then committed with
 * it. Counting copies of older entries alone would commit what a later leader may still overwrite (Raft figure 8).
 *
 * The leader itself counts with what is durable on its own disk, no more.
 */
export function advanceCommit(state: EngineState, leader: LeaderRole): void {
  const index = quorumIndex(state.membership.latest.config, (id) =>
    id === state.id ? state.log.stableIndex : (leader.progress.get(id)?.matchIndex ?? (0 as LogIndex)),
  );
  if (index <= state.log.commitIndex || state.log.termAt(index) !== state.term) return;
  state.commitTo(index);
  while (leader.uncommitted[0] !== undefined && leader.uncommitted[0].last <= index) {
    leader.uncommittedBytes -= leader.uncommitted[0].bytes;
    leader.uncommitted.shift();
  }
}

// --- The follower -----------------------------------------------------------------------------------------------

/** Of this term's leader; the caller has seen to that. */
export function handleAppend(state: EngineState, message: Append): void {
  const { log } = state;
  const respond = (index: LogIndex): void =>
    state.send(message.from, { type: "append-response", index, rejection: null });
  // Old news, or from before our floor. Not a conflict: what is committed agrees with every leader's log.
  if (message.previous.index < log.commitIndex) {
    respond(log.commitIndex);
    return;
  }
  if (!log.holds(message.previous)) {
    const rejection = log.findAgreement(message.previous.index, message.previous.term);
    state.send(message.from, { type: "append-response", index: message.previous.index, rejection });
    return;
  }
  const news = firstNews(state, message.entries);
  if (news < message.entries.length) state.append(message.entries.slice(news));
  const lastIndex = (message.previous.index + message.entries.length) as LogIndex;
  // Not up to our own last entry: what follows the message's may be of another leader.
  state.commitTo(Math.min(message.commit, lastIndex) as LogIndex);
  respond(lastIndex);
}

/** The leader lives, and says how far this member may apply: never further than what it is known to hold. */
export function handleHeartbeat(state: EngineState, message: Heartbeat): void {
  state.commitTo(message.commit);
  state.send(message.from, { type: "heartbeat-response", round: message.round });
}

/**
 * Where `entries` begin to say something new. Only from the first entry that *conflicts* may the log be cut: an old,
 * shorter message must not cut off what was acknowledged since.
 */
function firstNews(state: EngineState, entries: readonly Entry[]): number {
  const at = entries.findIndex((entry) => !state.log.holds(entry));
  if (at < 0) return entries.length;
  const { index } = defined(entries[at], "an entry that was found exists");
  assert(index > state.log.commitIndex, "a committed entry is never overwritten");
  assert(index <= next(state.log.last.index), "an append message has no gap");
  return at;
}
