import { err, ok, type Result } from "../base/result.ts";

/**
 * What operators want of the cluster. Replicated, versioned by a generation; a member's own file never says any of it.
 */
export interface ClusterSpec {
  readonly durability: Durability;
  readonly timing: Timing;
  /** Absent: at most five vote. */
  readonly consensus?: ConsensusSpec;
}

/** How many members vote. All others learn, and take the place of a voter that is gone. */
export interface ConsensusSpec {
  /** Odd, 1 to 7: an even number would need one more to agree and survive not one loss more. */
  readonly votersMax: number;
}

/**
 * How an acknowledged commit is kept safe (`roadmap/0002-failover.md`).
 *
 * `quorum`: a commit is acknowledged once the primary and `synchronousStandbys` of its cohort have flushed it.
 */
export interface Durability {
  readonly mode: "quorum";
  /** k in `ANY k (…)`. While fewer standbys exist than this, all that exist must acknowledge. */
  readonly synchronousStandbys: number;
  /**
   * When fewer than k standbys of the cohort are left: `block` keeps the promise and lets commits wait; `degrade` lets
   * the cohort shrink below k, and says so.
   */
  readonly onQuorumLoss: "block" | "degrade";
}

export interface Timing {
  /** The Raft leader speaks to each member this often. */
  readonly heartbeatMs: number;
  /** A follower that hears nothing stands for election after a random time between these two. */
  readonly electionMsMin: number;
  readonly electionMsMax: number;
  /** A member that is silent for this long is suspected. */
  readonly suspectMs: number;
}

/** Profiles change all times together, so that they keep their proportions. */
export const TIMING_PROFILES = {
  "lan-fast": { heartbeatMs: 50, electionMsMin: 300, electionMsMax: 500, suspectMs: 600 },
  lan: { heartbeatMs: 75, electionMsMin: 500, electionMsMax: 800, suspectMs: 1000 },
  wan: { heartbeatMs: 250, electionMsMin: 2500, electionMsMax: 4000, suspectMs: 6000 },
} as const satisfies Readonly<Record<string, Timing>>;

const DEFAULT_VOTERS_MAX = 5;

/** How many members may vote, where nobody said otherwise too. */
export function votersMaxOf(spec: ClusterSpec): number {
  return spec.consensus?.votersMax ?? DEFAULT_VOTERS_MAX;
}

export const DEFAULT_SPEC: ClusterSpec = {
  durability: { mode: "quorum", synchronousStandbys: 1, onQuorumLoss: "block" },
  timing: TIMING_PROFILES.lan,
};

/** An election must outlast five heartbeats, or a single lost packet would depose a leader. */
export function validateTiming(timing: Timing): Result<Timing, string> {
  if (timing.electionMsMin < 5 * timing.heartbeatMs) {
    return err(
      `electionMsMin (${timing.electionMsMin}) must be at least five times heartbeatMs (${timing.heartbeatMs})`,
    );
  }
  if (timing.electionMsMax <= timing.electionMsMin) {
    return err(
      `electionMsMax (${timing.electionMsMax}) must be more than electionMsMin (${timing.electionMsMin})`,
    );
  }
  return ok(timing);
}
