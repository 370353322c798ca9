import type { MemberId } from "../base/ids.ts";

/** One guacamole process, as agreed: `data` has a PostgreSQL beside it, a `witness` only votes. */
export interface Member {
  readonly id: MemberId;
  /** Unique in the cluster; becomes `application_name`, unless `standbyName` is there. */
  readonly name: string;
  /**
   * `application_name` where it is not `name`. The primary counts acknowledgements by this name alone, so a name that
   * another member had before is never used for it again: that member's PostgreSQL may still be running somewhere.
   */
  readonly standbyName?: string;
  readonly kind: "data" | "witness";
  /** host:port of the HTTP API, as other members and people reach it. */
  readonly apiAddress: string;
  /** host:port of the peer transport. */
  readonly peerAddress: string;
  /** host:port of PostgreSQL, as other members reach it. */
  readonly postgresAddress: string;
  readonly tags: MemberTags;
  /**
   * What this member's data directory is known to hold. `none`: it never held this cluster's data, or an operation said
   * to build it anew; only then may a clone create it. `ready`: it streamed once; if it is missing now, something is
   * wrong with the host, and "I see no data" must not mean "make new data" (F7). `replace`: an operation said to build
   * it anew although there may be data.
   */
  readonly data: "none" | "ready" | "replace";
  /** What somebody wants of its vote. Absent: `auto`. */
  readonly voting?: VotingWish;
  /** It is being removed: it is wanted in no cohort, no election and no configuration any more. Absent: it stays. */
  readonly isLeaving?: boolean;
}

/** `auto`: it votes where that makes the group safer. `voter` and `learner` are tried to be kept, whatever else is best. */
export type VotingWish = "auto" | "voter" | "learner";

export interface MemberTags {
  /** Among equally advanced candidates the higher one is promoted. Default 0. */
  readonly failoverPriority: number;
  /** Never promoted. */
  readonly isNoFailover: boolean;
  /** Never one of the synchronous standbys. Absent: it may be. */
  readonly isNoSync?: boolean;
  /** Others are cloned from here rather than from the primary. Absent: not. */
  readonly isCloneSource?: boolean;
  /** What fails together: a rack, a data centre. In a change the empty one takes it away. Absent: not known. */
  readonly zone?: string;
}

/** What a zone may be called. */
export const ZONE = /^[A-Za-z0-9._-]{1,60}$/;

export const DEFAULT_TAGS: MemberTags = { failoverPriority: 0, isNoFailover: false };
