/** Looking at the local PostgreSQL: what the supervisor and SQL say becomes one `PostgresStatus`. */
import { unreachable } from "../base/assert.ts";
import { EPOCH_ZERO, type TimelineId } from "../base/ids.ts";
import type { Lsn } from "../base/lsn.ts";
import type {
  AccessStatus,
  DiskStatus,
  MemberStatus,
  PostgresStatus,
  PostmasterState,
  PrimaryStatus,
  Promises,
  Recovery,
  WorkProgress,
} from "../cluster/observation.ts";
import type { ClusterState } from "../cluster/state.ts";
import type { DataDirectory, SupervisorLook, SupervisorRequest } from "../supervisor/protocol.ts";
import type { LocalPostgres, ProbeLook } from "./ports.ts";

export interface LocalLook {
  readonly postgres: PostgresStatus;
  readonly promises: Promises;
  readonly work: WorkProgress | null;
  readonly needsClone: string | null;
  readonly hasAside: boolean;
  readonly settingsHash: string | null;
  readonly hasStandbySignal: boolean;
  readonly postmasterState: PostmasterState | null;
  /** Names the server that runs; null: none does, or that is not known. */
  readonly instance: string | null;
  readonly disks: readonly DiskStatus[];
  readonly lease: MemberStatus["lease"];
  readonly stampMs: number | null;
  /** Undefined: the supervisor is of a release that knows no rules for connections, or does not answer. */
  readonly access?: SupervisorLook["access"];
  /** Null: not known. */
  readonly postgresMajor?: number | null;
  /** As in `WalReach`. Absent or null: not looked at, or not known. */
  readonly walUntilLsn?: Lsn | null;
}

export interface LookOptions {
  /** Also how far a standby gets with the WAL that it has: it takes a look at many files. */
  readonly wantsWal?: boolean;
}

/** What one look does not tell. */
export type WatchPrimary = (
  look: Extract<ProbeLook, { kind: "primary" }>,
) => Pick<PrimaryStatus, "synchronous" | "standbys" | "commitWaitMs">;

const SUPERVISOR_DEADLINE_MS = 2_000;
const PROBE_DEADLINE_MS = 1_000;
const FROZEN_DEADLINE_MS = 100;

export const NO_PROMISES: Promises = {
  newestEpoch: EPOCH_ZERO,
  pledgedEpoch: EPOCH_ZERO,
  walEpoch: EPOCH_ZERO,
  timelines: [],
};

/**
 * Looks once. Never rejects: what cannot be seen is `unknown`, with the reason.
 *
 * @param watch what is known of a primary beyond this look: since when its rule is in effect, and what stands still.
 */
export async function lookAt(
  local: LocalPostgres,
  watch: WatchPrimary,
  { wantsWal = false }: LookOptions = {},
): Promise<LocalLook> {
  const first = await lookAtSupervisor(local);
  if (typeof first === "string") return unknown(first);
  const { postgres, supervisor } = await lookAtPostgres(local, first, watch);
  const isStandby = postgres.kind === "standby" || (postgres.kind === "starting" && supervisor.work === null);
  return {
    walUntilLsn: wantsWal && isStandby ? await walUntil(local) : null,
    postgres,
    promises: supervisor.promises,
    work: supervisor.work,
    needsClone: supervisor.needsClone,
    hasAside: supervisor.hasAside,
    settingsHash: supervisor.settingsHash,
    hasStandbySignal: supervisor.hasStandbySignal ?? true,
    postmasterState: supervisor.postmaster?.state ?? null,
    instance: instanceOf(supervisor),
    disks: supervisor.disks ?? [],
    lease: supervisor.lease ?? null,
    // The first: all that is seen came after it.
    stampMs: first.stampMs ?? null,
    access: supervisor.access,
    postgresMajor: /^\d+/.test(supervisor.postgresVersion)
      ? Number.parseInt(supervisor.postgresVersion, 10)
      : null,
  };
}

async function walUntil(local: LocalPostgres): Promise<Lsn | null> {
  const look = await lookAtSupervisor(local, { kind: "look", wantsWal: true });
  return typeof look === "string" ? null : (look.walUntilLsn ?? null);
}

/** Ids of processes are used again: with the moment of its start it names one server. */
function instanceOf({ postmaster }: SupervisorLook): string | null {
  if (postmaster === null) return null;
  return `${postmaster.pid}-${postmaster.startTicks ?? postmaster.startedAtMs}`;
}

async function lookAtSupervisor(
  local: LocalPostgres,
  request: Extract<SupervisorRequest, { kind: "look" }> = { kind: "look" },
): Promise<SupervisorLook | string> {
  try {
    const response = await local.supervisor.request(request, SUPERVISOR_DEADLINE_MS);
    return response.ok ? response.look : response.message;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** What PostgreSQL is, and what the supervisor said that belongs to it. */
interface Sight {
  readonly postgres: PostgresStatus;
  readonly supervisor: SupervisorLook;
}

async function lookAtPostgres(
  local: LocalPostgres,
  supervisor: SupervisorLook,
  watch: WatchPrimary,
): Promise<Sight> {
  // Half of a rewound or cloned directory says nothing yet.
  const { work } = supervisor;
  const isBeingBuilt = work !== null && (work.kind === "rewind" || work.kind === "clone");
  if (isBeingBuilt && supervisor.dataDirectory.kind !== "absent") {
    return { postgres: { kind: "starting", detail: `${work.kind}: ${work.phase}` }, supervisor };
  }
  if (supervisor.postmaster === null)
    return { postgres: withoutPostmaster(supervisor.dataDirectory), supervisor };
  // One that the kernel shows as stopped is not waited for: that it does not answer is known.
  const isFrozen = supervisor.postmaster.state === "stopped";
  const look = await local.probe.look(isFrozen ? FROZEN_DEADLINE_MS : PROBE_DEADLINE_MS);
  if (look.kind === "standby" && supervisor.postmaster.isPromoted === true)
    return { postgres: { ...look, isPromoting: true }, supervisor };
  if (look.kind === "starting" && supervisor.hasStandbySignal === true)
    return { postgres: { ...look, ...(await recoveryOf(local)) }, supervisor };
  if (look.kind !== "primary") return { postgres: look, supervisor };
  const later = await afterPromotion(look.timeline, supervisor, local);
  if (later === null)
    return { postgres: { kind: "starting", detail: "the promotion is under way" }, supervisor };
  const { synchronousStandbyNames, waitingCommits, ...seen } = look;
  const { walFromLsn } = later;
  const ancestors = later.ancestors.filter((ancestor) => ancestor.timeline < look.timeline);
  const wal = walFromLsn === undefined ? {} : { walFromLsn };
  return { postgres: { ...seen, ...watch(look), ...wal, ancestors }, supervisor: later };
}

/** What a standby that takes no connections has to replay first; empty where that is not known. */
async function recoveryOf(local: LocalPostgres): Promise<{ readonly recovery?: Recovery }> {
  const again = await lookAtSupervisor(local, { kind: "look", isStarting: true });
  if (typeof again === "string" || again.dataDirectory.kind !== "present") return {};
  const { consistentAt, timeline } = again.dataDirectory;
  if (consistentAt === undefined || consistentAt === null || again.postmaster === null) return {};
  const newest = Math.max(timeline, again.ancestorsOf ?? 0) as TimelineId;
  return { recovery: { consistentAt, newestTimeline: newest } };
}

/**
 * The supervisor may have looked before a promotion that SQL then showed as done. What it said is of the time before: a history
 * that would be recorded for good, and promises by which this primary was never appointed. By now all of it is there, so it is
 * asked again.
 *
 * @returns null where the new history is still not there.
 */
async function afterPromotion(
  timeline: TimelineId,
  supervisor: SupervisorLook,
  local: LocalPostgres,
): Promise<SupervisorLook | null> {
  if (supervisor.ancestorsOf === timeline) return supervisor;
  const again = await lookAtSupervisor(local);
  if (typeof again === "string" || again.ancestorsOf === null || again.ancestorsOf < timeline) return null;
  return again;
}

function withoutPostmaster(directory: DataDirectory): PostgresStatus {
  switch (directory.kind) {
    case "absent":
    case "foreign":
      return directory;
    case "present":
      return {
        kind: "stopped",
        systemIdentifier: directory.systemIdentifier,
        timeline: directory.timeline,
        checkpointLsn: directory.checkpointLsn,
        isClean: directory.state.startsWith("shut down"),
        ...(directory.state === "shut down" ? { isFinal: true } : {}),
      };
    default:
      return unreachable(directory);
  }
}

/** Which rules for connections this member has; null where guacamole's defaults are all that is wanted, and there. */
export function accessStatus({ spec }: ClusterState, look: LocalLook): AccessStatus | null {
  const { kind } = look.postgres;
  if (kind === "unknown" || kind === "witness") return null;
  if (look.access === undefined) return spec.access === undefined ? null : OLD_SUPERVISOR;
  const isDefault = look.access.revision === null && look.access.problem === null;
  return spec.access === undefined && isDefault ? null : look.access;
}

const OLD_SUPERVISOR: AccessStatus = {
  revision: null,
  problem:
    "the supervisor beside PostgreSQL is of an older release and knows no rules for connections: end it once, and the member starts its own",
};

function unknown(detail: string): LocalLook {
  return {
    postgres: { kind: "unknown", detail },
    promises: NO_PROMISES,
    work: null,
    needsClone: null,
    hasAside: false,
    settingsHash: null,
    hasStandbySignal: true,
    postmasterState: null,
    instance: null,
    disks: [],
    lease: null,
    stampMs: null,
  };
}
