/** What the loops ask of the world. `main` hands in the real thing, the simulator its model. */
import type { CatalogFailure, CatalogGlance, CatalogStatement, ObservedCatalog } from "../cluster/catalog.ts";
import type { InsideQuestion } from "../cluster/declared.ts";
import type { ManagedSettings } from "../cluster/managed-settings.ts";
import type { HooksStatus, PrimaryStatus, ServerLimits, StandbyStatus } from "../cluster/observation.ts";
import type { PrimaryChange } from "../decision/primary-changes.ts";
import type { ServedRole } from "../decision/served-role.ts";
import type { SupervisorEvent, SupervisorRequest, SupervisorResponse } from "../supervisor/protocol.ts";

/** The small process beside PostgreSQL. */
export interface SupervisorPort {
  /** Resolves with the supervisor's answer; rejects if it cannot be reached or the deadline passes. */
  request(request: SupervisorRequest, deadlineMs: number): Promise<SupervisorResponse>;
  onEvent(listener: (event: SupervisorEvent) => void): () => void;
}

/** The SQL connection to the local PostgreSQL. */
export interface ProbePort {
  look(deadlineMs: number): Promise<ProbeLook>;
  provision(deadlineMs: number): Promise<void>;
  checkpoint(deadlineMs: number): Promise<void>;
  /** Opens a new connection and, on a primary that writes nothing else, writes a little WAL. Never rejects. */
  check(question: CheckQuestion, deadlineMs: number): Promise<CheckResult>;
}

export interface CheckQuestion {
  readonly isPrimary: boolean;
  /** Also what waits for a start, for which every parameter is read. */
  readonly withParameters: boolean;
}

/** `unknown`: not asked, or the server said itself why it did not (it is there, then). */
export interface CheckResult {
  readonly connection: "works" | "failed" | "unknown";
  readonly write: "works" | "failed" | "unknown";
  /** Why something failed; null: nothing did. */
  readonly detail: string | null;
  /** Parameters that wait for PostgreSQL to be started again. Absent: not asked this time. */
  readonly pendingRestart?: readonly string[];
  /** Told together with it. */
  readonly limits?: ServerLimits;
}

export type ProbeLook =
  | StandbyStatus
  | (Omit<PrimaryStatus, "synchronous" | "ancestors" | "commitWaitMs"> & {
      readonly synchronousStandbyNames: string;
      readonly waitingCommits: readonly string[];
    })
  /** It does not take connections yet. */
  | { readonly kind: "starting"; readonly detail: string }
  /** It should answer and does not. */
  | { readonly kind: "unresponsive"; readonly detail: string };

/** The catalogs of roles and databases of the local PostgreSQL, while it is primary. Each rejects where it cannot be asked. */
export interface CatalogPort {
  glance(): Promise<CatalogGlance>;
  /** @param inside databases in which to look, each with what has to be known. */
  read(inside: ReadonlyMap<string, InsideQuestion>): Promise<ObservedCatalog>;
  /** In this order; for each why it failed, or null. */
  run(statements: readonly CatalogStatement[]): Promise<readonly (CatalogFailure | null)[]>;
  close(): Promise<void>;
}

/** Programs of the host's owner that want to know what the member does. */
export interface HooksPort {
  readonly status: HooksStatus;
  /** Told after every look; only a change means something. Never waits, never throws. */
  tellRole(role: ServedRole | null): void;
  /** Told after every look with all that are remembered; only one that was not told before means something. */
  tellChanges(changes: readonly PrimaryChange[]): void;
}

/** What belongs to this host only. */
export interface LocalPostgres {
  readonly supervisor: SupervisorPort;
  readonly probe: ProbePort;
  readonly settings: Pick<ManagedSettings, "listenAddresses" | "port" | "socketDirectory">;
  readonly hashSettings: (settings: ManagedSettings) => string;
}
