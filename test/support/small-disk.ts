/** A disk of a member's own, small enough to be filled to its last byte. It goes with the member's directory. */

import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GroupMember } from "./consensus-group.ts";

const FILLER = "filler";

/** Why nothing can be mounted here; null if it can. */
export function mountRefusal(): string | null {
  const place = mkdtempSync(join(tmpdir(), "guacamole-mount-"));
  try {
    mount(place, 1);
    run(["umount", place]);
    return null;
  } catch (error) {
    return `nothing can be mounted here: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    rmdirSync(place);
  }
}

/** Before the member is started for the first time. */
export function giveSmallDisk({ dataDirectory }: GroupMember, megabytes: number): void {
  mount(dataDirectory, megabytes);
}

/** Takes every byte that is left. */
export function fillDisk({ dataDirectory }: GroupMember): void {
  const file = openSync(join(dataDirectory, FILLER), "a");
  try {
    const chunk = Buffer.alloc(64 * 1024);
    for (;;) writeSync(file, chunk);
  } catch (error) {
    // The last write stops where the disk ends, and the next one fails.
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  } finally {
    closeSync(file);
  }
}

export function freeDisk({ dataDirectory }: GroupMember): void {
  rmSync(join(dataDirectory, FILLER), { force: true });
}

function mount(place: string, megabytes: number): void {
  run(["mount", "-t", "tmpfs", "-o", `size=${megabytes}m,mode=0700`, "guacamole-test", place]);
}

function run(command: readonly string[]): void {
  const done = Bun.spawnSync([...command], { stdout: "ignore", stderr: "pipe" });
  if (!done.success) throw new Error(done.stderr.toString().split("\n")[0]);
}
