/**
 * Which of two lives of a member's process is the later one. Others must know: what a life said may reach them long after the
 * next has begun, from a buffer of a process that was frozen.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeDurably } from "../store/durable-file.ts";

const FILE = "life";

export interface Life {
  /** More than of every life before on this host. */
  readonly number: number;
  /** Why the next life might not know of this one, unless the wall clock says so; null: it will. */
  readonly problem: string | null;
}

/**
 * Begins the next life: one more than the last, or the time if that is more. So a lost file does no harm while the wall clock is
 * right, and a wall clock that was set back does none while there is the file.
 */
export function beginLife(dataDirectory: string, wallMs: number): Life {
  const path = join(dataDirectory, FILE);
  const last = lastLife(path);
  const number = Math.max(last.number + 1, Math.floor(wallMs));
  try {
    writeDurably(path, (write) => write(`${number}\n`));
    return { number, problem: last.problem };
  } catch (error) {
    // A full disk must not keep a member from starting.
    return { number, problem: error instanceof Error ? error.message : String(error) };
  }
}

function lastLife(path: string): Life {
  if (!existsSync(path)) return { number: 0, problem: null };
  const text = readFileSync(path, "utf8").trim();
  const number = Number(text);
  if (text !== "" && Number.isSafeInteger(number)) return { number, problem: null };
  return { number: 0, problem: `${path} held '${text.slice(0, 40)}', which is no number` };
}
