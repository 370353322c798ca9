import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { MachineFacts } from "../../../src/cluster/machine-facts.ts";
import { suggestParameters, type Workload, weakestOf } from "../../../src/cluster/suggest-parameters.ts";

const GB = 1024 ** 3;
const MACHINE: MachineFacts = {
  memoryBytes: 16 * GB,
  isMemoryLimited: false,
  cores: 8,
  disk: "ssd",
  diskBytes: 500 * GB,
};
const WORKLOADS: readonly Workload[] = ["web", "oltp", "analytics", "mixed"];

function values(facts: Partial<MachineFacts> = {}, workload: Workload = "mixed", connections?: number) {
  const suggested = suggestParameters({ ...MACHINE, ...facts }, workload, connections);
  return Object.fromEntries(suggested.map(({ name, value }) => [name, value]));
}

function bytes(value: string | undefined): number {
  const match = /^(\d+)(MB|GB)$/.exec(value ?? "");
  if (match === null) throw new Error(`${value} is no size`);
  return Number(match[1]) * (match[2] === "GB" ? GB : 1024 ** 2);
}

describe("suggestParameters()", () => {
  test("gives a quarter and three quarters of the memory, and the cores", () => {
    expect(values()).toMatchObject({
      max_connections: "100",
      shared_buffers: "4GB",
      effective_cache_size: "12GB",
      maintenance_work_mem: "1GB",
      work_mem: "40MB",
      max_worker_processes: "8",
      max_parallel_workers: "8",
      max_parallel_workers_per_gather: "4",
      max_wal_size: "4GB",
      min_wal_size: "1GB",
      random_page_cost: "1.1",
      effective_io_concurrency: "200",
    });
  });

  test("knows what it is for, and how many connect", () => {
    expect(values({}, "analytics")).toMatchObject({
      max_connections: "40",
      max_wal_size: "16GB",
      maintenance_work_mem: "2GB",
    });
    expect(values({ cores: 32 }, "analytics")["max_parallel_workers_per_gather"]).toBe("16");
    expect(values({ cores: 32 }, "oltp")).toMatchObject({
      max_parallel_workers_per_gather: "2",
      max_worker_processes: "32",
    });
    expect(bytes(values({}, "web", 1_000)["work_mem"])).toBeLessThan(
      bytes(values({}, "web", 50)["work_mem"]),
    );
  });

  test("does not fill a small disk with WAL, and says nothing of a disk that it does not know", () => {
    expect(values({ diskBytes: 20 * GB })["max_wal_size"]).toBe("2GB");
    expect(values({ disk: "rotating" })).toMatchObject({
      random_page_cost: "4",
      effective_io_concurrency: "2",
    });
    expect(values({ disk: "unknown" })).not.toHaveProperty("random_page_cost");
  });

  test("speaks of huge pages where they matter", () => {
    expect(values()).not.toHaveProperty("huge_pages");
    expect(values({ memoryBytes: 64 * GB })["huge_pages"]).toBe("try");
  });

  test("never gives away more than there is, whatever the machine", () => {
    const machine = fc.record({
      memoryBytes: fc.integer({ min: 256, max: 4 * 1024 * 1024 }).map((mb) => mb * 1024 ** 2),
      cores: fc.integer({ min: 1, max: 256 }),
      diskBytes: fc.integer({ min: 1, max: 100_000 }).map((gb) => gb * GB),
    });
    fc.assert(
      fc.property(
        machine,
        fc.constantFrom(...WORKLOADS),
        fc.integer({ min: 10, max: 10_000 }),
        (facts, workload, connections) => {
          const suggested = suggestParameters({ ...MACHINE, ...facts }, workload, connections);
          expect(suggested.every(({ reason }) => reason.length > 20)).toBe(true);
          const of = values(facts, workload, connections);
          expect(bytes(of["shared_buffers"])).toBeLessThanOrEqual(facts.memoryBytes / 4);
          expect(bytes(of["effective_cache_size"])).toBeLessThanOrEqual(facts.memoryBytes);
          // As long as there is more than the least that PostgreSQL can use.
          if (bytes(of["work_mem"]) > 4 * 1024 ** 2)
            expect(connections * bytes(of["work_mem"]) + bytes(of["shared_buffers"])).toBeLessThanOrEqual(
              facts.memoryBytes,
            );
          expect(bytes(of["min_wal_size"])).toBeLessThanOrEqual(bytes(of["max_wal_size"]));
          expect(Number(of["max_parallel_workers_per_gather"])).toBeLessThanOrEqual(
            Number(of["max_worker_processes"]),
          );
        },
      ),
    );
  });

  test("of several machines takes the weakest of each thing", () => {
    const other: MachineFacts = {
      memoryBytes: 8 * GB,
      isMemoryLimited: true,
      cores: 16,
      disk: "unknown",
      diskBytes: GB,
    };
    const weakest = {
      memoryBytes: 8 * GB,
      isMemoryLimited: true,
      cores: 8,
      disk: "unknown",
      diskBytes: GB,
    } as const;
    expect(weakestOf(MACHINE, other)).toEqual(weakest);
    expect(weakestOf(other, MACHINE)).toEqual(weakest);
  });
});
