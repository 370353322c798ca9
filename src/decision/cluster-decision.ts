import type { MemberId } from "../base/ids.ts";
import type { Change } from "../cluster/command.ts";
import type { HandOverQuestion } from "./cluster-view.ts";
import type { Reason } from "./reasons.ts";

/** What the leader does next. One thing at a time; to hold is a decision too. */
export type ClusterDecision =
  | { readonly kind: "propose"; readonly change: Change; readonly reason: Reason }
  | { readonly kind: "transfer-leadership"; readonly to: MemberId; readonly reason: Reason }
  /** The owner of the primary's host has a say; the answer comes with a later view, and nothing waits for it meanwhile. */
  | { readonly kind: "ask-hand-over"; readonly question: HandOverQuestion; readonly reason: Reason }
  /** Nothing now. `atMs`: look again then, even if nothing changes. */
  | {
      readonly kind: "hold";
      readonly reason: Reason;
      readonly detail: string | null;
      readonly atMs: number | null;
    };

/** This change is to be agreed on next, for this reason. */
export function propose(change: Change, reason: Reason): ClusterDecision {
  return { kind: "propose", change, reason };
}

/**
 * Nothing is to be agreed on now.
 *
 * @param detail what the reason alone does not say, for people: names, mostly.
 * @param atMs when to look again though nothing happened, by the monotonic clock; null: only when something does.
 */
export function hold(
  reason: Reason,
  detail: string | null = null,
  atMs: number | null = null,
): ClusterDecision {
  return { kind: "hold", reason, detail, atMs };
}
