/**
 * The first process of a container inherits every orphan in it: the children of a postmaster that was killed, for
 * instance. Nobody else buries them, and each keeps its place in the process table until somebody does.
 *
 * Bun notices the end of what it spawned within milliseconds, so what is dead at two looks in a row is an orphan.
 */
import type { Log } from "../base/log.ts";
import { buryChild } from "./libc.ts";
import { zombiesOf } from "./process-table.ts";

const LOOK_INTERVAL_MS = 2_000;

/** Buries the orphans of one process, which must be the one that runs this. */
export class OrphanUndertaker {
  readonly #pid: number;
  readonly #log: Log;
  #seen: ReadonlySet<number> = new Set();
  #timer: Timer | null = null;

  constructor(pid: number, log: Log) {
    this.#pid = pid;
    this.#log = log;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.look(), LOOK_INTERVAL_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** @returns the ids that were buried: dead now, and dead at the look before. */
  look(): readonly number[] {
    const dead = zombiesOf(this.#pid);
    const buried = dead.filter((pid) => this.#seen.has(pid) && buryChild(pid));
    this.#seen = new Set(dead.filter((pid) => !buried.includes(pid)));
    if (buried.length > 0) this.#log.debug("supervisor.orphans.buried", { count: buried.length });
    return buried;
  }
}
