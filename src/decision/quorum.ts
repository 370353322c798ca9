/**
 * Revocation and discovery: the heart of the failover (`roadmap/0002-failover.md`).
 *
 * A commit is acknowledged once k of the standbys S have flushed it. If so many of S have promised to stop that fewer
 * than k are left, nothing can be acknowledged any more; and the same set meets every set of k that ever acknowledged
 * anything, so somebody in it holds it. Both say: at least |S| − k + 1. While the rule changes, both rules count; and so do
 * the rules of earlier reigns until the present cohort holds what they acknowledged.
 */
import type { MemberId } from "../base/ids.ts";
import { type Cohort, type Reign, rulesOf } from "../cluster/state.ts";

/**
 * How many of a cohort must have pledged. Null where no number is enough: with k = 0 the primary acknowledges alone, and
 * only its own stop ends that.
 */
export function pledgesNeeded(cohort: Cohort): number | null {
  return cohort.k === 0 ? null : cohort.standbyIds.length - cohort.k + 1;
}

/** Whether the pledged members are enough, under every rule in force, to end the reign and to find its commits. */
export function areEnoughPledged(reign: Reign, pledged: ReadonlySet<MemberId>): boolean {
  return rulesOf(reign).every((rule) => {
    const needed = pledgesNeeded(rule);
    return needed !== null && rule.standbyIds.filter((id) => pledged.has(id)).length >= needed;
  });
}
