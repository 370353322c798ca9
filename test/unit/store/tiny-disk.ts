/** Disks that fail for real: file systems in memory, mounted for a test and gone afterwards. */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

function mustSucceed(...parameters: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(parameters, { stdout: "ignore" });
  if (exitCode !== 0) throw new Error(`${parameters.join(" ")}: ${stderr}`);
}

/**
 * Runs `body` with a directory, and what `mount` made of it; undone in the reverse order, and lazily: a test that failed may
 * still have a file open there, and a mount must not stay for that.
 */
async function onMount(
  mount: (directory: string, undo: (...command: string[]) => void) => void,
  body: (directory: string) => void | Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "guacamole-disk-"));
  const undone: string[][] = [];
  try {
    mount(directory, (...command) => undone.unshift(command));
    await body(directory);
  } finally {
    for (const command of undone) mustSucceed(...command);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs `body` with a directory on a disk that holds `bytes`, and says so at the write. */
export async function onTinyDisk(
  bytes: number,
  body: (directory: string) => void | Promise<void>,
): Promise<void> {
  await onMount((directory, undo) => {
    mustSucceed("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", directory);
    undo("umount", "--lazy", directory);
  }, body);
}

/**
 * Runs `body` with a directory on a disk that takes every write and fails when it is asked to keep it: a file system that
 * believes to have more room than what it lies on. `mend` makes the disk a good one, as after another start of the
 * machine: what was never kept is gone.
 */
export async function onLyingDisk(
  bytes: number,
  body: (directory: string, mend: () => void) => void | Promise<void>,
): Promise<void> {
  await onMount(
    (directory, undo) => {
      const [below, above] = [join(directory, "below"), join(directory, "above")];
      const image = join(below, "image");
      mkdirSync(below);
      mkdirSync(above);
      mustSucceed("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", below);
      undo("umount", "--lazy", below);
      writeFileSync(image, "");
      truncateSync(image, 16 * bytes);
      mustSucceed("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", image);
      mustSucceed("mount", "-o", "loop", image, above);
      undo("umount", "--lazy", above);
    },
    (directory) => {
      const [below, above] = [join(directory, "below"), join(directory, "above")];
      const mend = () => {
        mustSucceed("umount", above);
        mustSucceed("mount", "-o", `remount,size=${32 * bytes}`, below);
        mustSucceed("mount", "-o", "loop", join(below, "image"), above);
      };
      return body(above, mend);
    },
  );
}

/** Whether this process may mount: containers without privileges may not. */
export async function canMount(): Promise<boolean> {
  return onTinyDisk(65_536, () => undefined).then(
    () => true,
    () => false,
  );
}

/** Whether there are loop devices and ext4, too. */
export async function canMountImages(): Promise<boolean> {
  return onLyingDisk(4 * 1024 * 1024, () => undefined).then(
    () => true,
    () => false,
  );
}
