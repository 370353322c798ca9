import type { ClusterId, Epoch, TimelineId } from "../base/ids.ts";
import type { Lsn, Position } from "../base/lsn.ts";
import type { AccessTrial } from "../cluster/access-trial.ts";
import type { GuardedGrant, GuardedStatus } from "../cluster/break-glass.ts";
import type { Fork } from "../cluster/fork.ts";
import type { LocalAccess } from "../cluster/local-access.ts";
import type { MachineFacts } from "../cluster/machine-facts.ts";
import type { MachineRequest } from "../cluster/machine-request.ts";
import type { AccessLines } from "../cluster/managed-settings.ts";
import type {
  AccessStatus,
  Ancestor,
  DiskStatus,
  PostmasterState,
  Promises,
  WorkProgress,
} from "../cluster/observation.ts";
import type { Parameters } from "../cluster/parameters.ts";

/**
 * What a member may ask of the supervisor: newline-delimited JSON over a Unix socket, `{ id, request }` one way,
 * `{ id, response }` or `{ event }` the other. The supervisor decides nothing.
 */
export type SupervisorRequest =
  | MachineRequest
  /** With `isStarting` the control file is read anew although PostgreSQL runs: SQL does not tell yet what it says. */
  | {
      readonly kind: "look";
      readonly isStarting?: true;
      /** The answer has `walUntilLsn`: of a standby that gets nothing. */
      readonly wantsWal?: true;
    }
  /**
   * PostgreSQL may reign under `epoch` until `stampMs + durationMs` by this host's own time, of which a look said `stampMs`. An
   * older stamp never shortens what stands, and one that is over by now extends nothing.
   */
  | {
      readonly kind: "extend-lease";
      readonly epoch: Epoch;
      readonly stampMs: number;
      readonly durationMs: number;
    }
  /** The member says who it is: while a lease is held, one that is frozen or gone is replaced. Only from the same host. */
  | { readonly kind: "hello"; readonly pid: number; readonly startTicks: number }
  /** TLS material for PostgreSQL and for its replication connections; the key never leaves the state directory. */
  | {
      readonly kind: "install-certificates";
      readonly caPem: string;
      readonly certificatePem: string;
      readonly privateKeyPem: string;
    }
  /** Whether PostgreSQL would start with these parameters instead of those it has now: `program-failed`, with its words, if not. */
  | { readonly kind: "try-parameters"; readonly parameters: Parameters }
  /** Has PostgreSQL read rules for connections, beside the running server: the answer has `trial`. Nothing comes into force. */
  | { readonly kind: "try-access"; readonly lines: AccessLines }
  /**
   * Everybody who is let in for a while, all of them: until when each is, whatever becomes of the member, and which have ended.
   * When it is answered, PostgreSQL has the rules, and the end is sure.
   */
  | { readonly kind: "guard-break-glass"; readonly grants: readonly GuardedGrant[] }
  /** Who came in on this host without asking anybody: the answer has `localAccess`. `told` names what need not be told again. */
  | { readonly kind: "list-local-access"; readonly told: readonly string[] }
  /** What the machine has: the answer has `machine`. */
  | { readonly kind: "describe-machine" }
  /** What was kept before rewinds: the answer has `forks`. */
  | { readonly kind: "list-forks" }
  /** `fast` escalates to `immediate` after `deadlineMs`. Resolves once the postmaster is gone. */
  | { readonly kind: "stop"; readonly mode: "fast" | "immediate"; readonly deadlineMs: number };

/** A supervisor outlives the member that started it: what may be absent is not said by one of release 0.1.0. */
export interface SupervisorLook {
  readonly postgresVersion: string;
  readonly dataDirectory: DataDirectory;
  readonly postmaster: {
    readonly pid: number;
    readonly startedAtMs: number;
    /** When it started, in clock ticks since boot: with the id it names one process for ever. */
    readonly startTicks?: number | null;
    readonly state?: PostmasterState;
    /** It was told to promote: what still is in recovery is on its way out of it. */
    readonly isPromoted?: boolean;
  } | null;
  /** Where the oldest WAL begins that a running primary has. Absent: it is none, or that is not known. */
  readonly walFromLsn?: Lsn;
  /** Where the first WAL segment begins that this standby cannot replay from what it has. Absent: not asked for, or not known. */
  readonly walUntilLsn?: Lsn;
  /** The data directory holds a `standby.signal`: its server starts, or runs, as a standby. */
  readonly hasStandbySignal?: boolean;
  /** This host's own time of this look, in milliseconds since some moment of its boot: the same for every process on it. */
  readonly stampMs?: number;
  /** Under which lease PostgreSQL may reign, and for how long still; null: it needs none, or has none. */
  readonly lease?: { readonly epoch: Epoch; readonly remainingMs: number } | null;
  readonly disks?: readonly DiskStatus[];
  readonly promises: Promises;
  readonly work: WorkProgress | null;
  /** Hash of the managed settings that the files on disk say; null: of none, or ALTER SYSTEM says otherwise. */
  readonly settingsHash: string | null;
  /** Settings that ALTER SYSTEM had changed although they are managed: taken out since the supervisor started. */
  readonly takenOut?: readonly string[];
  /** Why this directory can only be mended by a clone, or null. */
  readonly needsClone: string | null;
  /** Which rules for connections are in force, and why not those that are wanted. Nulls: guacamole's defaults, and no problem. */
  readonly access?: AccessStatus;
  /** Who is let in for a while, and what has ended. Absent: it is of a release that knows no such thing. */
  readonly breakGlass?: readonly GuardedStatus[];
  /** The timeline history of `ancestorsOf`, oldest first (from `pg_wal/*.history`). */
  readonly ancestors: readonly Ancestor[];
  /** While PostgreSQL runs the newest timeline that has a history, else that of the control file. Null without data. */
  readonly ancestorsOf: TimelineId | null;
  /** The last lines PostgreSQL wrote before it ended by itself, or null. */
  readonly lastExit: {
    readonly code: number | null;
    readonly signal: string | null;
    readonly logTail: string;
  } | null;
  readonly hasAside: boolean;
}

export type DataDirectory =
  | { readonly kind: "absent" }
  | { readonly kind: "foreign"; readonly detail: string }
  | {
      readonly kind: "present";
      readonly clusterId: ClusterId;
      readonly systemIdentifier: string;
      readonly timeline: TimelineId;
      readonly checkpointLsn: Lsn;
      /** `pg_controldata`'s "Database cluster state". */
      readonly state: string;
      /** As in `ControlData`. */
      readonly consistentAt?: Position | null;
    };

export type SupervisorErrorCode =
  | "stale-epoch"
  | "pledged"
  | "no-lease"
  | "no-watchdog"
  | "not-empty"
  | "foreign"
  | "running"
  | "not-running"
  | "program-failed"
  | "unavailable";

export type SupervisorResponse =
  | {
      readonly ok: true;
      readonly look: SupervisorLook;
      /** Where they were asked for. */
      readonly forks?: readonly Fork[];
      readonly trial?: AccessTrial;
      readonly machine?: MachineFacts;
      readonly localAccess?: readonly LocalAccess[];
    }
  | { readonly ok: false; readonly code: SupervisorErrorCode; readonly message: string };

/** Pushed to every connected member. */
export type SupervisorEvent =
  /** The postmaster ended, by whoever's hand. Sent within milliseconds. */
  | { readonly kind: "postmaster-exited"; readonly code: number | null; readonly signal: string | null }
  | { readonly kind: "postmaster-started"; readonly pid: number }
  /** A lease is over, and nothing of PostgreSQL runs that reigned under it. */
  | { readonly kind: "lease-ended"; readonly epoch: Epoch }
  /** At most some times a second during clone and rewind. */
  | { readonly kind: "progress"; readonly work: WorkProgress };
