import { writeFileSync } from "node:fs";
import { readJson } from "./json-file.ts";
import type { RunningPostmaster } from "./postmaster.ts";

/**
 * Which postmaster was told to promote last. The next supervisor must know it too: a server that is still in recovery then is on
 * its way out of it, and neither one that fell nor one that follows.
 *
 * Not synced: after the host's own end no postmaster runs.
 */
export class PromotionMark {
  readonly #file: string;
  #told: string | null;

  constructor(file: string) {
    this.#file = file;
    const kept = readJson(file);
    this.#told = typeof kept === "string" ? kept : null;
  }

  /** Before it is told. */
  set(postmaster: RunningPostmaster): void {
    const told = identityOf(postmaster);
    if (told === this.#told) return;
    writeFileSync(this.#file, `${JSON.stringify(told)}\n`, { mode: 0o600 });
    this.#told = told;
  }

  isOn(postmaster: RunningPostmaster): boolean {
    return this.#told === identityOf(postmaster);
  }
}

/** Ids are used again: with its start it names one process. */
function identityOf({ pid, startedAtMs, startTicks }: RunningPostmaster): string {
  return `${pid} ${startTicks ?? startedAtMs}`;
}
