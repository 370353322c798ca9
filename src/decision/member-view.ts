import type { MemberId } from "../base/ids.ts";
import type { ManagedSettings } from "../cluster/managed-settings.ts";
import type { Observation, PostgresStatus, Promises } from "../cluster/observation.ts";
import type { ClusterState } from "../cluster/state.ts";

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
  /** How often in a row PostgreSQL ended by itself before it took connections. */
  readonly failedStarts: number;
  /** Hash of the settings that PostgreSQL's files were rendered from, or null. */
  readonly settingsHash: string | null;
  /** Pure: the hash of settings. Handed in, since rendering belongs to `postgres/`. */
  readonly hashSettings: (settings: ManagedSettings) => string;
  /** Of this host only: where PostgreSQL listens. */
  readonly local: Pick<ManagedSettings, "listenAddresses" | "port" | "socketDirectory">;
  /** The primary of the present reign, as last observed by anybody. */
  readonly primary: Observation | null;
}
