/** Break-glass access: asked for, approved, extended, ended. What is agreed only; each member ends it by itself in time. */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import {
  type BreakGlassGrant,
  breakGlassPolicyOf,
  ENDED_GRANTS_KEPT,
  GRANTS_MAX,
  isOpen,
  isSameAsker,
} from "./break-glass.ts";
import type { ClusterEvent, Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import type { ClusterState } from "./state.ts";

/** Opens at once, unless others have to approve. */
export function requestBreakGlass(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"request-break-glass">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  if (state.reign === null) return refuse(state, "not-initialized");
  const grants = state.breakGlass ?? [];
  const policy = breakGlassPolicyOf(state.spec);
  if (grants.filter(({ ended }) => ended === null).length >= GRANTS_MAX)
    return refuse(state, "too-many-break-glass");
  if (change.durationMs > policy.durationMsMax) return refuse(state, "break-glass-too-long");
  const { grantId: id, role, verifier, reason, address, durationMs } = change;
  const { by, atMs } = command;
  const grant: BreakGlassGrant = {
    id,
    role,
    verifier,
    reason,
    by,
    address,
    requestedAtMs: atMs,
    durationMs,
    approvalsNeeded: policy.approvals,
    approvals: [],
    openedAtMs: policy.approvals === 0 ? atMs : null,
    extensions: [],
    ended: null,
  };
  const asked: ClusterState = { ...state, breakGlass: [...grants, grant] };
  const message = `break-glass access is asked for by ${by}: ${reason}`;
  const requested = event(command, "break-glass.requested", message, { ...fieldsOf(grant), reason });
  return isOpen(grant) ? accept(asked, requested, opened(command, grant)) : accept(asked, requested);
}

/** The last approval that is needed opens it. */
export function approveBreakGlass(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"approve-break-glass">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const grant = grantOf(state, change.grantId);
  if (grant === undefined) return refuse(state, "break-glass-unknown");
  if (grant.ended !== null) return refuse(state, "break-glass-ended");
  if (grant.openedAtMs !== null) return refuse(state, "break-glass-open");
  const { by, atMs } = command;
  if (isSameAsker(state, grant, by) || grant.approvals.some((approval) => approval.by === by))
    return refuse(state, "break-glass-same-asker");
  const approvals = [...grant.approvals, { by, atMs }];
  const isEnough = approvals.length >= grant.approvalsNeeded;
  const approved: BreakGlassGrant = { ...grant, approvals, openedAtMs: isEnough ? atMs : null };
  const message = `break-glass access ${grant.id} is approved by ${by}`;
  const told = event(command, "break-glass.approved", message, fieldsOf(grant));
  return accept(withGrant(state, approved), told, ...(isEnough ? [opened(command, approved)] : []));
}

/** Never beyond what the policy allows in all. Where it needed approvals, somebody else extends it. */
export function extendBreakGlass(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"extend-break-glass">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const grant = grantOf(state, change.grantId);
  if (grant === undefined) return refuse(state, "break-glass-unknown");
  if (grant.ended !== null) return refuse(state, "break-glass-ended");
  if (grant.openedAtMs === null) return refuse(state, "break-glass-not-approved");
  const { by, atMs } = command;
  const durationMs = grant.durationMs + change.durationMs;
  if (durationMs > breakGlassPolicyOf(state.spec).durationMsMax) return refuse(state, "break-glass-too-long");
  if (grant.approvalsNeeded > 0 && isSameAsker(state, grant, by))
    return refuse(state, "break-glass-same-asker");
  const extensions = [...grant.extensions, { by, atMs, durationMs: change.durationMs }];
  return accept(
    withGrant(state, { ...grant, durationMs, extensions }),
    event(command, "break-glass.extended", `break-glass access ${grant.id} is extended by ${by}`, {
      ...fieldsOf(grant),
      durationMs,
    }),
  );
}

/** What anybody may do who may ask for it; and what the leader does when its time is over. */
export function endBreakGlass(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"end-break-glass">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const grant = grantOf(state, change.grantId);
  if (grant === undefined) return refuse(state, "break-glass-unknown");
  if (grant.ended !== null) return refuse(state, "break-glass-ended");
  const { why } = change;
  const { by, atMs } = command;
  const ended: BreakGlassGrant = { ...grant, verifier: null, ended: { by, atMs, why } };
  return accept(
    forgetOldest(withGrant(state, ended)),
    event(command, "break-glass.ended", `break-glass access ${grant.id} has ended: ${why}`, {
      ...fieldsOf(grant),
      why,
    }),
  );
}

function opened(command: Command, grant: BreakGlassGrant): ClusterEvent {
  const message = `break-glass access ${grant.id} is open, for ${grant.by} from ${grant.address}`;
  return event(command, "break-glass.opened", message, fieldsOf(grant));
}

function fieldsOf({ id, role, address, durationMs }: BreakGlassGrant): ClusterEvent["fields"] {
  return { grant: id, role, address, durationMs };
}

function grantOf({ breakGlass = [] }: ClusterState, id: string): BreakGlassGrant | undefined {
  return breakGlass.find((grant) => grant.id === id);
}

function withGrant(state: ClusterState, grant: BreakGlassGrant): ClusterState {
  const grants = state.breakGlass ?? [];
  return { ...state, breakGlass: grants.map((each) => (each.id === grant.id ? grant : each)) };
}

function forgetOldest(state: ClusterState): ClusterState {
  const grants = state.breakGlass ?? [];
  const surplus = grants.filter(({ ended }) => ended !== null).length - ENDED_GRANTS_KEPT;
  if (surplus <= 0) return state;
  const oldest = grants
    .filter(({ ended }) => ended !== null)
    .toSorted((a, b) => (a.ended?.atMs ?? 0) - (b.ended?.atMs ?? 0))
    .slice(0, surplus);
  return { ...state, breakGlass: grants.filter((grant) => !oldest.includes(grant)) };
}
