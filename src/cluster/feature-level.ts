import type { Change } from "./command.ts";
import { type ClusterState, featureLevelOf } from "./state.ts";

/**
 * What this binary understands in a log. A release that writes anything new raises it by one; what is new is written only
 * once every member of the cluster understands it, so that members can be upgraded one after another.
 *
 * 1: release 0.1.0. 2: membership that shrinks, learners, recovery.
 */
export const FEATURE_LEVEL = 2;

const LEVEL_2: ReadonlySet<Change["kind"]> = new Set([
  "set-member-voting",
  "set-member-tags",
  "remove-member",
  "forget-member",
  "recover-group",
]);

/** Whether every member can apply this change. Raising the level itself is for the leader, who has asked them all. */
export function isUnderstoodByAll(state: ClusterState, change: Change): boolean {
  return featureLevelOf(state) >= neededLevel(change);
}

function neededLevel(change: Change): number {
  const isNewWord = change.kind === "create-join-token" && change.replaces !== undefined;
  return isNewWord || LEVEL_2.has(change.kind) ? 2 : 1;
}
