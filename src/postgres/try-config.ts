/**
 * Whether PostgreSQL would start with a configuration, found out without starting it and beside one that runs.
 *
 * `postgres -C` on a parameter that is computed at run time reads all files with PostgreSQL's own checks, loads the preloaded
 * libraries, compares settings with each other and computes the size of the shared memory; it allocates none, and listens
 * nowhere. It wants a data directory that nobody uses: one with a version and a copy of the control file is enough.
 *
 * @see https://www.postgresql.org/docs/current/app-postgres.html (`-C`)
 */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { err, ok, type Result } from "../base/result.ts";
import type { ManagedSettings } from "../cluster/managed-settings.ts";
import { runProgram } from "./program.ts";
import { type ConfigPlaces, renderCommandLine, renderPostgresqlConf } from "./render-config.ts";

const TRIAL_DEADLINE_MS = 8_000;
const MEGABYTE = 2 ** 20;

export interface Trial {
  readonly binDirectory: string;
  readonly settings: ManagedSettings;
  /** Of the real server. */
  readonly places: ConfigPlaces;
  /** Made anew and removed. */
  readonly trialDirectory: string;
}

/** The error is what PostgreSQL said. */
export async function tryConfiguration(trial: Trial): Promise<Result<null, string>> {
  const { trialDirectory, places, settings, binDirectory } = trial;
  rmSync(trialDirectory, { recursive: true, force: true });
  try {
    mkdirSync(join(trialDirectory, "global"), { recursive: true, mode: 0o700 });
    const configFile = join(trialDirectory, "postgresql.conf");
    for (const file of ["PG_VERSION", join("global", "pg_control")])
      copyFileSync(join(places.dataDirectory, file), join(trialDirectory, file));
    writeFileSync(configFile, renderPostgresqlConf(settings, places), { mode: 0o600 });
    const command = [
      join(binDirectory, "postgres"),
      ...renderCommandLine(settings, { ...places, configFile }),
      // What is said last counts.
      "-D",
      trialDirectory,
      "-c",
      `data_directory=${trialDirectory}`,
      "-C",
      "shared_memory_size",
    ];
    const run = await runProgram({ command, signal: AbortSignal.timeout(TRIAL_DEADLINE_MS) });
    if (!run.ok) {
      return err(
        run.error.wasCancelled
          ? `PostgreSQL has not read this configuration within ${TRIAL_DEADLINE_MS} ms`
          : saidOf(run.error.stderr) || run.error.message,
      );
    }
    return fitsMemory(Number(run.value.stdout.trim()) * MEGABYTE, totalmem());
  } finally {
    rmSync(trialDirectory, { recursive: true, force: true });
  }
}

/** Shared memory of which nothing is left for the rest of the host cannot be meant. */
export function fitsMemory(neededBytes: number, totalBytes: number): Result<null, string> {
  if (!(neededBytes > totalBytes)) return ok(null);
  const inMb = (bytes: number) => `${Math.round(bytes / MEGABYTE)} MB`;
  return err(`it needs ${inMb(neededBytes)} of shared memory, and the host has ${inMb(totalBytes)} in all`);
}

/** Of what the program wrote, the words that say why; without prefixes, and without what it says in any case. */
export function saidOf(stderr: string): string {
  const words = stderr.split("\n").flatMap((line) => {
    const said =
      /(?:LOG|FATAL|ERROR|PANIC|HINT|DETAIL): {2}(.*)$/.exec(line)?.[1] ?? /^postgres: (.*)$/.exec(line)?.[1];
    const isNews = said !== undefined && !/^skipping missing configuration file|contains errors$/.test(said);
    return isNews ? [said] : [];
  });
  return words.slice(-6).join("; ");
}
