import { err, ok, type Result } from "../base/result.ts";
import type { BreakGlassPolicy } from "./break-glass.ts";
import type { DeclaredSpec } from "./declared.ts";
import type { AccessSpec } from "./hba-rule.ts";
import type { IdentitySpec } from "./identity.ts";
import type { ParameterLayers } from "./parameters.ts";

/**
 * What operators want of the cluster. Replicated, versioned by a generation; a member's own file never says any of it.
 */
export interface ClusterSpec {
  readonly durability: Durability;
  readonly timing: Timing;
  /** Absent: at most five vote. */
  readonly consensus?: ConsensusSpec;
  /** Absent: `DEFAULT_FAILOVER`. */
  readonly failover?: FailoverSpec;
  /** Who may connect besides members. Absent: applications by password (`hba-own.ts`). */
  readonly access?: AccessSpec;
  /** Roles and databases that are as they are said to be. From feature level 4 on. Absent: none are. */
  readonly declared?: DeclaredSpec;
  /** From feature level 4 on. Absent: PostgreSQL's base files say it all. */
  readonly postgres?: PostgresSpec;
  /** Absent: `DEFAULT_BREAK_GLASS`. */
  readonly breakGlass?: BreakGlassPolicy;
  /** Who else vouches for callers of the API. From feature level 4 on. Absent: guacamole's own tokens alone. */
  readonly identity?: IdentitySpec;
}

/** How PostgreSQL is configured, beside what guacamole owns. */
export interface PostgresSpec {
  readonly parameters?: ParameterLayers;
}

/** How many members vote. All others learn, and take the place of a voter that is gone. */
export interface ConsensusSpec {
  /** Odd, 1 to 7: an even number would need one more to agree and survive not one loss more. */
  readonly votersMax: number;
}

/** How an acknowledged commit is kept safe (`roadmap/0002-failover.md`). */
export type Durability = QuorumDurability | AsyncDurability;

/** A commit is acknowledged once the primary and `synchronousStandbys` of its cohort have flushed it: none is lost. */
export interface QuorumDurability {
  readonly mode: "quorum";
  /** k in `ANY k (…)`. While fewer standbys exist than this, all that exist must acknowledge. */
  readonly synchronousStandbys: number;
  /**
   * When fewer than k standbys of the cohort are left: `block` keeps the promise and lets commits wait; `degrade` lets
   * the cohort shrink below k, and says so.
   */
  readonly onQuorumLoss: "block" | "degrade";
  /**
   * A primary that does not know yet that its reign was ended can acknowledge nothing, but answers reads from the past. `refuse`:
   * it needs a lease to reign, as in `async`, and nobody follows before that is over. It ends, too, where no majority is left.
   * Absent: `allow`.
   */
  readonly staleReads?: "refuse";
}

/**
 * The primary acknowledges alone, for as long as it holds a lease. A failover may lose what the successor had not received:
 * by itself no member is appointed that lacks more than `maxLagBytes` of what the primary was last seen to have.
 */
export interface AsyncDurability {
  readonly mode: "async";
  readonly maxLagBytes: number;
}

/** What is done about a primary in trouble. */
export interface FailoverSpec {
  /**
   * When the postmaster ends by itself: `failover` appoints another member at once; `restart` lets it come back first, and
   * appoints another only if it does not. `auto`: `failover` where nothing can be lost by it (`quorum`), else `restart`.
   */
  readonly onCrash: "auto" | "failover" | "restart";
  /** How long a primary that crashed is waited for before another is appointed, where it is to come back. */
  readonly restartMsMax: number;
  /** For so long after an automatic failover the next one needs a stronger proof: silence must last twice as long. */
  readonly calmMs: number;
  /** So many primaries in a row that fall within `crashLoopMs` of their appointment are a loop: it is held, for longer each time. */
  readonly crashLoopCount: number;
  readonly crashLoopMs: number;
  /** A sync of a small file beside PostgreSQL's that takes longer than this: the disk has stalled. */
  readonly diskStallMs: number;
}

export const DEFAULT_FAILOVER: FailoverSpec = {
  onCrash: "auto",
  restartMsMax: 10_000,
  calmMs: 15_000,
  crashLoopCount: 4,
  crashLoopMs: 3_000,
  diskStallMs: 3_000,
};

/** The policies in force. */
export function failoverOf(spec: ClusterSpec): FailoverSpec {
  return spec.failover ?? DEFAULT_FAILOVER;
}

/** k as the spec asks for it: 0 where the primary acknowledges alone. */
export function synchronousStandbysOf({ durability }: ClusterSpec): number {
  return durability.mode === "quorum" ? durability.synchronousStandbys : 0;
}

/** Whether fewer acknowledgements may be asked for when too few standbys are left. */
export function mayDegrade({ durability }: ClusterSpec): boolean {
  return durability.mode === "async" || durability.onQuorumLoss === "degrade";
}

/** Whether a primary may not answer reads from the moment on at which another may reign. */
export function refusesStaleReads({ durability }: ClusterSpec): boolean {
  return durability.mode === "quorum" && durability.staleReads === "refuse";
}

/** Whether the primary acknowledges alone, under a lease. */
export function isLeased({ durability }: ClusterSpec): boolean {
  return durability.mode === "async";
}

export interface Timing {
  /** The Raft leader speaks to each member this often. */
  readonly heartbeatMs: number;
  /** A follower that hears nothing stands for election after a random time between these two. */
  readonly electionMsMin: number;
  readonly electionMsMax: number;
  /** A member that is silent for this long is suspected. */
  readonly suspectMs: number;
  /** How long a lease lasts (`async` durability). Absent: four times `suspectMs`. */
  readonly leaseMs?: number;
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

export const DEFAULT_QUORUM: QuorumDurability = {
  mode: "quorum",
  synchronousStandbys: 1,
  onQuorumLoss: "block",
};

/** One segment of WAL: what a standby that streams lacks for a moment. */
export const DEFAULT_ASYNC: AsyncDurability = { mode: "async", maxLagBytes: 16 * 1024 * 1024 };

export const DEFAULT_SPEC: ClusterSpec = {
  durability: DEFAULT_QUORUM,
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
  if (timing.suspectMs < 4 * timing.heartbeatMs) {
    return err(
      `suspectMs (${timing.suspectMs}) must be at least four times heartbeatMs (${timing.heartbeatMs})`,
    );
  }
  if (timing.leaseMs !== undefined && timing.leaseMs < 2 * timing.suspectMs) {
    return err(`leaseMs (${timing.leaseMs}) must be at least twice suspectMs (${timing.suspectMs})`);
  }
  return ok(timing);
}
