/** Failed attempts of one address within a window. */
export interface Failures {
  readonly count: number;
  readonly sinceMs: number;
}

export interface Limited {
  readonly retryAfterMs: number;
  /** The first of this window that is turned away. */
  readonly isFirst: boolean;
}

/** So many wrong tokens in a window are answered as such. */
const FAILURES_MAX = 10;
const WINDOW_MS = 60_000;
/** More addresses than this are not remembered: the oldest is forgotten. */
const ADDRESSES_MAX = 4096;

/** One more failure: what to remember of the address, and whether it is turned away. */
export function countFailure(
  before: Failures | undefined,
  nowMs: number,
): { readonly failures: Failures; readonly limited: Limited | null } {
  const isOver = before === undefined || nowMs - before.sinceMs >= WINDOW_MS;
  const failures = isOver ? { count: 1, sinceMs: nowMs } : { ...before, count: before.count + 1 };
  if (failures.count <= FAILURES_MAX) return { failures, limited: null };
  const retryAfterMs = failures.sinceMs + WINDOW_MS - nowMs;
  return { failures, limited: { retryAfterMs, isFirst: failures.count === FAILURES_MAX + 1 } };
}

/** Counts failures by address, in bounded memory. Of IPv6 a network of 64 bits counts as one: that is what one host gets. */
export class FailedAuthentication {
  readonly #failures = new Map<string, Failures>();

  /** One more failure. Null: it is answered as what it is. */
  note(address: string, nowMs: number): Limited | null {
    const network = networkOf(address);
    const { failures, limited } = countFailure(this.#failures.get(network), nowMs);
    // A window that begins anew is the newest.
    if (failures.count === 1) this.#failures.delete(network);
    this.#failures.set(network, failures);
    if (this.#failures.size > ADDRESSES_MAX) {
      const [oldest] = this.#failures.keys();
      if (oldest !== undefined) this.#failures.delete(oldest);
    }
    return limited;
  }

  get size(): number {
    return this.#failures.size;
  }
}

/** An IPv4 address that arrived on a socket for both, as people write it. */
export function plainAddress(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros =
    tail === undefined ? [] : Array<string>(Math.max(0, 8 - first.length - last.length)).fill("0");
  return [...first, ...zeros, ...last].slice(0, 4).join(":").toLowerCase();
}
