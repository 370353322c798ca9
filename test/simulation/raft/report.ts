import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { simulate, type WorldResult } from "./simulate.ts";
import type { WorldCounts } from "./world.ts";

const LINES_SHOWN = 100;
const DIRECTORY = join(import.meta.dir, "../../../.tools/simulation");

/**
 * What a person needs to understand a failing seed: the promise that was broken, and what was done and said before. The
 * world is lived again for its words; all of them are in a file.
 */
export function explain({ seed }: WorldResult): string {
  const { finding, trace } = simulate({ seed, isTraced: true });
  mkdirSync(DIRECTORY, { recursive: true });
  const file = join(DIRECTORY, `seed-${seed}.txt`);
  writeFileSync(file, `${trace.join("\n")}\n`);
  return [
    `seed ${seed}, ${finding?.kind}: ${finding?.text}`,
    `the last of ${trace.length} lines (time in units of a tenth of a tick; all of them: ${file}):`,
    ...trace.slice(-LINES_SHOWN),
    `again: make simulate SEED=${seed}`,
  ].join("\n");
}

/** Adds up what happened in many worlds. */
export class Totals {
  readonly #sums = new Map<keyof WorldCounts, number>();

  add(counts: WorldCounts): void {
    for (const [name, count] of Object.entries(counts)) {
      const key = name as keyof WorldCounts;
      this.#sums.set(key, this.of(key) + count);
    }
  }

  of(name: keyof WorldCounts): number {
    return this.#sums.get(name) ?? 0;
  }

  describe(): string {
    return [...this.#sums].map(([name, sum]) => `${name} ${sum}`).join(", ");
  }
}
