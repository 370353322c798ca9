import { existsSync, readFileSync } from "node:fs";
import { EPOCH_ZERO, type Epoch, type TimelineId } from "../base/ids.ts";
import type { Promises, TimelineEpoch } from "../cluster/observation.ts";
import { writeDurably } from "../postgres/durable-file.ts";
import type { SupervisorErrorCode } from "./protocol.ts";

/**
 * What the supervisor has promised, and the rules that follow from it. A promise is on disk before anybody hears of it,
 * and never goes back (F3).
 */
export interface Refusal {
  readonly code: SupervisorErrorCode;
  readonly message: string;
}

export const NO_PROMISES: Promises = {
  newestEpoch: EPOCH_ZERO,
  pledgedEpoch: EPOCH_ZERO,
  walEpoch: EPOCH_ZERO,
  timelines: [],
};

/** Nothing is done in the name of an epoch that has been succeeded. */
export function refuseStale(promises: Promises, epoch: Epoch): Refusal | null {
  if (epoch >= promises.newestEpoch) return null;
  return {
    code: "stale-epoch",
    message: `epoch ${epoch} is over: epoch ${promises.newestEpoch} was seen here`,
  };
}

/** No WAL is received, and no primary made, under an epoch that was pledged away. */
export function refusePledged(promises: Promises, epoch: Epoch): Refusal | null {
  const stale = refuseStale(promises, epoch);
  if (stale !== null) return stale;
  if (epoch > promises.pledgedEpoch) return null;
  return {
    code: "pledged",
    message: `this member pledged to take no part in epoch ${promises.pledgedEpoch} or an older one`,
  };
}

/** After an epoch was heard of. */
export function withNewest(promises: Promises, epoch: Epoch): Promises {
  return { ...promises, newestEpoch: later(promises.newestEpoch, epoch) };
}

/** After a pledge to take no part in `epoch` or an older one. */
export function withPledge(promises: Promises, epoch: Epoch): Promises {
  return { ...withNewest(promises, epoch), pledgedEpoch: later(promises.pledgedEpoch, epoch) };
}

/** Before WAL of a reign is let in: which reign, and which reigns wrote the timelines it grew out of. */
export function withWal(
  promises: Promises,
  reign: { readonly epoch: Epoch; readonly timelines: readonly TimelineEpoch[] },
): Promises {
  if (reign.epoch < promises.walEpoch) return withNewest(promises, reign.epoch);
  return { ...withNewest(promises, reign.epoch), walEpoch: reign.epoch, timelines: reign.timelines };
}

function later(a: Epoch, b: Epoch): Epoch {
  return a > b ? a : b;
}

/** The promises on disk, and in memory. */
export class PromiseBook {
  readonly #file: string;
  #promises: Promises;

  /** @throws {Error} if the file is damaged: a supervisor that does not know its promises must not act. */
  constructor(file: string) {
    this.#file = file;
    this.#promises = existsSync(file) ? parsePromises(readFileSync(file, "utf8"), file) : NO_PROMISES;
  }

  get current(): Promises {
    return this.#promises;
  }

  /** When this returns, the promises hold through any crash. */
  keep(promises: Promises): void {
    if (JSON.stringify(promises) === JSON.stringify(this.#promises)) return;
    writeDurably(this.#file, `${JSON.stringify(promises)}\n`, 0o600);
    this.#promises = promises;
  }
}

/** @throws {Error} naming the file. */
export function parsePromises(text: string, file: string): Promises {
  const damaged = new Error(
    `${file} is damaged; it holds what this member promised, so nothing is done without it. ` +
      "Restore it, or remove the data directory and the file and let the member be cloned anew",
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged;
  }
  if (typeof value !== "object" || value === null) throw damaged;
  if (!("newestEpoch" in value) || !("pledgedEpoch" in value)) throw damaged;
  if (!("walEpoch" in value) || !("timelines" in value)) throw damaged;
  const { newestEpoch, pledgedEpoch, walEpoch, timelines } = value;
  if (!isEpoch(newestEpoch) || !isEpoch(pledgedEpoch) || !isEpoch(walEpoch)) throw damaged;
  if (!Array.isArray(timelines) || !timelines.every(isTimelineEpoch)) throw damaged;
  return { newestEpoch, pledgedEpoch, walEpoch, timelines };
}

function isEpoch(value: unknown): value is Epoch {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isTimelineEpoch(value: unknown): value is TimelineEpoch {
  if (typeof value !== "object" || value === null || !("timeline" in value) || !("epoch" in value))
    return false;
  return isTimeline(value.timeline) && isEpoch(value.epoch);
}

function isTimeline(value: unknown): value is TimelineId {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}
