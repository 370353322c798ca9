import { unreachable } from "../base/assert.ts";
import type { Asked, Change, Command, Outcome } from "../cluster/command.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { isUnderstoodByAll } from "../cluster/feature-level.ts";
import { type ClusterState, featureLevelOf } from "../cluster/state.ts";
import { hashSecret } from "./credential.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, notReadyProblem, outcomeProblem } from "./problem.ts";
import type { Asker } from "./route-context.ts";

/** A write is answered within this time: agreed, refused, or honestly unknown. */
export const PROPOSE_DEADLINE_MS = 10_000;

/** One wish to change something, from one request. */
export interface Wish {
  /** The same for a repeated request with the same Idempotency-Key, so that apply() sees it once. */
  readonly commandId: string;
  readonly caller: Asker;
  /** The caller gave a key, so it may have been made before. */
  readonly isRepeatable: boolean;
}

const KEY = /^[\x21-\x7e]{1,200}$/;

/**
 * @param key the Idempotency-Key header, if any. It belongs to the caller and to the route: another caller's equal key
 *   is another wish.
 * @throws {ApiProblem} 422 for a key that is not 1 to 200 printable characters.
 */
export function wishOf(ports: ApiPorts, caller: Asker, route: string, key: string | null): Wish {
  if (key === null) return { commandId: ports.newId(), caller, isRepeatable: false };
  if (!KEY.test(key)) {
    throw new ApiProblem({
      status: 422,
      code: "invalid-request",
      detail: "The header Idempotency-Key must be 1 to 200 printable characters without spaces.",
    });
  }
  return {
    commandId: `key-${hashSecret(`${caller.by}\n${route}\n${key}`).slice(0, 40)}`,
    caller,
    isRepeatable: true,
  };
}

/** Whoever leads is asked for so long whether an equal wish was made before. */
const REPEAT_DEADLINE_MS = 2_000;

/**
 * Whether this very wish was made before, by its Idempotency-Key, and was agreed: then it is to be answered as it was then,
 * whatever would be said against it by now.
 *
 * @throws {ApiProblem} 409 where it was refused then, with the same code.
 */
export async function wasAgreedBefore(ports: ApiPorts, wish: Wish): Promise<boolean> {
  const outcome = await outcomeBefore(ports, wish);
  if (outcome?.ok === false) throw outcomeProblem(outcome);
  return outcome !== null;
}

/** What became of this very wish where it was made before, by its Idempotency-Key. Null: nothing that is known. */
export async function outcomeBefore(
  ports: ApiPorts,
  { commandId, isRepeatable }: Wish,
): Promise<Outcome | null> {
  const consensus = ports.consensus();
  if (consensus === null || !isRepeatable) return null;
  const known = await consensus.outcomeOf(commandId);
  if (known !== null) return known;
  // The first time it may have come to another member. Where nobody can say, whatever follows says so.
  const { kind } = await consensus.barrier(REPEAT_DEADLINE_MS);
  return kind === "reached" ? await consensus.outcomeOf(commandId) : null;
}

/**
 * Has a change agreed; returns once it is applied on this member as well.
 *
 * @throws {ApiProblem} 409 refused (with the RefusalCode), 503 `no-leader`, 504 `unknown-outcome`, 409 `not-formed`.
 */
export async function submit(ports: ApiPorts, wish: Wish, change: Change): Promise<void> {
  const consensus = ports.consensus();
  if (consensus === null) throw notReadyProblem(ports.memberId() !== null);
  const command: Command = {
    id: wish.commandId,
    atMs: ports.clock.wallMs(),
    by: wish.caller.by,
    change: lean(consensus.state, change),
    ...askedFor(consensus.state, wish.caller.asked),
  };
  requireUnderstood(consensus.state, change);
  await propose(consensus, command);
}

/** Thousands of declared roles are not sent along with a change that is none of theirs. */
function lean({ spec: present }: ClusterState, change: Change): Change {
  if (change.kind !== "change-spec" || present.declared === undefined) return change;
  const { declared, ...spec } = change.spec;
  return declared === present.declared ? { ...change, spec, keepsDeclared: true } : change;
}

/** How a command was asked for, once every member tells it in the audit trail. */
export function askedFor(state: ClusterState, asked: Asked): { readonly asked?: Asked } {
  return featureLevelOf(state) >= 4 ? { asked } : {};
}

/** An older member could not apply it: it must not even stand in the log. @throws {ApiProblem} 409 `feature-level-low`. */
export function requireUnderstood(state: ClusterState, change: Change): void {
  if (isUnderstoodByAll(state, change)) return;
  throw new ApiProblem({
    status: 409,
    code: "feature-level-low",
    detail: "Some member runs a release that does not know this yet; nothing was done.",
    hint: "Upgrade every member: 'guacamole member list' shows the versions. The rest happens by itself.",
  });
}

async function propose(consensus: Consensus, command: Command): Promise<void> {
  const result = await consensus.propose(command, PROPOSE_DEADLINE_MS);
  switch (result.kind) {
    case "applied":
      if (!result.outcome.ok) throw outcomeProblem(result.outcome);
      return;
    case "not-proposed":
      throw new ApiProblem({
        status: 503,
        code: "no-leader",
        detail: `Nothing was changed: there is no leader to agree with (${result.reason}).`,
        hint: "A majority of members must be up and reach each other. Try again in a moment.",
        headers: { "retry-after": "1" },
      });
    case "overloaded":
      throw new ApiProblem({
        status: 503,
        code: "overloaded",
        detail: `Nothing was changed: more waits to be agreed than may wait (${result.reason}).`,
        hint: "Try again in a moment, with fewer requests at a time.",
        headers: { "retry-after": "1" },
      });
    case "unknown":
      throw new ApiProblem({
        status: 504,
        code: "unknown-outcome",
        detail: `It is not known whether this was agreed, and it may still happen (${result.reason}).`,
        hint: "Look before you repeat it, or repeat it with the same Idempotency-Key: then it takes effect once at most.",
      });
    default:
      unreachable(result);
  }
}
