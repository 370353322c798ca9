/**
 * A note beside the database that this member was removed from its cluster: whoever starts it again reads why it does not
 * take part, instead of watching it try.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeDurably } from "../store/durable-file.ts";

function pathOf(databasePath: string): string {
  return join(dirname(databasePath), "removed.json");
}

/** Never fails: the others say it again at the next start. */
export function writeRemovalNote(databasePath: string, index: number): void {
  try {
    writeDurably(pathOf(databasePath), (write) => write(`${JSON.stringify({ removedAtIndex: index })}\n`));
  } catch {
    // Then the next start finds out anew.
  }
}

/** Why this member may not start; null where it may. */
export function whyRemoved(databasePath: string): string | null {
  let index: unknown;
  try {
    index = (JSON.parse(readFileSync(pathOf(databasePath), "utf8")) as { removedAtIndex?: unknown })
      .removedAtIndex;
  } catch {
    // No note, or one that was never whole.
    return null;
  }
  return removalMessage(typeof index === "number" ? index : 0, dirname(databasePath));
}

export function removalMessage(index: number, dataDirectory: string): string {
  return `this member was removed from its cluster (as of entry ${index}) and takes no part any more. To use this host again, empty ${dataDirectory} and join as a new member`;
}
