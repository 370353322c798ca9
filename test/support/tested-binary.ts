/** The compiled binary, run as people run it: from an empty directory, with an environment that has nothing of ours. */

import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export interface Run {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `TESTED_BINARY`, or what `make build` made. */
export function testedBinary(): string {
  const binary = process.env["TESTED_BINARY"] ?? resolve(import.meta.dir, "../../dist/guacamole");
  if (!existsSync(binary)) throw new Error(`there is no ${binary}: run 'make build' first`);
  return binary;
}

/** What the binary gets to see of this process's environment. */
export function bareEnvironment(): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", LC_ALL: "C.UTF-8" };
}

const LIMIT_MS = 60_000;

/** Runs a command of the binary to its end. One that does not end is killed, and then its exit code is not 0. */
export async function guacamole(...args: readonly string[]): Promise<Run> {
  const emptyDirectory = mkdtempSync(join(tmpdir(), "guacamole-e2e-cwd-"));
  try {
    const child = Bun.spawn([testedBinary(), ...args], {
      cwd: emptyDirectory,
      env: bareEnvironment(),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: LIMIT_MS,
      killSignal: "SIGKILL",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { exitCode: await child.exited, stdout, stderr };
  } finally {
    // Not recursively: a file that the binary left where it was called is a fault, and ends the test.
    rmdirSync(emptyDirectory);
  }
}
