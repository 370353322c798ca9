/**
 * Starting values for PostgreSQL's parameters, by what its machine has and what it is for. Rules of thumb that are kept on the
 * careful side, each with its reason: they are where one begins to measure, and nothing more. Pure.
 *
 * @see https://www.postgresql.org/docs/current/runtime-config-resource.html
 */
import type { MachineFacts } from "./machine-facts.ts";

/** `web`: many short questions. `oltp`: many short changes. `analytics`: few, long questions over much data. */
export type Workload = "web" | "oltp" | "analytics" | "mixed";

export interface Suggestion {
  readonly name: string;
  /** As PostgreSQL's files have it. */
  readonly value: string;
  /** One sentence. */
  readonly reason: string;
}

const KB = 1024;
const MB = 1024 * KB;
const GB = 1024 * MB;

/** Connections where nobody says how many. */
export const CONNECTIONS: Readonly<Record<Workload, number>> = {
  web: 200,
  oltp: 300,
  analytics: 40,
  mixed: 100,
};

/** At most so much WAL between two checkpoints, where the disk is large enough. */
const WAL_BYTES: Readonly<Record<Workload, number>> = {
  web: 4 * GB,
  oltp: 8 * GB,
  analytics: 16 * GB,
  mixed: 4 * GB,
};

/** Two machines as one that is no better than either: every member may become the primary. */
export function weakestOf(a: MachineFacts, b: MachineFacts): MachineFacts {
  const ranks = ["rotating", "unknown", "ssd"] as const;
  return {
    memoryBytes: Math.min(a.memoryBytes, b.memoryBytes),
    isMemoryLimited: a.memoryBytes <= b.memoryBytes ? a.isMemoryLimited : b.isMemoryLimited,
    cores: Math.min(a.cores, b.cores),
    disk: ranks.indexOf(a.disk) <= ranks.indexOf(b.disk) ? a.disk : b.disk,
    diskBytes: Math.min(a.diskBytes, b.diskBytes),
  };
}

/** In the order in which one would read them. */
export function suggestParameters(
  facts: MachineFacts,
  workload: Workload,
  connections: number = CONNECTIONS[workload],
): readonly Suggestion[] {
  return [
    ...ofMemory(facts, workload, connections),
    ...ofCores(facts, workload),
    ...ofWal(facts, workload),
    ...ofDisk(facts),
  ];
}

function ofMemory(
  { memoryBytes, isMemoryLimited }: MachineFacts,
  workload: Workload,
  connections: number,
): readonly Suggestion[] {
  const whose = isMemoryLimited ? "the container's limit" : "the memory";
  const sharedBytes = Math.max(32 * MB, memoryBytes / 4);
  const maintenanceBytes = Math.min(2 * GB, memoryBytes / (workload === "analytics" ? 8 : 16));
  // A question may sort and hash several times at once, and several processes may work at it.
  const shares = workload === "analytics" ? 4 : 3;
  const workBytes = Math.max(4 * MB, (memoryBytes - sharedBytes) / (connections * shares));
  return [
    {
      name: "max_connections",
      value: `${connections}`,
      reason: "as many as were named, or as such work has usually; a pool in front keeps it small",
    },
    {
      name: "shared_buffers",
      value: size(sharedBytes),
      reason: `a quarter of ${whose} (${size(memoryBytes)}): the kernel caches files as well`,
    },
    {
      name: "effective_cache_size",
      value: size((memoryBytes * 3) / 4),
      reason: `three quarters of ${whose}: what shared_buffers and the kernel's cache hold together; nothing is allocated`,
    },
    {
      name: "work_mem",
      value: size(workBytes),
      reason: `what is left beside shared_buffers, for ${connections} connections with ${shares} sorts or hashes each`,
    },
    {
      name: "maintenance_work_mem",
      value: size(Math.max(32 * MB, maintenanceBytes)),
      reason: "for VACUUM and indexes, of which few run at a time; more than 2 GB hardly helps",
    },
    ...hugePages(sharedBytes),
  ];
}

function hugePages(sharedBytes: number): readonly Suggestion[] {
  if (sharedBytes < 8 * GB) return [];
  return [
    {
      name: "huge_pages",
      value: "try",
      reason: `with ${size(sharedBytes)} of shared_buffers they save much memory for page tables: reserve them with vm.nr_hugepages`,
    },
  ];
}

function ofCores({ cores }: MachineFacts, workload: Workload): readonly Suggestion[] {
  const half = Math.max(1, Math.ceil(cores / 2));
  const perGather = workload === "analytics" ? half : Math.min(4, half);
  return [
    {
      name: "max_worker_processes",
      value: `${Math.max(8, cores)}`,
      reason: `one for each of ${cores} cores, and no less than PostgreSQL has by itself`,
    },
    {
      name: "max_parallel_workers",
      value: `${Math.max(2, cores)}`,
      reason: "as many as there are cores: more only wait for each other",
    },
    {
      name: "max_parallel_workers_per_gather",
      value: `${workload === "oltp" ? Math.min(2, perGather) : perGather}`,
      reason:
        workload === "analytics"
          ? "half of the cores for one question: there are few at a time"
          : "a few for one question, so that others run beside it",
    },
    {
      name: "max_parallel_maintenance_workers",
      value: `${Math.min(4, half)}`,
      reason: "up to four build an index together; more hardly helps",
    },
  ];
}

function ofWal({ diskBytes }: MachineFacts, workload: Workload): readonly Suggestion[] {
  const maxBytes = Math.max(256 * MB, Math.min(WAL_BYTES[workload], diskBytes / 10));
  const isLimited = maxBytes < WAL_BYTES[workload];
  return [
    {
      name: "max_wal_size",
      value: size(maxBytes),
      reason: isLimited
        ? "a tenth of the disk: WAL must not fill it"
        : "so much is changed between two checkpoints that they come by time and not by size",
    },
    {
      name: "min_wal_size",
      value: size(Math.max(80 * MB, maxBytes / 4)),
      reason: "a quarter of max_wal_size is kept for use again: new files cost more than old ones",
    },
    {
      name: "checkpoint_timeout",
      value: "15min",
      reason:
        "fewer full pages are written; a server that crashed replays longer, while another has taken over",
    },
    {
      name: "checkpoint_completion_target",
      value: "0.9",
      reason: "a checkpoint is spread over nearly all the time until the next",
    },
  ];
}

function ofDisk({ disk }: MachineFacts): readonly Suggestion[] {
  if (disk === "unknown") return [];
  const isSsd = disk === "ssd";
  return [
    {
      name: "random_page_cost",
      value: isSsd ? "1.1" : "4",
      reason: isSsd
        ? "the disk does not rotate: a page anywhere costs hardly more than the next one"
        : "the disk rotates: a page elsewhere waits for it",
    },
    {
      name: "effective_io_concurrency",
      value: isSsd ? "200" : "2",
      reason: isSsd ? "such a disk answers many at once" : "such a disk has one arm",
    },
  ];
}

/** In whole megabytes, or gigabytes where that is the same. */
function size(bytes: number): string {
  const whole = Math.max(1, Math.floor(bytes / MB));
  return whole % 1024 === 0 ? `${whole / 1024}GB` : `${whole}MB`;
}
