import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT_DISK_FAILED } from "../../../src/main/worker-protocol.ts";

const root = join(import.meta.dir, "../../..");
const main = join(import.meta.dir, "compiled/main.ts");
const worker = join(import.meta.dir, "compiled/raft-worker.ts");

test("the worker and the migrations are in the compiled binary", () => {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-compiled-"));
  try {
    const binary = join(directory, "member");
    const flags = ["--compile", "--minify-syntax", "--minify-whitespace", "--bytecode", "--format=esm"];
    const built = Bun.spawnSync([process.execPath, "build", ...flags, main, worker, "--outfile", binary], {
      cwd: root,
    });
    expect(built.stderr.toString()).toBe("");
    const empty = join(directory, "empty");
    mkdirSync(empty);
    const run = Bun.spawnSync([binary, join(directory, "data", "guacamole.db")], { cwd: empty, env: {} });
    expect(run.stdout.toString()).toBe("applied: 2 tokens\n");
    expect(run.exitCode).toBe(0);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, 30_000);

test("a disk that takes no more ends the member with its own exit code", () => {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-full-"));
  try {
    const database = join(directory, "guacamole.db");
    // Files of at most 300 KiB, and an error instead of a signal: as a full disk says it.
    const script = `trap '' XFSZ; ulimit -f 300; exec ${process.execPath} ${main} ${database} 100000`;
    const run = Bun.spawnSync(["bash", "-c", script], { cwd: root });
    expect(run.stderr.toString()).toContain("could not be written");
    expect(run.exitCode).toBe(EXIT_DISK_FAILED);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, 30_000);
