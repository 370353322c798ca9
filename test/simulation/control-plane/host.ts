/** One machine: its clocks, its PostgreSQL with the supervisor beside it, and the member's process, each with a life of its own. */

import { PrimaryWatch } from "../../../src/agent/primary-watch.ts";
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { MemberStatus, SynchronousStatus } from "../../../src/cluster/observation.ts";
import type { Plan } from "../../../src/decision/plan.ts";
import { NO_REIGN_SEEN, type ReignSeen } from "../../../src/decision/reign-seen.ts";
import { ObservationBoard } from "../../../src/main/observation-board.ts";
import type { ModelPostgres } from "./model-postgres.ts";
import type { ModelSupervisor, SupervisorSight } from "./model-supervisor.ts";

export interface Host {
  readonly name: string;
  readonly id: MemberId;
  readonly postgres: ModelPostgres;
  readonly supervisor: ModelSupervisor;
  /** It has power. */
  isUp: boolean;
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

/** A plan that is being carried out. */
export interface Running {
  readonly plan: Plan;
  /** Of its actions, so many are done. */
  done: number;
}

/** What a member's process has in memory. */
export interface MemberProcess {
  readonly bootId: string;
  /** Stopped by a signal; what it had decided, it does when it goes on. */
  isFrozen: boolean;
  sequence: number;
  status: MemberStatus | null;
  /** When it was true; by the host's clock. */
  statusAtMs: number;
  readonly board: ObservationBoard;
  readonly watch: PrimaryWatch;
  synchronous: SynchronousStatus | null;
  /** By the host's clock, as all times here. */
  reign: ReignSeen;
  leaderId: MemberId | null;
  formerLeaderId: MemberId | null;
  failedStarts: number;
  isReloadOwed: boolean;
  /** The first half of a look: SQL is asked later. */
  halfLook: SupervisorSight | null;
  running: Running[];
  unansweredSinceMs: number | null;
  stoppedSinceMs: number | null;
  writeFailingSinceMs: number | null;
}

export function newProcess(host: Pick<Host, "id" | "lives">): MemberProcess {
  return {
    bootId: `${host.lives}`,
    isFrozen: false,
    sequence: 0,
    status: null,
    statusAtMs: 0,
    board: new ObservationBoard(host.id),
    watch: new PrimaryWatch(),
    synchronous: null,
    reign: NO_REIGN_SEEN,
    leaderId: null,
    formerLeaderId: null,
    failedStarts: 0,
    isReloadOwed: true,
    halfLook: null,
    running: [],
    unansweredSinceMs: null,
    stoppedSinceMs: null,
    writeFailingSinceMs: null,
  };
}

/** Its member's process runs and does something. */
export function isAlive(host: Host): host is Host & { process: MemberProcess } {
  return host.isUp && host.process !== null && !host.process.isFrozen;
}

/** The host's own time at a true one. */
export function hostMsOf({ clock }: Pick<Host, "clock">, trueMs: number): number {
  return clock.offsetMs + clock.rate * trueMs;
}
