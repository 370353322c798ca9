/** One machine: its clocks, its PostgreSQL with the supervisor beside it, and the member's process, each with a life of its own. */

import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { MemberProcess } from "./member-process.ts";
import type { ModelPostgres } from "./model-postgres.ts";
import type { ModelSupervisor } from "./model-supervisor.ts";

export interface Host {
  readonly name: string;
  readonly id: MemberId;
  readonly postgres: ModelPostgres;
  readonly supervisor: ModelSupervisor;
  /** It has power. */
  isUp: boolean;
  /** How often it got power. */
  boots: number;
  /** How much of the log it has, on disk. */
  known: LogIndex;
  /** Lives of the member's process. */
  lives: number;
  /** Null: it was killed, and is not started again yet. */
  process: MemberProcess | null;
  /** This host's clock, which no wall clock moves: `offset + rate * true time`. */
  readonly clock: { readonly offsetMs: number; readonly rate: number };
  /** How far the wall clock is off. */
  wallOffsetMs: number;
}

/** Its member's process runs and does something. */
export function isAlive(host: Host): host is Host & { process: MemberProcess } {
  return host.isUp && host.process !== null && !host.process.isFrozen;
}

/** The host's own time at a true one. */
export function hostMsOf({ clock }: Pick<Host, "clock">, trueMs: number): number {
  return clock.offsetMs + clock.rate * trueMs;
}
