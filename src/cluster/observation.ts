import type { Epoch, MemberId, TimelineId } from "../base/ids.ts";
import type { Lsn, Position } from "../base/lsn.ts";
import type { BreakGlassStatus } from "./break-glass.ts";
import type { StandbyLimit } from "./parameter-rules.ts";
import type { CohortName } from "./state.ts";

/**
 * What a member says of itself. Travels between members as JSON, is kept in memory only, never in the log: only
 * decisions are agreed.
 */
export interface MemberStatus {
  readonly memberId: MemberId;
  /** Changes with each start of the process: a status of an earlier life is recognised and dropped. */
  readonly bootId: string;
  /** More in each life than in those before. Absent: a release that does not count them. */
  readonly life?: number;
  /** Grows with each status of one life. */
  readonly sequence: number;
  readonly postgres: PostgresStatus;
  readonly promises: Promises;
  /** The data directory was built anew and the old one is still kept aside. */
  readonly isRebuilt: boolean;
  /** Long work that is under way on this member, or null. */
  readonly work: WorkProgress | null;
  /** What the member is doing or waiting for, as a reason (`decision/reasons.ts`). */
  readonly reason: string;
  readonly detail: string | null;
  /** On the leader: what it does or waits for with the cluster, as a reason and a sentence. Null elsewhere. */
  readonly leading: Leading | null;
  /** Version of the binary. */
  readonly version: string;
  /** The highest feature level that this binary understands. Absent: 1. */
  readonly featureLevel?: number;
  /** How the postmaster's process is, by the kernel; null without one. Absent: not known. */
  readonly postmasterState?: PostmasterState | null;
  /** The disks under PostgreSQL, as the supervisor sees them. Absent: not known. */
  readonly disks?: readonly DiskStatus[];
  /** What asks more of PostgreSQL than a look. Absent: it is not asked. */
  readonly checks?: Checks;
  /** Parameters that wait for PostgreSQL to be started again. Absent: none are known to. */
  readonly pendingRestart?: readonly string[];
  /** Names the server that runs: another one after each start. Absent: none runs, or that is not known. */
  readonly instance?: string;
  /** What the running server has of the limits that standbys share with their primary, and would have after a start. */
  readonly limits?: ServerLimits;
  /** The host's own time of this look, in its own words: the leader hands it back as a lease. Only of a leased primary. */
  readonly leaseStampMs?: number;
  /** Programs that the host's owner has run at turns. Absent: there are none. */
  readonly hooks?: HooksStatus;
  /** Of the PostgreSQL beside this member. Absent: not known. */
  readonly postgresMajor?: number;
  /** Which rules for connections PostgreSQL has. Absent: guacamole's defaults, and nothing else is wanted. */
  readonly access?: AccessStatus;
  /** Who is let in here for a while. Absent: nobody is, or lately was. */
  readonly breakGlass?: BreakGlassStatus;
  /** Only of a primary, where roles or databases are declared. */
  readonly declared?: DeclaredStatus;
  /** How the audit trail gets to the syslog daemon of the host's owner. Absent: none is named. */
  readonly syslog?: SyslogStatus;
  /** When its certificates end, by wall clocks. Absent: a release that does not say it. */
  readonly certificates?: CertificatesStatus;
  /**
   * The newest cohort that this member knew of before it looked, and that everything under way here was decided on: what
   * the look shows of the rule for commits holds of it. Absent: no reign, or a release that does not say it.
   */
  readonly cohortKnown?: CohortName;
  /** The newest version of what is wanted of which nothing was left to configure here. Absent: none yet, or an older release. */
  readonly spec?: SpecInForce;
  /** Under which lease PostgreSQL may reign now. Absent or null: none is held. */
  readonly lease?: { readonly epoch: Epoch; readonly remainingMs: number } | null;
}

export interface SyslogStatus {
  /** Where the daemon is, as the host's file says it. */
  readonly target: string;
  /** Why nothing can be sent now; null: it can. */
  readonly problem: string | null;
  /** Refusals that wait to be sent. Changes wait in the trail itself. */
  readonly waiting: number;
  /** At most so many entries were never sent, since this process started: more than may wait, or forgotten by the trail. */
  readonly lost: number;
}

/** A version of the spec, by what is agreed of it. */
export interface SpecInForce {
  readonly generation: number;
  /** Of the newest version that is kept up to there; null: none is. */
  readonly checksum: string | null;
}

/** Milliseconds since 1970. */
export interface CertificatesStatus {
  readonly memberEndsAtMs: number;
  /** Of what its API shows: its owner's own certificate, or the member's. */
  readonly apiEndsAtMs: number;
  readonly authorityEndsAtMs: number;
  /** What people have to look after, one sentence each. */
  readonly problems: readonly string[];
  /**
   * SHA-256 of the certificates of the authorities whose members are let in here, by other members and by PostgreSQL alike;
   * never one that is trusted on disk only. Absent: not known yet, or a release that does not say it.
   */
  readonly trusted?: readonly string[];
  /** The same of the one that signed what is shown here, by whoever shows one. Absent: as above. */
  readonly issuer?: string;
}

/** Absent from `MemberStatus` until this very server was asked, which tells that `pendingRestart` is of it too. */
export type ServerLimits = Readonly<
  Record<StandbyLimit, { readonly running: number; readonly wanted: number }>
>;

/** Revisions are those of `AccessSpec`; null: guacamole's defaults. */
export interface AccessStatus {
  /** Of the rules that this member gave to PostgreSQL. */
  readonly revision: number | null;
  /** Of those that it was asked to give last. Absent: it cannot be asked. */
  readonly askedRevision?: number | null;
  /** Why those that are wanted are not in force. */
  readonly problem: string | null;
}

/** How many of what is declared are not as they should be on this primary, as of a revision of the declaration. */
export interface DeclaredStatus {
  readonly revision: number | null;
  readonly impossible: number;
  readonly drift: number;
  readonly pending: number;
}

export interface HooksStatus {
  /** One is asked before this member hands over. */
  readonly guardsSwitchover: boolean;
  /** What became of the last one that was run. Null: none was. */
  readonly last: HookResult | null;
  /** What the host's owner named, in the order of a change of the primary. Absent: not said. */
  readonly named?: readonly NamedHook[];
  /** What came last of each, where it was run. Absent: not said. */
  readonly results?: readonly HookResult[];
}

export type HookName = "before-switchover" | "on-role-change" | "after-switchover" | "after-failover";

export interface NamedHook {
  readonly hook: HookName;
  /** The program's path. */
  readonly program: string;
  readonly timeoutMs: number;
  /** How often it is tried at most. */
  readonly attempts: number;
}

export interface HookResult {
  readonly hook: HookName;
  readonly isOk: boolean;
  /** How often it was tried. */
  readonly attempts: number;
  /** What it said, or why it failed. */
  readonly detail: string;
  /** By this host's wall clock. */
  readonly atMs: number;
}

/** `stopped`: by SIGSTOP or a debugger. `uninterruptible`: waiting for a disk. */
export type PostmasterState = "running" | "stopped" | "uninterruptible";

/** One directory that PostgreSQL depends on, probed by writing and syncing a small file in it. */
export interface DiskStatus {
  readonly place: "data" | "wal" | "state";
  /** How long the last probe that ended took. */
  readonly lastSyncMs: number | null;
  /** For how long the present probe has been waiting; null where none is under way. */
  readonly pendingMs: number | null;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** There is no room left to write the probe. */
  readonly isFull: boolean;
}

/** For how long something has been failing; null: it works, or is not asked now. */
export interface Checks {
  /** A new connection, as a client makes it. */
  readonly connectionFailingMs: number | null;
  /** A small write to WAL, on a primary. */
  readonly writeFailingMs: number | null;
  /** The postmaster's process has been stopped. */
  readonly postmasterStoppedMs: number | null;
  readonly detail: string | null;
}

/** What a leader does with the cluster, and with the group that votes. */
export interface Leading {
  readonly reason: string;
  readonly text: string;
  /** Release 0.1.0 does not say it. */
  readonly voters?: { readonly reason: string; readonly text: string };
}

/** What the supervisor keeps on disk and never goes back on (F3). */
export interface Promises {
  /** The newest epoch the supervisor has seen; older commands are refused. */
  readonly newestEpoch: Epoch;
  /** Promised: no WAL is received or acknowledged under this epoch or an older one. */
  readonly pledgedEpoch: Epoch;
  /** The newest epoch under which this data directory received or wrote WAL. */
  readonly walEpoch: Epoch;
  /** Which reign wrote the timelines that this data directory's WAL grew out of (`cluster/timelines.ts`). */
  readonly timelines: readonly TimelineEpoch[];
}

/** A timeline and the reign that wrote it. */
export interface TimelineEpoch {
  readonly timeline: TimelineId;
  readonly epoch: Epoch;
}

export interface WorkProgress {
  readonly kind: "initdb" | "clone" | "rewind" | "start" | "stop";
  readonly phase: string;
  readonly doneBytes: number | null;
  readonly totalBytes: number | null;
}

/** One PostgreSQL, as its member sees it. */
export type PostgresStatus =
  /** The supervisor does not answer (yet): nothing is known. */
  | { readonly kind: "unknown"; readonly detail: string }
  /** This member has no PostgreSQL. */
  | { readonly kind: "witness" }
  /** No data directory, or an empty one. */
  | { readonly kind: "absent" }
  /** The data directory holds something that is not this cluster's. Never touched. */
  | { readonly kind: "foreign"; readonly detail: string }
  /** A data directory of this cluster, but no postmaster. */
  | {
      readonly kind: "stopped";
      readonly systemIdentifier: string;
      readonly timeline: TimelineId;
      readonly checkpointLsn: Lsn;
      /** True after a shutdown checkpoint (`shut down` or `shut down in recovery`). */
      readonly isClean: boolean;
      /**
       * It ended as a primary, with the checkpoint at `checkpointLsn` as its very last record (`shut down`). Absent: it did not,
       * or that is not known.
       */
      readonly isFinal?: boolean;
    }
  /** A postmaster runs, but takes no connections yet. */
  | {
      readonly kind: "starting";
      readonly detail: string;
      /** Absent: not known, or it recovers from a crash with what it has. */
      readonly recovery?: Recovery;
    }
  /** A postmaster runs, took connections before, and does not answer now. */
  | { readonly kind: "unresponsive"; readonly detail: string }
  | StandbyStatus
  | PrimaryStatus;

/** What a standby has to replay before it takes connections. */
export interface Recovery {
  /** Its data files hold nothing beyond this, and may hold everything before it. */
  readonly consistentAt: Position;
  /** Of all timelines that its directory has the history of. */
  readonly newestTimeline: TimelineId;
}

export interface StandbyStatus {
  readonly kind: "standby";
  readonly systemIdentifier: string;
  readonly timeline: TimelineId;
  /** `greatest(received, replayed)`: what a promotion would keep. */
  readonly receivedLsn: Lsn;
  readonly replayedLsn: Lsn;
  readonly walReceiver: WalReceiver | null;
  /** This very server was told to promote; its newest timeline may be the one that it is opening. Absent: it was not. */
  readonly isPromoting?: true;
}

export interface WalReceiver {
  /** host:port of the server it streams from. */
  readonly upstream: string;
  /** `streaming` once it receives; `starting`, `waiting`, … before. */
  readonly status: string;
  /**
   * It is connected, and for so long nothing has come, although it asked its upstream to say something: a dead host breaks no
   * connection. Absent: something came lately.
   */
  readonly silentMs?: number;
}

export interface PrimaryStatus {
  readonly kind: "primary";
  readonly systemIdentifier: string;
  readonly timeline: TimelineId;
  /** `pg_current_wal_flush_lsn()`. */
  readonly writtenLsn: Lsn;
  /** The timelines this one grew out of, oldest first, each with the LSN at which it was left. */
  readonly ancestors: readonly Ancestor[];
  /** Timeline of the latest checkpoint in the control file. `pg_rewind` needs it to be the present one. */
  readonly checkpointTimeline: TimelineId;
  readonly synchronous: SynchronousStatus;
  readonly standbys: readonly StandbyConnection[];
  /** The roles that members need (replication, rewind) exist. */
  readonly isProvisioned: boolean;
  /** For how long the oldest commit has been waiting for standbys; null: none waits. Absent: not known. */
  readonly commitWaitMs?: number | null;
  /** Where the oldest WAL begins that it has: who needs more than that cannot be served. Absent: not known. */
  readonly walFromLsn?: Lsn;
  /**
   * Roles and databases whose settings keep their commits from waiting for a standby's disk (`synchronous_commit`), bounded: no
   * failover can promise those. Absent: there are none.
   */
  readonly unguarded?: readonly string[];
}

export interface Ancestor {
  readonly timeline: TimelineId;
  readonly endLsn: Lsn;
}

/** What the primary's `synchronous_standby_names` really says, and since when. */
export interface SynchronousStatus {
  /** The effective setting, as the server shows it. Empty: asynchronous. */
  readonly names: string;
  /** A WAL position of the server at or after the moment at which `names` was first seen in effect. */
  readonly sinceLsn: Lsn;
}

/** A row of `pg_stat_replication`. */
export interface StandbyConnection {
  readonly name: string;
  /** `startup`, `catchup`, `streaming`, `backup`, `stopping`. */
  readonly state: string;
  readonly flushedLsn: Lsn | null;
  readonly replayedLsn: Lsn | null;
  /** `async`, `potential`, `sync`, `quorum`. */
  readonly syncState: string;
  /** For how long it has flushed nothing although it lacks something. Absent: it has, or that is not known. */
  readonly stuckMs?: number;
}

/** A status and when it came in, by the *receiver's* monotonic clock. */
export interface Observation {
  readonly status: MemberStatus;
  /** When the status was true, at the latest: receipt less the age that its sender gave. */
  readonly statusAtMs: number;
  /** When this member was last heard at all (a heartbeat answer is enough). */
  readonly heardAtMs: number;
  /** Its peer connection stands. False after a reset or refusal: the process is gone or cannot be reached. */
  readonly isConnected: boolean;
  /** Its connection broke since it said this: it may have been started again, and not have looked yet. Absent: it did not. */
  readonly isPast?: boolean;
}

/** How far a member's own WAL reaches, or null where that cannot be known now. */
export function positionOf(postgres: PostgresStatus): Position | null {
  if (postgres.kind === "standby") return { timeline: postgres.timeline, lsn: postgres.receivedLsn };
  if (postgres.kind === "primary") return { timeline: postgres.timeline, lsn: postgres.writtenLsn };
  return null;
}
