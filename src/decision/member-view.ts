import type { Epoch, MemberId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type { ManagedSettings } from "../cluster/managed-settings.ts";
import type { MemberStatus, Observation, PostgresStatus, Promises } from "../cluster/observation.ts";
import type { ClusterState } from "../cluster/state.ts";

export interface WalReach {
  /** Where the first WAL segment begins that this standby cannot replay from what it has. */
  readonly untilLsn: Lsn;
  /**
   * Where the primary's oldest WAL began, before this standby was looked at: what it received meanwhile is not taken for what it
   * will never get.
   */
  readonly primaryFromLsn: Lsn;
  /** Of that primary's reign. */
  readonly epoch: Epoch;
}

/** All that a member may use to decide what to do with its own machine. */
export interface MemberView {
  readonly state: ClusterState;
  readonly selfId: MemberId;
  readonly postgres: PostgresStatus;
  readonly promises: Promises;
  /** Why this data directory can only be mended by a clone, or null. */
  readonly needsClone: string | null;
  readonly hasAside: boolean;
  /** For how long this member has known the present reign, and its end if it is being ended. */
  readonly reignKnownMs: number;
  readonly fenceKnownMs: number | null;
  /** Under which lease PostgreSQL may reign now; null: none. */
  readonly lease: MemberStatus["lease"] | null;
  /** For how long PostgreSQL has not answered; null: it does, or does not run. */
  readonly unansweredMs: number | null;
  /** For how long PostgreSQL has been starting; null: it is not. */
  readonly startingMs: number | null;
  /** Of a standby that gets nothing: how far it comes without. Absent or null: not looked at now, or not known. */
  readonly walReach?: WalReach | null;
  /** The data directory says that its server is a standby: true from each start until a promotion. */
  readonly hasStandbySignal: boolean;
  /** There is no room left beside PostgreSQL. */
  readonly isDiskFull: boolean;
  /** How often in a row PostgreSQL ended by itself before it took connections. */
  readonly failedStarts: number;
  /** Hash of the settings that PostgreSQL's files were rendered from, or null. */
  readonly settingsHash: string | null;
  /** Names the server that runs. Absent or null: none does, or that is not known. */
  readonly instance?: string | null;
  /** The supervisor knows rules for applications. Absent: it does; one of an older release does not. */
  readonly takesAccess?: boolean;
  /** Pure: the hash of settings. Handed in, since rendering belongs to `postgres/`. */
  readonly hashSettings: (settings: ManagedSettings) => string;
  /** Of this host only: where PostgreSQL listens. */
  readonly local: Pick<ManagedSettings, "listenAddresses" | "port" | "socketDirectory">;
  /** What is known of everybody. */
  readonly observations: ReadonlyMap<MemberId, Observation>;
  /** The primary of the present reign, as last observed by anybody. */
  readonly primary: Observation | null;
}
