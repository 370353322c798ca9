import type { MemberId } from "../../base/ids.ts";
import type { EngineState, LeaderRole } from "./state.ts";

/** How a leader finds its followers: there, known, close behind. */

/** Heard of within the minimum election timeout; a new follower gets the benefit of the doubt. */
export function isActive(state: EngineState, leader: LeaderRole, id: MemberId): boolean {
  const progress = leader.progress.get(id);
  return progress !== undefined && progress.quietTicks < state.timing.electionTicksMin;
}

/** It has answered something in this term, and within the minimum election timeout. */
export function isHeard(state: EngineState, leader: LeaderRole, id: MemberId): boolean {
  return leader.progress.get(id)?.isKnown === true && isActive(state, leader, id);
}

/** Good enough to vote: it is heard, it follows the stream, and lacks no more than is under way. */
export function isCaughtUp(state: EngineState, leader: LeaderRole, id: MemberId): boolean {
  const progress = leader.progress.get(id);
  if (progress === undefined || !isHeard(state, leader, id) || progress.state !== "replicate") return false;
  return state.log.last.index - progress.matchIndex <= state.limits.appendEntriesMax;
}
