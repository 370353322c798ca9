import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KNOWN_BUGS, type KnownBug } from "./known-bugs.ts";
import { type Found, PatchedCopy } from "./patched-copy.ts";

/** What `make test` lives through: a bug that this does not find would not have been found. */
const USUAL_SEEDS = 500;
/** How many copies run at once. */
const LANES = 2;
const LIMIT_MS = 600_000;

// With fewer seeds than usual (`make check`) or a single one, only a few bugs are tried, to see that the harness works.
const isWhole = process.env["SEED"] === undefined && Number(process.env["SEEDS"] ?? "0") >= USUAL_SEEDS;
const bugs = isWhole ? KNOWN_BUGS : KNOWN_BUGS.filter((_, at) => at % 15 === 3);

/** Where each bug showed itself the last time: tried first, and no more than a hint. */
const HINTS_FILE = join(import.meta.dir, "../../../.tools/simulation/known-bug-hints.json");

function readHints(): Record<string, number> {
  try {
    return JSON.parse(readFileSync(HINTS_FILE, "utf8")) as Record<string, number>;
  } catch {
    // There is none before the first time.
    return {};
  }
}

async function search(bug: KnownBug, hint: number | undefined): Promise<Found | null> {
  const copy = new PatchedCopy(bug.changes);
  try {
    const again = hint === undefined ? null : await copy.simulate(hint, 1, bug.kind);
    return again ?? (await copy.simulate(1, USUAL_SEEDS, bug.kind));
  } finally {
    copy.remove();
  }
}

/** Why this does not count as having found the bug; null if it does. */
function complaint(bug: KnownBug, found: Found | null): string | null {
  if (found === null) return `${bug.name}: not found within ${USUAL_SEEDS} worlds (${bug.was})`;
  if (bug.expect.test(found.text)) return null;
  return `${bug.name}: found something else, in seed ${found.seed}: ${found.text}`;
}

async function searchAll(): Promise<readonly string[]> {
  const hints = readHints();
  const waiting = [...bugs];
  const complaints: string[] = [];
  const lane = async (): Promise<void> => {
    for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
      try {
        const found = await search(bug, hints[bug.name]);
        const text = complaint(bug, found);
        if (text !== null) complaints.push(text);
        else if (found !== null) hints[bug.name] = found.seed;
      } catch (error) {
        complaints.push(`${bug.name}: ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  mkdirSync(join(HINTS_FILE, ".."), { recursive: true });
  writeFileSync(HINTS_FILE, JSON.stringify(hints));
  return complaints;
}

describe("bugs that others have had", () => {
  test("are many, of both kinds, each with a name of its own", () => {
    expect(new Set(KNOWN_BUGS.map(({ name }) => name)).size).toBe(KNOWN_BUGS.length);
    expect(KNOWN_BUGS.filter(({ kind }) => kind === "safety").length).toBeGreaterThanOrEqual(15);
    expect(KNOWN_BUGS.filter(({ kind }) => kind === "liveness").length).toBeGreaterThanOrEqual(10);
  });

  test(
    "are found by the simulation when they are brought back",
    async () => {
      expect(await searchAll()).toEqual([]);
    },
    LIMIT_MS,
  );

  test(
    "are not found in a copy without them",
    async () => {
      const copy = new PatchedCopy([]);
      try {
        expect(await copy.simulate(1, 10)).toBeNull();
      } finally {
        copy.remove();
      }
    },
    LIMIT_MS,
  );

  test("cannot be brought back where the source has moved on: that is an error, not a silence", () => {
    const change = { file: "src/raft/engine/quorum.ts", find: "no such line", replace: "" };
    expect(() => new PatchedCopy([change])).toThrow("mend the known bug");
  });
});
