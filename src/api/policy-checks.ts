/** What policies must be like, whoever says them by whichever route. */
import { type BreakGlassPolicy, breakGlassPolicyOf } from "../cluster/break-glass.ts";
import {
  type ClusterSpec,
  type Durability,
  TIMING_PROFILES,
  type Timing,
  validateTiming,
} from "../cluster/spec.ts";
import { type ClusterState, leaseMsOf } from "../cluster/state.ts";
import type { BreakGlassPolicyChange } from "./break-glass-documents.ts";
import type { TopologyChange } from "./documents.ts";
import { ApiProblem } from "./problem.ts";

/** @throws {ApiProblem} 422 where the times contradict each other. */
export function requireSoundTiming(timing: Timing): void {
  const valid = validateTiming(timing);
  if (!valid.ok) throw contradiction("timing", valid.error);
}

/** @throws {ApiProblem} 422 where more standbys are to acknowledge than there are. */
export function requireEnoughStandbys({ members }: ClusterState, durability: Durability): void {
  if (durability.mode !== "quorum") return;
  const others = members.filter(({ kind, isLeaving }) => kind === "data" && isLeaving !== true).length - 1;
  if (durability.synchronousStandbys <= Math.max(1, others)) return;
  throw contradiction(
    "durability.synchronousStandbys",
    `${durability.synchronousStandbys} standbys cannot acknowledge where there are ${others}`,
  );
}

/** @throws {ApiProblem} 422 where what is asked for by default would be more than is allowed. */
export function changedBreakGlass(spec: ClusterSpec, change: BreakGlassPolicyChange): BreakGlassPolicy {
  const present = breakGlassPolicyOf(spec);
  const { approvals = present.approvals, defaultSeconds, maxSeconds } = change;
  const durationMsDefault = defaultSeconds === undefined ? present.durationMsDefault : defaultSeconds * 1_000;
  const durationMsMax = maxSeconds === undefined ? present.durationMsMax : maxSeconds * 1_000;
  if (durationMsDefault > durationMsMax)
    throw contradiction("defaultSeconds", "it would be more than maxSeconds, which is the most there may be");
  return { approvals, durationMsDefault, durationMsMax };
}

export function changedTiming(timing: Timing, change: TopologyChange["timing"]): Timing {
  if (change === undefined) return timing;
  return "profile" in change ? TIMING_PROFILES[change.profile] : { ...timing, ...change };
}

/** With the lease that counts where nobody said one. */
export function effectiveTiming(state: Pick<ClusterState, "spec" | "featureLevel">) {
  const { heartbeatMs, electionMsMin, electionMsMax, suspectMs } = state.spec.timing;
  return { heartbeatMs, electionMsMin, electionMsMax, suspectMs, leaseMs: leaseMsOf(state) };
}

function contradiction(field: string, what: string): ApiProblem {
  return new ApiProblem({
    status: 422,
    code: "invalid-request",
    detail: `${field}: ${what}. Nothing was changed.`,
  });
}
