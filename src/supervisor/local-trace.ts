import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { type LocalAccess, parseLocalAccess } from "../cluster/local-access.ts";
import { renameDurably, writeDurably } from "../postgres/durable-file.ts";

/**
 * The trace of who came in on this host while nobody was there to be asked: a file each, in a directory that the member has read
 * once it is back. What was told is not thrown away: it moves to the directory `told` beside them.
 */

const ENDING = ".json";

/** On disk when this returns. What root makes belongs to who owns the place. @throws {Error} if it cannot be written. */
export function leaveTrace(directory: string, access: LocalAccess): void {
  if (!existsSync(directory)) {
    mkdirSync(directory, { mode: 0o700 });
    giveToOwner(directory);
  }
  const file = join(directory, `${access.id}${ENDING}`);
  writeDurably(file, `${JSON.stringify(access)}\n`, 0o600);
  giveToOwner(file);
}

/** What was not told yet, oldest first. */
export function readTrace(directory: string): readonly LocalAccess[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => name.endsWith(ENDING))
    .flatMap((name) => {
      const access = parseLocalAccess(readFileSync(join(directory, name), "utf8"));
      return access === null || `${access.id}${ENDING}` !== name ? [] : [access];
    })
    .sort((a, b) => a.atMs - b.atMs);
}

/** These are agreed, and need not be told again. */
export function moveTold(directory: string, ids: ReadonlySet<string>): void {
  const told = readTrace(directory).filter(({ id }) => ids.has(id));
  if (told.length === 0) return;
  mkdirSync(join(directory, "told"), { recursive: true, mode: 0o700 });
  for (const { id } of told) {
    const name = `${id}${ENDING}`;
    renameDurably(join(directory, name), join(directory, "told", name));
  }
}

function giveToOwner(path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(path));
  chownSync(path, uid, gid);
}
