/** Changes of what operators want. Each is made for one version of it, and made again where somebody else was faster. */
import type { Generation } from "../base/ids.ts";
import type { Change } from "../cluster/command.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem, outcomeProblem } from "./problem.ts";
import type { Asker } from "./route-context.ts";
import { look, type Sight } from "./sight.ts";
import { requireMatch } from "./spec-version.ts";
import { outcomeBefore, PROPOSE_DEADLINE_MS, submit, type Wish, wishOf } from "./submit.ts";

export interface Asked {
  readonly caller: Asker;
  /** Part of the identity of a repeated request. */
  readonly route: string;
  readonly headers: {
    readonly "idempotency-key"?: string | undefined;
    readonly "if-match"?: string | undefined;
  };
}

/** What a request comes to, made for the version that was looked at. */
export interface Made<Told> {
  /** Null: it is so already. */
  readonly change: Change | null;
  /** For the answer. */
  readonly told: Told;
}

/** So many others may be faster, one after the other. */
const ATTEMPTS_MAX = 200;

/**
 * Has a change agreed that `make` makes of what is agreed now. Who named a version (`If-Match`) is refused where it is another one by
 * then; for all others it is made again, of what somebody else has made of it meanwhile.
 *
 * A repeated request is answered as the first one, which may have been made several times: each attempt has an id of its own, and
 * is proposed only once it is certain that the one before was refused.
 *
 * @returns what `make` told with the change; null where the request was made and agreed before.
 * @throws {ApiProblem} whatever `make` throws, 412 for another version than was named, and as `submit` does.
 */
export async function changeWanted<Told>(
  ports: ApiPorts,
  { caller, route, headers }: Asked,
  make: (sight: Sight, generation: Generation) => Promise<Made<Told>>,
): Promise<Told | null> {
  const ifMatch = headers["if-match"] ?? null;
  const isForAny = ifMatch === null || ifMatch === "*";
  const wish = wishOf(ports, caller, route, headers["idempotency-key"] ?? null);
  const first = await nextAttempt(ports, wish, isForAny);
  if (first === null) return null;
  const untilMs = ports.clock.nowMs() + PROPOSE_DEADLINE_MS;
  for (let attempt = first; ; attempt += 1) {
    const sight = look(ports);
    const { change, told } = await make(sight, requireMatch(sight.state, ifMatch));
    if (change === null) return told;
    try {
      await submit(ports, attemptOf(wish, attempt), change);
      return told;
    } catch (error) {
      const isOver = attempt - first >= ATTEMPTS_MAX || ports.clock.nowMs() >= untilMs;
      if (!isForAny || isOver || !wasOvertaken(error)) throw error;
    }
  }
}

function wasOvertaken(error: unknown): boolean {
  return error instanceof ApiProblem && error.parts.code === "stale-generation";
}

function attemptOf(wish: Wish, attempt: number): Wish {
  return attempt === 1 ? wish : { ...wish, commandId: `${wish.commandId}-${attempt}` };
}

/** The number of the attempt that is to be made, from 1; null: one of them was agreed. @throws {ApiProblem} 409 as it was refused. */
async function nextAttempt(ports: ApiPorts, wish: Wish, isForAny: boolean): Promise<number | null> {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await outcomeBefore(ports, attemptOf(wish, attempt));
    if (outcome === null) return attempt;
    if (outcome.ok) return null;
    if (!isForAny || outcome.code !== "stale-generation") throw outcomeProblem(outcome);
  }
}
