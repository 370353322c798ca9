import type { Result } from "../base/result.ts";

/**
 * What the offline tools ask of a stopped member's data directory. `main` hands it in, since the command line knows no
 * database. Every failure is a sentence that says what was wrong and what to do.
 */
export interface RecoverPorts {
  /** Reads everything, checks it, changes nothing. Refused while the member runs. */
  inspect(dataDir: string): Promise<Result<Inspection, string>>;
  /** What `forceNewGroup` would do; changes nothing. */
  plan(request: NewGroupRequest): Promise<Result<NewGroupPlan, string>>;
  /** Makes this member a cluster of its own. Refused while the member runs. */
  forceNewGroup(request: NewGroupRequest): Promise<Result<NewGroup, string>>;
  /** Makes an empty data directory a member of its own from a backup. */
  restore(request: RestoreRequest): Promise<Result<NewGroup, string>>;
}

export interface NewGroupRequest {
  readonly dataDir: string;
  /** Its PostgreSQL shall be primary, whatever others may have acknowledged. */
  readonly makePrimary: boolean;
}

export interface RestoreRequest extends NewGroupRequest {
  readonly file: string;
  /** Name of the member that the directory shall belong to. */
  readonly memberName: string;
}

/** A stopped member's log, as one line of a comparison needs it. Saved as JSON by `recover inspect --output json`. */
export interface Inspection {
  readonly dataDir: string;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly recoveryEpoch: number;
  readonly memberId: string;
  readonly memberName: string;
  /** The newest term that this member knows of. */
  readonly term: number;
  /** Term and index of the last entry: the greater, compared in this order, the more this member knows. */
  readonly lastTerm: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly floorIndex: number;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
  readonly members: readonly string[];
  readonly primary: string | null;
  readonly epoch: number | null;
  readonly featureLevel: number;
  /** What is wrong with the log or the state; empty: every checksum is right. */
  readonly flaws: readonly string[];
}

export interface NewGroupPlan {
  readonly memberName: string;
  readonly clusterName: string;
  readonly clusterId: string;
  /** What stays, what goes, and what must be done elsewhere: a sentence each. */
  readonly kept: readonly string[];
  readonly dropped: readonly string[];
  readonly elsewhere: readonly string[];
}

export interface NewGroup extends NewGroupPlan {
  readonly newClusterId: string;
}
