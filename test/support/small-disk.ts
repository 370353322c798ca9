/** A disk of a member's own, small enough to be filled to its last byte. It goes with the member's directory. */

import { closeSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from "node:fs";
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
export function fillDisk({ dataDirectory }: Pick<GroupMember, "dataDirectory">): void {
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

export function freeDisk({ dataDirectory }: Pick<GroupMember, "dataDirectory">): void {
  rmSync(join(dataDirectory, FILLER), { force: true });
}

function mount(place: string, megabytes: number): void {
  run(["mount", "-t", "tmpfs", "-o", `size=${megabytes}m,mode=0700`, "guacamole-test", place]);
}

function run(command: readonly string[]): void {
  const done = Bun.spawnSync([...command], { stdout: "ignore", stderr: "pipe" });
  if (!done.success) throw new Error(done.stderr.toString().split("\n")[0]);
}

/** A file system in memory, for whoever needs one that is full. */
export class TinyDisk {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static mount(directory: string, megabytes: number): TinyDisk {
    mkdirSync(directory);
    mount(directory, megabytes);
    return new TinyDisk(directory);
  }

  fill(): void {
    fillDisk({ dataDirectory: this.directory });
  }

  free(): void {
    freeDisk({ dataDirectory: this.directory });
  }

  unmount(): void {
    run(["umount", this.directory]);
  }
}

const FREEZABLE_MEGABYTES = 16;

/** A disk whose writes can be made to wait: an image on a loop device. */
export class FreezableDisk {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static mount(directory: string, megabytes: number = FREEZABLE_MEGABYTES): FreezableDisk {
    const image = `${directory}.image`;
    mkdirSync(directory);
    run(["truncate", "-s", `${megabytes}M`, image]);
    run(["mkfs.ext4", "-q", "-F", image]);
    run(["mount", "-o", "loop", image, directory]);
    return new FreezableDisk(directory);
  }

  freeze(): void {
    run(["fsfreeze", "--freeze", this.directory]);
  }

  thaw(): void {
    run(["fsfreeze", "--unfreeze", this.directory]);
  }

  unmount(): void {
    run(["umount", this.directory]);
    rmSync(`${this.directory}.image`);
  }
}

/** Why no disk can be made to hang here; null if one can. */
export function freezeRefusal(): string | null {
  const place = mkdtempSync(join(tmpdir(), "guacamole-freeze-"));
  try {
    const disk = FreezableDisk.mount(join(place, "disk"));
    try {
      disk.freeze();
      disk.thaw();
    } finally {
      disk.unmount();
    }
    return null;
  } catch (error) {
    return `no disk can be frozen here: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
