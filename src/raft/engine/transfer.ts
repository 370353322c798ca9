import type { MemberId } from "../../base/ids.ts";
import { votersOf } from "./quorum.ts";
import type { EngineState, LeaderRole } from "./state.ts";

/**
 * Handing leadership on (thesis §3.10): stop taking proposals, let the target catch up, tell it to campaign at once.
 * Proposals that were taken meanwhile would keep the target behind for ever (hashicorp/raft #581).
 */

export type TransferAnswer =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly reason: "not-leader" | "not-a-voter" | "already-leader";
      readonly leaderId: MemberId | null;
    };

/**
 * Hands the leadership to another voter: lets it catch up, then tells it to stand at once (thesis §3.10).
 *
 * @returns whether that has begun; it is done only once another leader is heard of.
 */
export function startTransfer(state: EngineState, to: MemberId): TransferAnswer {
  const { role, leaderId } = state;
  if (role.kind !== "leader") return { ok: false, reason: "not-leader", leaderId };
  if (to === state.id) return { ok: false, reason: "already-leader", leaderId };
  if (!votersOf(state.membership.latest.config).includes(to)) {
    return { ok: false, reason: "not-a-voter", leaderId };
  }
  // Asking twice does not buy more time.
  if (role.transfer?.to === to) return { ok: true };
  role.transfer = { to, elapsedTicks: 0, isAsked: false };
  continueTransfer(state, role, to);
  return { ok: true };
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
export function tickTransfer(state: EngineState, leader: LeaderRole): void {
  if (leader.transfer === null) return;
  leader.transfer.elapsedTicks += 1;
  if (leader.transfer.elapsedTicks >= state.timing.electionTicksMin) leader.transfer = null;
}
