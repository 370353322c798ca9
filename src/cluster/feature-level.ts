import type { Change } from "./command.ts";
import type { MemberTags } from "./member.ts";
import { refusesStaleReads } from "./spec.ts";
import { type ClusterState, featureLevelOf } from "./state.ts";

/**
 * What this binary understands in a log. A release that writes anything new raises it by one; what is new is written only
 * once every member of the cluster understands it, so that members can be upgraded one after another.
 *
 * 1: release 0.1.0. 2: membership that shrinks, learners, recovery. 3: durability with a lease, sizes of WAL files, pauses, history of failovers.
 * 4: tokens with names, an end and the scopes `health` and `access`;
 *    leases that last a third longer, and stand for as long as they were given for; the audit trail;
 *    stale reads that are refused; PostgreSQL's parameters; rules for connections;
 *    scheduled switchovers, and what came of hooks; break-glass access; declared roles and databases; planned restarts; identity providers;
 *    authorities that are replaced; certificates of roles.
 */
export const FEATURE_LEVEL = 4;

const NEEDED_LEVELS: Partial<Readonly<Record<Change["kind"], number>>> = {
  "set-member-voting": 2,
  "set-member-tags": 2,
  "remove-member": 2,
  "forget-member": 2,
  "recover-group": 2,
  "record-phase": 3,
  "change-spec": 3,
  pause: 3,
  resume: 3,
  "accept-loss": 3,
  "revoke-token": 4,
  "note-token-use": 4,
  "schedule-switchover": 4,
  "cancel-switchover": 4,
  "note-hook": 4,
  "request-break-glass": 4,
  "approve-break-glass": 4,
  "extend-break-glass": 4,
  "end-break-glass": 4,
  "note-role-certificate": 4,
  declare: 4,
  "note-declared": 4,
  "note-local-access": 4,
  "plan-restart": 4,
  "begin-restart-step": 4,
  "end-restart-step": 4,
  "steer-restart": 4,
  "replace-authority": 4,
  "advance-authority": 4,
  "steer-authority": 4,
};

/** Whether every member can apply this change. Raising the level itself is for the leader, who has asked them all. */
export function isUnderstoodByAll(state: ClusterState, change: Change): boolean {
  return featureLevelOf(state) >= neededLevel(change);
}

function neededLevel(change: Change): number {
  if (change.kind === "change-spec" && change.spec.postgres !== undefined) return 4;
  if (change.kind === "change-spec" && change.spec.breakGlass !== undefined) return 4;
  if (change.kind === "change-spec" && change.spec.identity !== undefined) return 4;
  if (change.kind === "change-spec" && (change.keepsDeclared || change.spec.declared !== undefined)) return 4;
  if (change.kind === "change-spec" && change.declares !== undefined) return 4;
  const isNewWord = change.kind === "create-join-token" && change.replaces !== undefined;
  if (change.kind === "change-spec" && change.spec.access !== undefined) return 4;
  if (change.kind === "create-token" && namesNewToken(change)) return 4;
  if (change.kind === "change-spec" && refusesStaleReads(change.spec)) return 4;
  if (change.kind === "set-member-tags" && namesNewTag(change.tags)) return 3;
  if (change.kind === "begin-switchover" && change.scheduleId !== undefined) return 4;
  return isNewWord ? 2 : (NEEDED_LEVELS[change.kind] ?? 1);
}

function namesNewTag({ isNoSync, isCloneSource, zone }: Partial<MemberTags>): boolean {
  return isNoSync !== undefined || isCloneSource !== undefined || zone !== undefined;
}

function namesNewToken({ scope, name, expiresAtMs }: Extract<Change, { kind: "create-token" }>): boolean {
  return scope === "health" || scope === "access" || name !== undefined || expiresAtMs !== undefined;
}
