import type { MemberId } from "../base/ids.ts";
import type { PostgresStatus, PrimaryStatus } from "./observation.ts";
import { type ClusterState, type Cohort, standbyNameOf } from "./state.ts";
import { renderSynchronousStandbyNames } from "./synchronous-standby-names.ts";

/** What `synchronous_standby_names` should say on the primary now. While a cohort is pending, the pending one. */
export function desiredSynchronousStandbyNames(state: ClusterState): string {
  const cohort = state.reign?.pendingCohort ?? state.reign?.cohort;
  return cohort === undefined ? "" : cohortNames(state, cohort);
}

/** The setting's text for a cohort. */
export function cohortNames(state: ClusterState, cohort: Cohort): string {
  return renderSynchronousStandbyNames(
    cohort.k,
    cohort.standbyIds.map((id) => standbyNameOf(state, id)),
  );
}

/**
 * Whether a member's PostgreSQL takes writes: it is the appointed primary of a reign that is not being ended, it is out
 * of recovery, and enough of its cohort streams for a commit to be acknowledged.
 *
 * `appointed` and `writable` are two facts; load balancers are told this one.
 */
export function isWritable(state: ClusterState, memberId: MemberId, postgres: PostgresStatus): boolean {
  const { reign } = state;
  if (reign === null || reign.primaryId !== memberId || reign.fence !== null) return false;
  return postgres.kind === "primary" && hasQuorum(state, postgres);
}

function hasQuorum(state: ClusterState, primary: PrimaryStatus): boolean {
  const { reign } = state;
  if (reign === null) return false;
  const rules = reign.pendingCohort === null ? [reign.cohort] : [reign.cohort, reign.pendingCohort];
  return rules.some((rule) => streamingOf(state, rule, primary).length >= rule.k);
}

/** The standbys of a cohort that stream from this primary now. */
export function streamingOf(
  state: ClusterState,
  cohort: Cohort,
  primary: PrimaryStatus,
): readonly MemberId[] {
  const streaming = new Set(
    primary.standbys.filter(({ state }) => state === "streaming").map(({ name }) => name),
  );
  return cohort.standbyIds.filter((id) => streaming.has(standbyNameOf(state, id)));
}
