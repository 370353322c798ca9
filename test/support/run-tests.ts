/**
 * Runs `bun test` folder by folder and ends with the one line that people and programs read:
 * `N passed, N failed` (and `, N skipped` where there were any), summed over all folders.
 *
 * The counts come from each run's JUnit file. A run that says nothing (it crashed, a file would not load, a folder holds
 * no test) counts as a failure: a guard that saw nothing must not say yes.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Real processes and real PostgreSQL take their time; a test that hangs must still end. */
const SLOW_FOLDERS: readonly string[] = ["test/postgres", "test/e2e", "test/simulation", "test/faults"];
const SLOW_TIMEOUT_MS = 180_000;
const QUICK_TIMEOUT_MS = 20_000;
/** A whole folder: what keeps the process alive after its last test is a hang that no test's own limit ends. */
const SLOW_FOLDER_LIMIT_MS = 900_000;
const QUICK_FOLDER_LIMIT_MS = 600_000;

/**
 * The totals of a JUnit report as Bun writes it.
 *
 * @returns null where the text is no such report.
 */
export function countJunit(xml: string): Counts | null {
  const head = /<testsuites\b[^>]*>/.exec(xml)?.[0];
  if (head === undefined) return null;
  const total = attribute(head, "tests");
  const failed = attribute(head, "failures");
  const skipped = attribute(head, "skipped");
  if (total === null || failed === null || skipped === null) return null;
  return { passed: total - failed - skipped, failed, skipped };
}

function attribute(tag: string, name: string): number | null {
  const value = new RegExp(`\\b${name}="(\\d+)"`).exec(tag)?.[1];
  return value === undefined ? null : Number(value);
}

/** What a run counts for, given its report (null: none was written) and how it ended. */
export function judgeRun(report: string | null, hasEndedWell: boolean): Counts {
  const counts = (report === null ? null : countJunit(report)) ?? { passed: 0, failed: 0, skipped: 0 };
  const hasSeenAny = counts.passed + counts.failed + counts.skipped > 0;
  if (counts.failed === 0 && (!hasEndedWell || !hasSeenAny)) return { ...counts, failed: 1 };
  return counts;
}

export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** Nothing ran is no success. */
export function isSuccess({ passed, failed }: Counts): boolean {
  return failed === 0 && passed > 0;
}

/** @param isAlone no other folder runs meanwhile: what it says may be shown as it comes. */
async function runFolder(folder: string, reportFile: string, isAlone: boolean): Promise<Counts> {
  const isSlow = SLOW_FOLDERS.some((slow) => folder.startsWith(slow));
  process.stdout.write(`\ntests: ${folder}\n`);
  const output = isAlone ? "inherit" : "pipe";
  const run = Bun.spawn(
    [
      process.execPath,
      "test",
      // With the dot it is a path; without it a filter that other folders could match too.
      `./${folder.replace(/^\.\//, "")}`,
      `--timeout=${isSlow ? SLOW_TIMEOUT_MS : QUICK_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${reportFile}`,
    ],
    {
      stdio: ["ignore", output, output],
      timeout: isSlow ? SLOW_FOLDER_LIMIT_MS : QUICK_FOLDER_LIMIT_MS,
      killSignal: "SIGKILL",
    },
  );
  const stop = (): void => run.kill("SIGTERM");
  process.once("SIGTERM", stop);
  const said = await Promise.all([run.stdout, run.stderr].map((stream) => new Response(stream).text()));
  await run.exited;
  process.stdout.write(said.join(""));
  process.off("SIGTERM", stop);
  if (run.exitCode !== 0) {
    const how =
      run.signalCode === null ? `exit code ${run.exitCode}` : `${run.signalCode} (stopped, crashed, or hung)`;
    process.stdout.write(`tests: ${folder}: bun test ended with ${how}\n`);
  }
  return judgeRun(readReport(reportFile), run.exitCode === 0);
}

function readReport(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    process.stdout.write(`tests: no report was written: ${String(error)}\n`);
    return null;
  }
}

async function main(folders: readonly string[]): Promise<number> {
  if (folders.length === 0) {
    process.stderr.write(
      "usage: bun test/support/run-tests.ts FOLDER…   (A+B: beside each other; A,B: one after the other; A+B,C: A beside B and C)\n",
    );
    return 2;
  }
  const directory = mkdtempSync(join(tmpdir(), "guacamole-tests-"));
  const sum = { passed: 0, failed: 0, skipped: 0 };
  try {
    for (const lanes of folders.map((each) => each.split("+").map((lane) => lane.split(",")))) {
      await Promise.all(
        lanes.map(async (lane) => {
          for (const folder of lane) {
            const reportFile = join(directory, `${folder.replaceAll("/", "-")}.xml`);
            const counts = await runFolder(folder, reportFile, lanes.length === 1);
            process.stdout.write(`tests: ${folder}: ${closingLine(counts)}\n`);
            sum.passed += counts.passed;
            sum.failed += counts.failed;
            sum.skipped += counts.skipped;
          }
        }),
      );
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  process.stdout.write(`\n${closingLine(sum)}\n`);
  return isSuccess(sum) ? 0 : 1;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
