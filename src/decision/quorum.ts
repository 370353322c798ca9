/**
 * Revocation and discovery: the heart of the failover (`roadmap/0002-failover.md`).
 *
 * A commit is acknowledged once k of the standbys S have flushed it. If so many of S have promised to stop that fewer
 * than k are left, nothing can be acknowledged any more; and the same set meets every set of k that ever acknowledged
 * anything, so somebody in it holds it. Both say: at least |S| − k + 1. While the rule changes, both rules count; and so do
 * the rules of earlier reigns until the present cohort holds what they acknowledged.
 *
 * Under a lease (k = 0 by choice) there is no follower to revoke: such a rule ends with the lease, or with the primary.
 */
import type { MemberId } from "../base/ids.ts";
import { refusesStaleReads } from "../cluster/spec.ts";
import { type ClusterState, type Cohort, type Reign, rulesOf } from "../cluster/state.ts";

/**
 * How many of a cohort must have pledged. Null where no number is enough: with k = 0 the primary acknowledges alone, and
 * only its own stop ends that (or, under a lease, the lease's end).
 */
export function pledgesNeeded(cohort: Cohort): number | null {
  return cohort.k === 0 ? null : cohort.standbyIds.length - cohort.k + 1;
}

/**
 * Whether the pledged members are enough, under every rule in force, to end the reign and to find its commits.
 *
 * @param isLeaseOver whether no lease can stand any more, or the primary itself has stopped and pledged. Where no rule is
 *   leased it says nothing.
 */
export function areEnoughPledged(reign: Reign, pledged: ReadonlySet<MemberId>, isLeaseOver = false): boolean {
  // What an earlier reign acknowledged under a lease was promised to nobody, and that lease is over.
  const inherited = reign.inheritedRules.filter(({ isLeased }) => isLeased !== true);
  return [...inherited, ...ownRules(reign)].every((rule) => {
    if (rule.isLeased === true) return isLeaseOver;
    const needed = pledgesNeeded(rule);
    return needed !== null && rule.standbyIds.filter((id) => pledged.has(id)).length >= needed;
  });
}

/** Whether the reign's primary may acknowledge alone, and so needs a lease. */
export function isLeasedReign(reign: Reign): boolean {
  return ownRules(reign).some(({ isLeased }) => isLeased === true);
}

/** Whether the primary may reign under a lease only: its commits need one, or what is read from it does. */
export function needsLease({ spec, reign }: Pick<ClusterState, "spec" | "reign">): boolean {
  return reign !== null && (isLeasedReign(reign) || refusesStaleReads(spec));
}

/** Whether commits may count that were acknowledged under a lease, in this reign or one before: nobody else need have them. */
export function mayLackCommits(reign: Reign): boolean {
  return rulesOf(reign).some(({ isLeased }) => isLeased === true);
}

function ownRules({ cohort, pendingCohort }: Reign): readonly Cohort[] {
  return pendingCohort === null ? [cohort] : [cohort, pendingCohort];
}
