/** What the benchmark of failovers wants of whatever keeps a PostgreSQL cluster alive. */
import type { BenchHosts } from "./bench-hosts.ts";
import type { Scenario } from "./scenario.ts";

export const SYSTEMS = ["bare", "guacamole", "patroni", "pg_auto_failover"] as const;
export type System = (typeof SYSTEMS)[number];

/** `default`: as it comes. `tight`: the shortest times that it accepts. */
export const TUNINGS = ["default", "tight"] as const;
export type Tuning = (typeof TUNINGS)[number];

/** `sync`: a commit is acknowledged once one of two standbys has flushed it. `async`: by the primary alone. */
export const MODES = ["sync", "async"] as const;
export type Mode = (typeof MODES)[number];

export interface RivalServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly dataDirectory: string;
  readonly socketDirectory: string;
}

export interface Rival {
  readonly system: System;
  readonly tuning: Tuning;
  readonly mode: Mode;
  readonly version: string;
  /** What differs from its defaults, for people. */
  readonly settings: string;
  /** The first three have the servers, in the same order; more may watch. */
  readonly hosts: BenchHosts;
  readonly servers: readonly RivalServer[];
  /** From nothing to three that stream. */
  bringUp(): Promise<void>;
  /** The processes that speak for a server's host, without PostgreSQL's and without those that only agree with others. */
  agents(index: number): readonly number[];
  /** Hands over to whomever it likes; resolves once it calls that done. */
  switchover(): Promise<void>;
  /**
   * Called right after a server's host or PostgreSQL was broken. The bare mechanics fail over here, as somebody would who
   * knows everything at once; whoever has eyes of his own does nothing.
   */
  react(broken: number): Promise<void>;
  /** The host works again: its cable is in, nothing runs there, or what runs there was frozen and is not any more. */
  restore(index: number): Promise<void>;
  /** It is at rest by its own account, and takes the next failure as if it were the first. Null: none is meant yet. */
  isSettled(next: Scenario | null): Promise<boolean>;
  remove(): Promise<void>;
}
