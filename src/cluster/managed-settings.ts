import type { ClusterId } from "../base/ids.ts";
import type { Parameters } from "./parameters.ts";

/** A PostgreSQL to receive from. */
export interface Upstream {
  readonly host: string;
  readonly port: number;
}

/** Lines of `pg_hba.conf` and `pg_ident.conf` that follow guacamole's own. */
export interface AccessLines {
  /** Names what operators wanted (`AccessSpec`). */
  readonly revision: number;
  readonly hba: readonly string[];
  readonly identMaps: readonly string[];
}

/** Everything of PostgreSQL's configuration that guacamole owns; `postgres/render-config.ts` turns it into files. */
export interface ManagedSettings {
  /** `application_name` of our walreceiver, and `cluster_name`. */
  readonly memberName: string;
  readonly clusterId: ClusterId;
  readonly listenAddresses: string;
  readonly port: number;
  readonly socketDirectory: string;
  /** Where to stream from, or null: receive nothing. */
  readonly upstream: Upstream | null;
  /** For `synchronous_standby_names`; null: empty. */
  readonly synchronousStandbyNames: { readonly k: number; readonly names: readonly string[] } | null;
  /** What operators want beside it. Absent: nothing. */
  readonly parameters?: Parameters;
  /** Who may connect besides members. Absent: applications by password. */
  readonly access?: AccessLines;
}
