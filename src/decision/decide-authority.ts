/**
 * When the change of the cluster's authority goes a step on: once every member has done what the step needs, as it says itself.
 * Pure, and taken anew at each look, so that it does not matter who leads. A member that is away is waited for, for as long as it
 * is a member: gone on without it, nobody would know it when it comes back.
 */
import { authorityPhase, whyAuthorityWaits } from "../cluster/authority-change.ts";
import type { Member } from "../cluster/member.ts";
import { type ClusterDecision, propose } from "./cluster-decision.ts";
import { type ClusterView, isHeard } from "./cluster-view.ts";

/** @returns null where no authority is being replaced, or nothing is due. */
export function decideAuthority(view: ClusterView, otherwise: ClusterDecision): ClusterDecision | null {
  const { authorityChange: change, reign, restart, switchover, members } = view.state;
  // One thing at a time: whoever is about to begin anew, or to be appointed, shall not have to prove itself anew as well.
  const isCalm =
    otherwise.kind === "hold" && reign?.fence == null && switchover === null && restart?.step == null;
  if (change == null || !isCalm) return null;
  const { operationId, step } = change;
  const waits = members.flatMap((member) => {
    const seen = view.observations.get(member.id)?.status;
    const why = whyAuthorityWaits(change, isHeard(view, member.id) ? seen?.certificates : null);
    return why === null ? [] : [{ member, why }];
  });
  const silent = waits.filter(({ why }) => why === "silent").map(({ member }) => member);
  const news = tellSilent(view, silent);
  if (news !== null || waits.length > 0 || change.isHeld === true) return news;
  const next = step === "trust" ? "sign" : "forget";
  return propose(
    { kind: "advance-authority", operationId, step: next },
    next === "sign" ? "authority-trusted" : "authority-unused",
  );
}

const WAITING = "waiting for ";

/** Who holds it up, once; and once more when they are heard again. */
function tellSilent({ state }: ClusterView, silent: readonly Member[]): ClusterDecision | null {
  const change = state.authorityChange;
  const operation = state.operations.find(({ id }) => id === change?.operationId);
  if (change == null || operation === undefined) return null;
  const names = silent.map(({ name }) => name).join(", ");
  const isToldWaiting = operation.phase.startsWith(WAITING);
  const phase = silent.length > 0 ? `${WAITING}${names}` : authorityPhase(change);
  if (operation.phase === phase || (silent.length === 0 && !isToldWaiting)) return null;
  const message =
    silent.length > 0
      ? `it waits for ${names}, not heard now: start it, or take it out ('guacamole member remove'); gone on without, it could not come back`
      : "all are heard again";
  return propose(
    { kind: "progress-operation", operationId: operation.id, phase, message },
    "operation-progress",
  );
}
