/** What is on its way between hosts, and in which directions nothing comes through. */
import type { Chance } from "./chance.ts";

interface Message {
  readonly from: string;
  readonly to: string;
  readonly atMs: number;
  readonly arrive: () => void;
}

export class Network {
  readonly #chance: Chance;
  /** `from>to`: what is sent that way is lost. */
  readonly #cut = new Set<string>();
  /** Next to arrive last; of two at one time, the one that was sent first comes first. */
  readonly #underWay: Message[] = [];

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  /** One direction only. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  /** Both directions. */
  mend(a: string, b: string): void {
    this.#cut.delete(`${a}>${b}`);
    this.#cut.delete(`${b}>${a}`);
  }

  mendAll(): void {
    this.#cut.clear();
  }

  /** Whether what one sends reaches the other. */
  carries(from: string, to: string): boolean {
    return this.#cut.size === 0 || !this.#cut.has(`${from}>${to}`);
  }

  /** A connection needs both directions. */
  connects(a: string, b: string): boolean {
    return this.carries(a, b) && this.carries(b, a);
  }

  /** Most arrive at once, some late, so that what was sent later may come earlier. */
  send(from: string, to: string, nowMs: number, arrive: () => void): void {
    if (!this.carries(from, to)) return;
    this.after(this.#delayMs(), from, to, nowMs, arrive);
  }

  /** The same with a delay that the caller chose; `from` may be `to`: then it is a timer of that host. */
  after(delayMs: number, from: string, to: string, nowMs: number, arrive: () => void): void {
    const atMs = nowMs + delayMs;
    let low = 0;
    let high = this.#underWay.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#underWay[middle]?.atMs ?? 0) > atMs) low = middle + 1;
      else high = middle;
    }
    this.#underWay.splice(low, 0, { from, to, atMs, arrive });
  }

  /** Takes the next that arrives until then. Null: nothing does. `arrive` does nothing if it does not come through. */
  next(untilMs: number): { readonly atMs: number; readonly arrive: () => void } | null {
    const message = this.#underWay.at(-1);
    if (message === undefined || message.atMs > untilMs) return null;
    this.#underWay.pop();
    const { from, to, atMs, arrive } = message;
    return { atMs, arrive: () => (this.carries(from, to) ? arrive() : undefined) };
  }

  #delayMs(): number {
    const dice = this.#chance.share();
    if (dice < 0.85) return this.#chance.share() * 3;
    return this.#chance.share() * (dice < 0.97 ? 60 : 400);
  }
}
