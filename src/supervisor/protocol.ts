import type { ClusterId, Epoch, TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { ManagedSettings, Upstream } from "../cluster/managed-settings.ts";
import type { Ancestor, Promises, TimelineEpoch, WorkProgress } from "../cluster/observation.ts";
import type { InitdbOptions } from "../cluster/state.ts";

export type { ManagedSettings, Upstream };

/**
 * What a member may ask of the supervisor: newline-delimited JSON over a Unix socket, `{ id, request }` one way,
 * `{ id, response }` or `{ event }` the other.
 *
 * The supervisor decides nothing. Each request is idempotent; each that could give PostgreSQL a role carries the epoch,
 * and one older than the newest seen (kept on disk) is refused with `stale-epoch`. Each that lets WAL of a reign in carries
 * the reign's `timelines` too, which are kept with the promises (`cluster/timelines.ts`).
 */
export type SupervisorRequest =
  | { readonly kind: "look" }
  /** TLS material for PostgreSQL and for its replication connections; the key never leaves the state directory. */
  | {
      readonly kind: "install-certificates";
      readonly caPem: string;
      readonly certificatePem: string;
      readonly privateKeyPem: string;
    }
  /** Refused (`not-empty`) unless the data directory is absent or empty. Data checksums are on. */
  | { readonly kind: "initdb"; readonly clusterId: ClusterId; readonly options: InitdbOptions }
  /**
   * `pg_basebackup` from `source`. Refused (`not-empty`) where data stands, unless `replace` names why it may go: then
   * the old directory is moved aside first and kept until the new one streams (`discard-aside`).
   */
  | {
      readonly kind: "clone";
      readonly clusterId: ClusterId;
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      readonly source: Upstream;
      readonly replace: string | null;
    }
  /**
   * Copies the WAL from `forkLsn` on aside, then `pg_rewind`. PostgreSQL must be stopped. On failure the directory is
   * marked: `look` says `needsClone`, and only a clone with `replace` mends it.
   */
  | {
      readonly kind: "rewind";
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      readonly source: Upstream;
      readonly forkTimeline: TimelineId;
      readonly forkLsn: Lsn;
    }
  /** Writes our configuration aside, syncs, renames. Refused (`pledged`) if it would receive under a pledged epoch. */
  | {
      readonly kind: "configure";
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      readonly settings: ManagedSettings;
    }
  /** Starts the postmaster, always as a standby. Idempotent. Resolves once the process runs, not when it is ready. */
  | { readonly kind: "start"; readonly epoch: Epoch }
  /** `fast` escalates to `immediate` after `deadlineMs`. Resolves once the postmaster is gone. */
  | { readonly kind: "stop"; readonly mode: "fast" | "immediate"; readonly deadlineMs: number }
  | { readonly kind: "reload" }
  /** `promote` file + SIGUSR1. Refused with `stale-epoch`. Resolves once signalled. */
  | { readonly kind: "promote"; readonly epoch: Epoch; readonly timelines: readonly TimelineEpoch[] }
  /**
   * Promises, durably and before answering, to receive no WAL under `epoch` or an older one: writes the promise, takes
   * the upstream out of the configuration, reloads.
   */
  | { readonly kind: "pledge"; readonly epoch: Epoch }
  /** The new data directory streams: what was kept aside may go. */
  | { readonly kind: "discard-aside" };

export interface SupervisorLook {
  readonly postgresVersion: string;
  readonly dataDirectory: DataDirectory;
  readonly postmaster: { readonly pid: number; readonly startedAtMs: number } | null;
  readonly promises: Promises;
  readonly work: WorkProgress | null;
  /** Hash of the managed settings that the files on disk were rendered from, or null. */
  readonly settingsHash: string | null;
  /** Why this directory can only be mended by a clone, or null. */
  readonly needsClone: string | null;
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
    };

export type SupervisorErrorCode =
  | "stale-epoch"
  | "pledged"
  | "not-empty"
  | "foreign"
  | "running"
  | "not-running"
  | "program-failed"
  | "unavailable";

export type SupervisorResponse =
  | { readonly ok: true; readonly look: SupervisorLook }
  | { readonly ok: false; readonly code: SupervisorErrorCode; readonly message: string };

/** Pushed to every connected member. */
export type SupervisorEvent =
  /** The postmaster ended, by whoever's hand. Sent within milliseconds. */
  | { readonly kind: "postmaster-exited"; readonly code: number | null; readonly signal: string | null }
  | { readonly kind: "postmaster-started"; readonly pid: number }
  /** At most some times a second during clone and rewind. */
  | { readonly kind: "progress"; readonly work: WorkProgress };
