/** What this machine, or this container, has: for suggestions only, so whatever cannot be read is left out or taken from above. */
import { existsSync, readFileSync, realpathSync, statfsSync, statSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join } from "node:path";
import type { MachineFacts } from "../cluster/machine-facts.ts";

export interface MachinePlaces {
  /** `/sys`. */
  readonly sys: string;
  /** `/proc/self/cgroup`. */
  readonly cgroupFile: string;
}

const HERE: MachinePlaces = { sys: "/sys", cgroupFile: "/proc/self/cgroup" };

/** Never throws for what is not told; a directory that is not there yet counts as the nearest one above it. */
export function machineFacts(dataDirectory: string, places: MachinePlaces = HERE): MachineFacts {
  const physical = totalmem();
  const limit = memoryLimit(places);
  const memoryBytes = Math.min(physical, limit ?? physical);
  const standing = nearestExisting(dataDirectory);
  const { blocks, bsize } = statfsSync(standing);
  return {
    memoryBytes,
    isMemoryLimited: memoryBytes < physical,
    cores: Math.max(
      1,
      Math.floor(Math.min(availableParallelism(), coreLimit(places) ?? Number.POSITIVE_INFINITY)),
    ),
    disk: diskKind(statSync(standing).dev, places.sys),
    diskBytes: blocks * bsize,
  };
}

function nearestExisting(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearestExisting(dirname(path));
}

/** The least that this control group and those above it allow; null: no limit. */
function memoryLimit({ sys, cgroupFile }: MachinePlaces): number | null {
  const { unified, memory } = cgroupsIn(cgroupFile);
  const files = [
    ...upwards(unified).map((path) => join(sys, "fs/cgroup", path, "memory.max")),
    ...upwards(memory).map((path) => join(sys, "fs/cgroup/memory", path, "memory.limit_in_bytes")),
  ];
  const limits = files
    .map((file) => Number(read(file)))
    .filter((limit) => limit > 0 && Number.isFinite(limit));
  return limits.length === 0 ? null : Math.min(...limits);
}

/** Cores that may be used at once; null: all. */
function coreLimit({ sys, cgroupFile }: MachinePlaces): number | null {
  const { unified } = cgroupsIn(cgroupFile);
  const quotas = upwards(unified)
    .map(
      (path) =>
        read(join(sys, "fs/cgroup", path, "cpu.max"))
          ?.split(" ")
          .map(Number) ?? [],
    )
    .flatMap(([quota = Number.NaN, period = Number.NaN]) =>
      quota > 0 && period > 0 ? [quota / period] : [],
    );
  return quotas.length === 0 ? null : Math.min(...quotas);
}

function cgroupsIn(file: string): { readonly unified: string | null; readonly memory: string | null } {
  const lines = (read(file) ?? "").split("\n").map((line) => line.split(":"));
  const pathOf = (isMeant: (controllers: string) => boolean) =>
    lines.find(([, controllers = "-"]) => isMeant(controllers))?.[2] ?? null;
  return {
    unified: pathOf((controllers) => controllers === ""),
    memory: pathOf((controllers) => controllers.split(",").includes("memory")),
  };
}

/** A control group's path and those above it, down to the root, where a container sees its own. */
function upwards(path: string | null): readonly string[] {
  if (path === null) return [];
  return path === "/" || path === "." ? ["/"] : [path, ...upwards(dirname(path))];
}

/** A partition says it of its disk. */
function diskKind(device: number, sys: string): MachineFacts["disk"] {
  const major = ((device >> 8) & 0xfff) | 0;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  const link = join(sys, "dev/block", `${major}:${minor}`);
  if (!existsSync(link)) return "unknown";
  const place = realpathSync(link);
  const said = read(join(place, "queue/rotational")) ?? read(join(dirname(place), "queue/rotational"));
  if (said === null) return "unknown";
  return said === "0" ? "ssd" : "rotating";
}

function read(file: string): string | null {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    // Not there, or not for us to read: nothing is known of it.
    return null;
  }
}
