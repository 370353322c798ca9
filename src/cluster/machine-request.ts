import type { ClusterId, Epoch, TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { ManagedSettings, Upstream } from "./managed-settings.ts";
import type { TimelineEpoch } from "./observation.ts";
import type { InitdbOptions } from "./state.ts";

/**
 * What can be done to one member's PostgreSQL: decided in `decision/`, carried out by the supervisor.
 *
 * Each is idempotent; each that could give PostgreSQL a role carries the epoch, and one older than the newest seen (kept on
 * disk) is refused with `stale-epoch`. Each that lets WAL of a reign in carries the reign's `timelines` too, which are kept
 * with the promises (`cluster/timelines.ts`).
 */
export type MachineRequest =
  /** Refused (`not-empty`) unless the data directory is absent or empty. Data checksums are on. */
  | { readonly kind: "initdb"; readonly clusterId: ClusterId; readonly options: InitdbOptions }
  /**
   * `pg_basebackup` from `source`. Refused (`not-empty`) where data stands, unless `replace` says why it may go (F7): then
   * the copy is made beside it, the old directory is moved aside and kept until the new one streams (`discard-aside`).
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
   * marked: a look says `needsClone`, and only a clone with `replace` mends it.
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
      /** A primary is to acknowledge alone from now on: refused (`no-lease`) unless a lease of this epoch stands. */
      readonly needsLease?: boolean;
    }
  /** Starts the postmaster, as a standby. Resolves once the process runs, not when it is ready. */
  | { readonly kind: "start"; readonly epoch: Epoch }
  /**
   * Ends the primary of `epoch` cleanly and starts it again as the primary of that very reign. Refused, and left to be a
   * standby that waits to be appointed, where it did not end cleanly in `withinMs`, or its reign was pledged away meanwhile.
   */
  | {
      readonly kind: "restart-in-place";
      readonly epoch: Epoch;
      readonly withinMs: number;
      readonly needsLease: boolean;
    }
  | { readonly kind: "reload" }
  /** `promote` file + SIGUSR1. Resolves once signalled. */
  | {
      readonly kind: "promote";
      readonly epoch: Epoch;
      readonly timelines: readonly TimelineEpoch[];
      /** Refused (`no-lease`) unless a lease of this epoch stands. */
      readonly needsLease: boolean;
    }
  /** PostgreSQL may reign under `epoch` without a lease from now on: commits are guarded by standbys again. */
  | { readonly kind: "release-lease"; readonly epoch: Epoch }
  /**
   * Promises, durably and before answering, to receive no WAL under `epoch` or an older one: writes the promise, takes
   * the upstream out of the configuration, reloads.
   */
  | { readonly kind: "pledge"; readonly epoch: Epoch }
  /** The new data directory streams: what was kept aside may go. */
  | { readonly kind: "discard-aside" };
