/** The cluster's authority: another one in its place, step by step, held and ended by people. */
import { type Applied, accept, type ChangeOf, event, refuse } from "./applied.ts";
import { type AuthorityChange, authorityPhase, withoutOther } from "./authority-change.ts";
import type { Command } from "./command.ts";
import { isUnderstoodByAll } from "./feature-level.ts";
import { beginOperation, closeOperation, isRunning, logOperation } from "./operations.ts";
import type { ClusterState } from "./state.ts";

const SHOWN = 16;

/** One at a time. From here on everybody begins to trust both; nothing is signed by the new one yet. */
export function replaceAuthority(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"replace-authority">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  if (state.authorityChange != null) return refuse(state, "operation-running");
  // It was made to follow another one than the present.
  if (state.authority.certificatePem !== change.presentPem) return refuse(state, "stale-generation");
  const { operationId, memberId, authority: other, isHeld } = change;
  const authorityChange: AuthorityChange = {
    operationId,
    step: "trust",
    other,
    fingerprint: change.presentFingerprint,
    otherFingerprint: change.fingerprint,
    ...(isHeld ? { isHeld } : {}),
  };
  const name = change.fingerprint.slice(0, SHOWN);
  const begun = beginOperation(state, command, {
    id: operationId,
    kind: "authority-change",
    memberId,
    phase: "trusting",
    message: `authority ${name}… is made; every member is to trust it beside the present one${isHeld ? ", and nothing is signed before somebody lets it go on" : ""}`,
  });
  return accept(
    { ...begun, authorityChange },
    event(command, "authority.replacing", `the cluster's authority is being replaced by ${name}…`, {
      fingerprint: change.fingerprint,
      operation: operationId,
    }),
  );
}

/** The leader has seen that every member is ready for the next step. */
export function advanceAuthority(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"advance-authority">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { authorityChange } = state;
  if (authorityChange?.operationId !== change.operationId) return refuse(state, "stale-operation");
  if (authorityChange.isHeld === true) return refuse(state, "operation-running");
  const isDue = authorityChange.step === (change.step === "sign" ? "trust" : "sign");
  if (!isDue) return refuse(state, "stale-operation");
  return change.step === "sign"
    ? sign(state, command, authorityChange)
    : forget(state, command, authorityChange);
}

function sign(state: ClusterState, command: Command, change: AuthorityChange): Applied {
  const { operationId } = change;
  const { swapped, ended } = swap(state, { ...change, step: "sign" });
  const name = change.otherFingerprint.slice(0, SHOWN);
  const message = `every member trusts both: certificates are signed by ${name}… from now on${tellEnded(ended)}`;
  const told = logOperation(swapped, command, operationId, "signing", message);
  return accept(told, event(command, "authority.signing", message, { operation: operationId }));
}

function forget(state: ClusterState, command: Command, change: AuthorityChange): Applied {
  const { operationId, otherFingerprint, cancelledBy } = change;
  const gone = `no member shows a certificate of ${otherFingerprint.slice(0, SHOWN)}… any more: it counts for nobody from now on`;
  const message = cancelledBy === undefined ? gone : `it was ended by ${cancelledBy}; ${gone}`;
  const status = cancelledBy === undefined ? "succeeded" : "failed";
  const closed = closeOperation(withoutOther(state), command, operationId, status, message);
  return accept(closed, event(command, "authority.replaced", message, { operation: operationId }));
}

/** The other authority signs. A join token names the one that signed when it was made: those that nobody used end here. */
function swap(
  state: ClusterState,
  change: AuthorityChange,
): { readonly swapped: ClusterState; readonly ended: number } {
  const { fingerprint, otherFingerprint, other } = change;
  const joinTokens = state.joinTokens.filter(({ usedBy }) => usedBy !== null);
  const swapped: ClusterState = {
    ...state,
    authority: other,
    authorityChange: {
      ...change,
      other: state.authority,
      fingerprint: otherFingerprint,
      otherFingerprint: fingerprint,
    },
    joinTokens,
  };
  return { swapped, ended: state.joinTokens.length - joinTokens.length };
}

function tellEnded(count: number): string {
  return count === 0 ? "" : `; ${count} join tokens that name the former one have ended: make new ones`;
}

/** Somebody holds it, lets it go on, or ends it; once certificates have been signed, the way back is the same way. */
export function steerAuthority(
  state: ClusterState,
  command: Command,
  change: ChangeOf<"steer-authority">,
): Applied {
  if (!isUnderstoodByAll(state, change)) return refuse(state, "feature-level-low");
  const { authorityChange } = state;
  const { operationId } = change;
  if (authorityChange?.operationId !== operationId)
    return refuse(state, isRunning(state, operationId) ? "not-steerable" : "stale-operation");
  const { isHeld: _isHeld, ...going } = authorityChange;
  const { by } = command;
  const tell = (so: ClusterState, name: string, [shown, message]: readonly [string, string]): Applied =>
    accept(
      logOperation(so, command, operationId, shown, message),
      event(command, name, message, { operation: operationId }),
    );
  switch (change.wish) {
    case "hold": {
      const held = { ...state, authorityChange: { ...going, isHeld: true as const } };
      return tell(held, "authority.held", ["held", `${by} holds it: no further step is begun`]);
    }
    case "resume": {
      const resumed = { ...state, authorityChange: going };
      return tell(resumed, "authority.resumed", [authorityPhase(going), `${by} lets it go on`]);
    }
    default:
      return going.cancelledBy === undefined ? cancel(state, command, going) : refuse(state, "not-steerable");
  }
}

function cancel(state: ClusterState, command: Command, going: AuthorityChange): Applied {
  const { operationId } = going;
  const { by } = command;
  if (going.step === "trust") {
    const message = `it was ended by ${by}: the authority stays, and nothing was signed by the other one`;
    const closed = closeOperation(withoutOther(state), command, operationId, "failed", message);
    return accept(closed, event(command, "authority.cancelled", message, { operation: operationId }));
  }
  const { swapped, ended } = swap(state, { ...going, cancelledBy: by });
  const message = `it was ended by ${by}: certificates are signed by the authority from before again${tellEnded(ended)}`;
  const told = logOperation(swapped, command, operationId, "going-back", message);
  return accept(told, event(command, "authority.cancelled", message, { operation: operationId }));
}
