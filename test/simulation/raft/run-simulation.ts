/**
 * Many worlds, one after the other: `bun test/simulation/raft/run-simulation.ts [--from N] [--count N] [--brief]`. Without
 * `--count` it goes on until somebody stops it. Ends with 1 at the first broken promise.
 */

import { parseArgs } from "node:util";
import { explain, Totals } from "./report.ts";
import { type Finding, simulate } from "./simulate.ts";

const PROGRESS_MS = 10_000;

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "1" },
    count: { type: "string" },
    /** One line of JSON for a program instead of words for a person. */
    brief: { type: "boolean", default: false },
    /** `safety` or `liveness`: other findings do not count. */
    only: { type: "string" },
  },
});

function run(from: number, count: number, isBrief: boolean, only: string | undefined): number {
  const totals = new Totals();
  const startedAt = performance.now();
  let shownAt = startedAt;
  for (let seed = from; seed < from + count; seed += 1) {
    const result = simulate({ seed });
    totals.add(result.counts);
    if (result.finding !== null && counts(result.finding, only)) {
      const { kind, text } = result.finding;
      process.stdout.write(isBrief ? `${JSON.stringify({ seed, kind, text })}\n` : `${explain(result)}\n`);
      return 1;
    }
    const now = performance.now();
    if (isBrief || now - shownAt < PROGRESS_MS) continue;
    shownAt = now;
    process.stdout.write(`simulate: ${progress(seed - from + 1, now - startedAt)}; ${totals.describe()}\n`);
  }
  const summary = `${progress(count, performance.now() - startedAt)}, all promises kept; ${totals.describe()}`;
  process.stdout.write(isBrief ? `${JSON.stringify({ seed: null })}\n` : `simulate: ${summary}\n`);
  return 0;
}

/** What the code found out itself is about safety. */
function counts({ kind }: Finding, only: string | undefined): boolean {
  return only === undefined || only === (kind === "broken" ? "safety" : kind);
}

function progress(done: number, tookMs: number): string {
  const seconds = tookMs / 1000;
  return `${done} worlds in ${seconds.toFixed(0)} s (${(done / seconds).toFixed(0)}/s)`;
}

const count = values.count === undefined ? Number.POSITIVE_INFINITY : Number(values.count);
process.exit(run(Number(values.from), count, values.brief, values.only));
