/** What all rivals have in common: the same PostgreSQL, the same rules for who may connect, the same places. */
import { join } from "node:path";
import type { Clock } from "../../../../src/base/clock.ts";
import type { BenchHosts } from "../bench-hosts.ts";
import type { Mode, RivalServer } from "../rival.ts";

export interface RivalOptions {
  readonly mode: Mode;
  readonly binDirectory: string;
  readonly postgresVersion: string;
  readonly clock: Clock;
}

/** The same on every host: they have addresses of their own. */
export const PORT = 5432;

export const INITDB_ARGUMENTS = ["-U", "postgres", "-A", "trust", "-k", "--encoding=UTF8"];

/** Nobody else reaches these hosts. */
export const TRUST_RULES = [
  "local all all trust",
  "host all all 0.0.0.0/0 trust",
  "local replication all trust",
  "host replication all 0.0.0.0/0 trust",
];

export function serversOn(hosts: BenchHosts): readonly RivalServer[] {
  return hosts.hosts.slice(0, 3).map(({ address, directory }, index) => ({
    name: `s${index + 1}`,
    host: address,
    port: PORT,
    dataDirectory: join(directory, "data"),
    socketDirectory: directory,
  }));
}
