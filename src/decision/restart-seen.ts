import type { MemberId } from "../base/ids.ts";
import type { Observation } from "../cluster/observation.ts";
import type { RestartStep } from "../cluster/restart.ts";

/** When the leader first saw the present step of a planned restart, and its server away; by its monotonic clock. */
export interface RestartSeen {
  /** Names the step; null: none is under way. */
  readonly step: string | null;
  readonly sinceMs: number;
  /** Null: the server that is to end still serves. */
  readonly downSinceMs: number | null;
}

/** A leader that has seen nothing yet. */
export const NO_RESTART_SEEN: RestartSeen = { step: null, sinceMs: 0, downSinceMs: null };

/** What was seen, after one more look. */
export function seeRestart(
  seen: RestartSeen,
  step: RestartStep | null,
  observations: ReadonlyMap<MemberId, Observation>,
  nowMs: number,
): RestartSeen {
  if (step === null) return seen.step === null ? seen : NO_RESTART_SEEN;
  const name = `${step.memberId} ${step.instance}`;
  const { sinceMs, downSinceMs } = name === seen.step ? seen : { sinceMs: nowMs, downSinceMs: null };
  const status = observations.get(step.memberId)?.status;
  const isThere = status === undefined || status.instance === step.instance;
  return { step: name, sinceMs, downSinceMs: downSinceMs ?? (isThere ? null : nowMs) };
}
