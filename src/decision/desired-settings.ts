import { assert } from "../base/assert.ts";
import type { MemberId } from "../base/ids.ts";
import { accessLinesFor } from "../cluster/hba-own.ts";
import type { HbaRole } from "../cluster/hba-rule.ts";
import type { ManagedSettings, Upstream } from "../cluster/managed-settings.ts";
import { parametersOf } from "../cluster/parameters.ts";
import { type ClusterState, memberById, memberName, standbyNameOf } from "../cluster/state.ts";
import { dataMembers } from "./cluster-view.ts";
import type { MemberView } from "./member-view.ts";

/** A member's PostgreSQL as a standby of `upstream` (null: it receives nothing). */
export function standbySettings(view: MemberView, upstream: Upstream | null): ManagedSettings {
  const k = view.state.reign?.cohort.k ?? 0;
  const others = dataMembers(view.state).filter(({ id }) => id !== view.selfId);
  // A standby carries the rule that it would begin to reign with. PostgreSQL's checkpointer publishes to all sessions
  // that commits must wait, and it may notice a change late: a standby that had the setting empty until its promotion
  // could acknowledge commits alone for that moment (F1).
  const names = others.map(({ id }) => standbyNameOf(view.state, id)).sort();
  // In a group that was recovered there may be nobody else: `ANY 1 ()` would keep PostgreSQL from starting.
  const most = Math.min(k, names.length);
  return settings(view, "standby", upstream, most === 0 ? null : { k: most, names });
}

/** A member's PostgreSQL as the primary of the present reign, with its pending cohort while there is one. */
export function primarySettings(view: MemberView): ManagedSettings {
  const { reign } = view.state;
  assert(reign !== null, "a primary has a reign");
  const { k, standbyIds } = reign.pendingCohort ?? reign.cohort;
  const names = standbyIds.map((id) => standbyNameOf(view.state, id)).sort();
  return settings(view, "primary", null, k === 0 ? null : { k, names });
}

function settings(
  view: MemberView,
  role: HbaRole,
  upstream: Upstream | null,
  synchronousStandbyNames: ManagedSettings["synchronousStandbyNames"],
): ManagedSettings {
  const { spec } = view.state;
  const parameters = parametersOf(spec.postgres?.parameters, view.selfId, role);
  const name = memberName(view.state, view.selfId);
  const access = view.takesAccess === false ? null : accessLinesFor(spec.access, { role, name });
  return {
    memberName: standbyNameOf(view.state, view.selfId),
    clusterId: view.state.clusterId,
    ...view.local,
    upstream,
    synchronousStandbyNames,
    ...(parameters === null ? {} : { parameters }),
    ...(access === null ? {} : { access }),
  };
}

/** Where a member's PostgreSQL is reached by other members. */
export function upstreamOf(state: ClusterState, id: MemberId): Upstream {
  const address = memberById(state, id)?.postgresAddress;
  assert(address !== undefined, "an upstream is a member");
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(at + 1)) };
}
