import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { err, ok, type Result } from "../base/result.ts";

/** Which PostgreSQL installation is worked with: its programs, complete and new enough. */
export interface Installation {
  readonly binDirectory: string;
  /** For instance `15.18`. */
  readonly version: string;
  readonly major: number;
}

/** Older ones lack what the rest relies on (a reload of `primary_conninfo`, `pg_rewind --config-file`, …). */
export const OLDEST_MAJOR = 15;

const PROGRAMS = ["postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata"] as const;

/** The programs that are missing in (or not executable from) `binDirectory`. */
export function missingPrograms(binDirectory: string): readonly string[] {
  return PROGRAMS.filter((program) => !isExecutable(join(binDirectory, program)));
}

/**
 * Looks at an installation: everything there, and new enough?
 *
 * The error says what is missing and what to do.
 */
export function inspectInstallation(binDirectory: string): Result<Installation, string> {
  if (!existsSync(binDirectory)) {
    return err(
      `there is no directory ${binDirectory}; set postgres.bin-dir to where PostgreSQL's programs are`,
    );
  }
  const missing = missingPrograms(binDirectory);
  if (missing.length > 0) {
    return err(
      `the PostgreSQL programs in ${binDirectory} are incomplete: ${missing.join(", ")} missing; ` +
        "install the complete server package (on Debian: postgresql-15), or set postgres.bin-dir",
    );
  }
  const output = Bun.spawnSync([join(binDirectory, "postgres"), "--version"], { env: { LC_ALL: "C" } });
  const version = output.success ? parseServerVersion(output.stdout.toString()) : null;
  if (version === null) {
    const said = `${output.stdout.toString()}${output.stderr.toString()}`.trim();
    return err(`${join(binDirectory, "postgres")} --version does not answer with a version, but: ${said}`);
  }
  if (version.major < OLDEST_MAJOR) {
    return err(
      `PostgreSQL ${version.version} in ${binDirectory} is too old: ${OLDEST_MAJOR} or newer is needed; ` +
        "install a newer one, or set postgres.bin-dir",
    );
  }
  return ok({ binDirectory, ...version });
}

/** Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `19beta1`. Null if it is something else. */
export function parseServerVersion(
  text: string,
): { readonly version: string; readonly major: number } | null {
  const match = /\(PostgreSQL\) (\d+)(\S*)/.exec(text);
  if (match === null) return null;
  const major = match[1] ?? "";
  return { version: `${major}${match[2] ?? ""}`, major: Number(major) };
}

/**
 * Finds an installation by itself: the newest complete one among Debian's and Red Hat's places, PostgreSQL's own default
 * and `path` (as in `$PATH`).
 */
export function findInstallation(path: string): Result<Installation, string> {
  const candidates = [
    ...versionedDirectories("/usr/lib/postgresql", (name) => name),
    ...versionedDirectories("/usr", (name) => (name.startsWith("pgsql-") ? name : null)),
    "/usr/local/pgsql/bin",
    ...path.split(delimiter).filter((directory) => directory !== ""),
  ];
  let newest: Installation | null = null;
  let nearest: string | null = null;
  for (const candidate of new Set(candidates)) {
    if (!existsSync(join(candidate, "postgres"))) continue;
    const found = inspectInstallation(candidate);
    if (!found.ok) nearest ??= found.error;
    else if (newest === null || found.value.major > newest.major) newest = found.value;
  }
  if (newest !== null) return ok(newest);
  return err(
    nearest ??
      `no PostgreSQL was found (looked in /usr/lib/postgresql, /usr/pgsql-*, /usr/local/pgsql and PATH); install ` +
        `PostgreSQL ${OLDEST_MAJOR} or newer, or set postgres.bin-dir`,
  );
}

function versionedDirectories(root: string, accept: (name: string) => string | null): readonly string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .filter((name) => accept(name) !== null)
    .map((name) => join(root, name, "bin"));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
