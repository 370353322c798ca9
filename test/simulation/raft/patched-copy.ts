import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Change } from "./known-bugs.ts";

const ROOT = join(import.meta.dir, "../../..");
/** Inside the repository, where nothing is kept: what is copied finds its packages and settings. */
const PLACE = join(ROOT, ".tools/known-bugs");
const COPIED: readonly string[] = [
  "src/base",
  "src/raft",
  "test/simulation/raft",
  "test/support/seeded-random.ts",
  "test/support/linearizability.ts",
  "test/support/linearizability-models.ts",
  "tsconfig.json",
];

export interface Found {
  readonly seed: number;
  readonly kind: "safety" | "liveness" | "broken";
  readonly text: string;
}

/** A copy of Raft and of its simulator, with changes, in a process of its own. */
export class PatchedCopy {
  readonly #directory: string;

  constructor(changes: readonly Change[]) {
    mkdirSync(PLACE, { recursive: true });
    this.#directory = mkdtempSync(join(PLACE, "copy-"));
    for (const path of COPIED) cpSync(join(ROOT, path), join(this.#directory, path), { recursive: true });
    try {
      for (const change of changes) this.#apply(change);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Lives in these worlds until one finds something. */
  async simulate(from: number, count: number, only?: "safety" | "liveness"): Promise<Found | null> {
    const script = join(this.#directory, "test/simulation/raft/run-simulation.ts");
    const options = [`--from=${from}`, `--count=${count}`, ...(only === undefined ? [] : [`--only=${only}`])];
    const run = Bun.spawn([process.execPath, script, "--brief", ...options], {
      cwd: this.#directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [output, complaint] = await Promise.all([
      new Response(run.stdout).text(),
      new Response(run.stderr).text(),
    ]);
    await run.exited;
    const line = output.trim().split("\n").at(-1) ?? "";
    if (!line.startsWith("{"))
      throw new Error(`the simulation of a changed copy did not run: ${complaint}${output}`);
    const found = JSON.parse(line) as Found | { readonly seed: null };
    return found.seed === null ? null : found;
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #apply({ file, find, replace }: Change): void {
    const path = join(this.#directory, file);
    const text = readFileSync(path, "utf8");
    const count = text.split(find).length - 1;
    if (count !== 1) {
      throw new Error(`${file} has ${count} places that read '${find}' instead of one: mend the known bug`);
    }
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
  }
}
