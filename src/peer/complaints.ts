/** What went wrong between members, said once and not at every attempt: a stray member must not fill the log. */

const REPEAT_MS = 60_000;
/** More different ones at a time are an attack or a flood: they begin anew. */
const KEPT_MAX = 256;

export class Complaints {
  readonly #saidAtMs = new Map<string, number>();

  /** Whether to say it now. */
  isNew(who: string, reason: string, nowMs: number): boolean {
    const key = `${who} ${reason}`;
    const saidAtMs = this.#saidAtMs.get(key);
    if (saidAtMs !== undefined && nowMs - saidAtMs < REPEAT_MS) return false;
    if (this.#saidAtMs.size >= KEPT_MAX) this.#saidAtMs.clear();
    this.#saidAtMs.set(key, nowMs);
    return true;
  }
}
