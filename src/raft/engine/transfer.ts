import type { MemberId } from "../../base/ids.ts";
import { isHeard } from "./followers.ts";
import { isJoint, votersOf } from "./quorum.ts";
import { becomeFollower } from "./roles.ts";
import type { EngineState, LeaderRole } from "./state.ts";

/**
 * Handing leadership on (thesis §3.10): stop taking proposals, let the target catch up, tell it to campaign at once.
 * Proposals that were taken meanwhile would keep the target behind for ever (hashicorp/raft #581).
 */

export type TransferAnswer =
  | { readonly ok: true; readonly to: MemberId }
  | {
      readonly ok: false;
      /** `no-target`: no other voter is heard. */
      readonly reason: "not-leader" | "not-a-voter" | "already-leader" | "no-target";
      readonly leaderId: MemberId | null;
    };

/**
 * Hands the leadership to another voter: lets it catch up, then tells it to stand at once (thesis §3.10).
 *
 * @param to null: whoever needs the least to catch up.
 * @returns whether that has begun; it is done only once another leader is heard of.
 */
export function startTransfer(state: EngineState, to: MemberId | null): TransferAnswer {
  const { role, leaderId } = state;
  if (role.kind !== "leader") return { ok: false, reason: "not-leader", leaderId };
  if (to === state.id) return { ok: false, reason: "already-leader", leaderId };
  const target = to ?? role.transfer?.to ?? mostAdvanced(state, role);
  if (target === null) return { ok: false, reason: "no-target", leaderId };
  if (!votersOf(state.membership.latest.config).includes(target)) {
    return { ok: false, reason: "not-a-voter", leaderId };
  }
  // Asking twice does not buy more time.
  if (role.transfer?.to === target) return { ok: true, to: target };
  role.transfer = { to: target, elapsedTicks: 0, isAsked: false };
  continueTransfer(state, role, target);
  return { ok: true, to: target };
}

/** `from` may have caught up. */
export function continueTransfer(state: EngineState, leader: LeaderRole, from: MemberId): void {
  const { transfer } = leader;
  if (transfer === null || transfer.to !== from || transfer.isAsked) return;
  if (leader.progress.get(from)?.matchIndex !== state.log.last.index) return;
  transfer.isAsked = true;
  state.send(from, { type: "timeout-now" });
}

/** After an election timeout the target is not going to make it: this leader goes on. */
export function tickTransfer(state: EngineState, leader: LeaderRole, trueTicks: number): void {
  if (leader.transfer === null) return;
  leader.transfer.elapsedTicks += trueTicks;
  if (leader.transfer.elapsedTicks >= state.timing.electionTicksMin) leader.transfer = null;
}

/**
 * A leader that is not among the voters any more leads until that is committed (thesis §4.2.2), without counting itself.
 * Then it hands the leadership on, and steps down even if nobody takes it.
 */
export function retire(state: EngineState, leader: LeaderRole): void {
  const { config } = state.membership.latest;
  if (config.voters.includes(state.id) || isJoint(config) || state.isConfigPending) return;
  if (leader.transfer !== null) return;
  if (!leader.isRetiring && startTransfer(state, null).ok) leader.isRetiring = true;
  else becomeFollower(state, state.term, null);
}

function mostAdvanced(state: EngineState, leader: LeaderRole): MemberId | null {
  let best: MemberId | null = null;
  for (const id of state.membership.latest.config.voters) {
    if (id === state.id || !isHeard(state, leader, id)) continue;
    const match = leader.progress.get(id)?.matchIndex ?? 0;
    if (best === null || match > (leader.progress.get(best)?.matchIndex ?? 0)) best = id;
  }
  return best;
}
