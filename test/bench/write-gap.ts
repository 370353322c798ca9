/** How long writes stand still around an event, as a client sees it that keeps a connection to every server. */
import type { Clock } from "../../src/base/clock.ts";
import { type LedgerServer, LedgerWriter } from "../../src/postgres/ledger-writer.ts";

export interface GapOptions {
  readonly servers: readonly LedgerServer[];
  readonly username: string;
  readonly password: string;
  readonly clock: Clock;
}

/** A light load: one row about every three milliseconds. */
const PAUSE_MS = 2;
/** Acknowledgements in a row by which the new primary counts as serving. */
const SERVING_ROWS = 5;
const GAP_MS_MAX = 60_000;

export class GapMeter {
  readonly #clock: Clock;
  readonly #ledger: LedgerWriter;
  /** Wall time of the last event and of the end of its silence. */
  lastGap = "";

  constructor(options: GapOptions) {
    this.#clock = options.clock;
    this.#ledger = new LedgerWriter({
      ...options,
      database: options.username,
      writers: 1,
      pauseMs: PAUSE_MS,
    });
  }

  async start(): Promise<void> {
    await this.#ledger.prepare();
    this.#ledger.start();
    await this.#written(20, this.#clock.nowMs());
  }

  /**
   * From the event to the first acknowledged write after the longest silence.
   *
   * @param event what interrupts the writes.
   * @param isOver asked until the writes go to where they should: only then is the silence complete.
   */
  async around(event: () => Promise<void> | void, isOver: () => Promise<boolean>): Promise<number> {
    const fromMs = this.#clock.nowMs();
    const fromWallMs = this.#clock.wallMs();
    await event();
    const deadlineMs = fromMs + GAP_MS_MAX;
    while (!(await isOver())) {
      if (this.#clock.nowMs() > deadlineMs) throw new Error("the writes never went on elsewhere");
      await this.#clock.sleep(5);
    }
    await this.#written(SERVING_ROWS, this.#clock.nowMs());
    const times = this.#ledger.acknowledged.map(({ atMs }) => atMs).filter((atMs) => atMs >= fromMs);
    let longestMs = 0;
    let endMs = fromMs;
    for (const [index, atMs] of times.entries()) {
      const previousMs = index === 0 ? fromMs : (times[index - 1] ?? fromMs);
      if (atMs - previousMs <= longestMs) continue;
      longestMs = atMs - previousMs;
      endMs = atMs;
    }
    const gapMs = endMs - fromMs;
    this.lastGap = [fromWallMs, fromWallMs + gapMs]
      .map((wallMs) => new Date(wallMs).toISOString())
      .join("..");
    return gapMs;
  }

  /** Stops writing. @returns how many acknowledged rows are lost: 0, or the measurement is worth nothing. */
  async finish(): Promise<number> {
    await this.#ledger.stop();
    return (await this.#ledger.missing()).length;
  }

  async close(): Promise<void> {
    await this.#ledger.stop();
    await this.#ledger.close();
  }

  async #written(count: number, sinceMs: number): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + GAP_MS_MAX;
    while (this.#clock.nowMs() < deadlineMs) {
      const { acknowledged } = this.#ledger;
      if ((acknowledged.at(-count)?.atMs ?? 0) > sinceMs) return;
      await this.#clock.sleep(2);
    }
    throw new Error(`no ${count} rows were acknowledged within ${GAP_MS_MAX} ms`);
  }
}
