/** What a process takes from its host, as the kernel counts it. */
import { readFileSync } from "node:fs";

export interface Memory {
  readonly rssMb: number;
  /** Shared pages divided by the number of processes that share them. */
  readonly pssMb: number;
  /** Not backed by a file: what is this process's own, whatever else runs. */
  readonly anonymousMb: number;
}

/** Clock ticks of `/proc/PID/stat` in a second: 100 on every Linux that there is. */
const TICKS_PER_SECOND = 100;

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const megabytes = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN) / 1024;
  return { rssMb: megabytes("Rss"), pssMb: megabytes("Pss"), anonymousMb: megabytes("Anonymous") };
}

/** Seconds on a processor so far, of all its threads. */
export function processorSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in brackets may hold blanks; utime and stime are the 14th and 15th field.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
