/** Load as clients make it that wait for each answer before they ask again, and what they saw. */
import { percentile } from "../measured.ts";

export interface Load {
  readonly clients: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** What the clients of one load saw. Of several rounds: the medians. */
export interface Seen {
  readonly clients: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processors that the clients' own process kept busy: near 1, the clients are what was measured. */
  readonly clientProcessors: number;
}

/** Runs `call` again and again, in `clients` loops at once. @throws what `call` throws. */
export async function runClosedLoop(load: Load, call: (client: number) => Promise<void>): Promise<Seen> {
  const latenciesMs: number[] = [];
  let phase: "warm-up" | "measure" | "end" = "warm-up";
  const loop = async (client: number): Promise<void> => {
    while (phase !== "end") {
      const isCounted = phase === "measure";
      const fromMs = performance.now();
      await call(client);
      if (isCounted) latenciesMs.push(performance.now() - fromMs);
    }
  };
  const loops = Promise.all(Array.from({ length: load.clients }, (_, client) => loop(client)));
  // A loop that failed shall end this at once, not only when the time is up.
  await Promise.race([loops, Bun.sleep(load.warmUpMs)]);
  phase = "measure";
  const fromMs = performance.now();
  const processorBefore = process.cpuUsage();
  await Promise.race([loops, Bun.sleep(load.measureMs)]);
  const tookMs = performance.now() - fromMs;
  const { user, system } = process.cpuUsage(processorBefore);
  const count = latenciesMs.length;
  phase = "end";
  await loops;
  return {
    clients: load.clients,
    perSecond: (count / tookMs) * 1000,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    clientProcessors: (user + system) / 1000 / tookMs,
  };
}
