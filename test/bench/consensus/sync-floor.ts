/** What the disk takes: the same payload, appended and synced, with nothing around it. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { percentile } from "../measured.ts";
import type { Seen } from "./closed-loop.ts";

const FLOOR_MS = 1_000;

export function measureSyncFloor(directory: string, payloadBytes: number): Seen {
  const path = join(directory, "floor");
  const file = openSync(path, "w");
  const payload = Buffer.alloc(payloadBytes, "x");
  const latenciesMs: number[] = [];
  const fromMs = performance.now();
  while (performance.now() - fromMs < FLOOR_MS) {
    const beginMs = performance.now();
    writeSync(file, payload);
    fdatasyncSync(file);
    latenciesMs.push(performance.now() - beginMs);
  }
  closeSync(file);
  rmSync(path);
  return {
    clients: 1,
    perSecond: (latenciesMs.length / FLOOR_MS) * 1000,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    clientProcessors: 0,
  };
}
