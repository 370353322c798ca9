/** A file system of a few megabytes, made of memory and gone afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Mounts a tmpfs on `directory`. False where this process may not. */
function mount(directory: string, bytes: number): boolean {
  const { exitCode } = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", directory], {
    stderr: "ignore",
  });
  return exitCode === 0;
}

function unmount(directory: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["umount", directory]);
  if (exitCode !== 0) throw new Error(`cannot unmount ${directory}: ${stderr}`);
}

/** Runs `body` with a directory on a disk that holds `bytes`. */
export async function onTinyDisk(
  bytes: number,
  body: (directory: string) => void | Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-tiny-"));
  try {
    if (!mount(directory, bytes)) throw new Error("only root can mount a file system");
    try {
      await body(directory);
    } finally {
      unmount(directory);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Whether this process may mount: containers without privileges may not. */
export function canMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-tiny-"));
  const isMounted = mount(directory, 65_536);
  if (isMounted) unmount(directory);
  rmSync(directory, { recursive: true });
  return isMounted;
}
