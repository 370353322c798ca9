/**
 * What waits for a slow peer. Bounded: beyond the limit what Raft or the next status says again anyway goes first, and
 * where that is not enough the connection has to end. Signs of life overtake everything, so that a follower which takes
 * its entries slowly does not take its leader for dead.
 */

export interface OutboxLimits {
  readonly bytesMax: number;
  /** Signs of life are small and soon stale: of more than this many the oldest goes. */
  readonly urgentMax: number;
}

/**
 * `urgent`: heartbeats, votes and the like. `repeated`: will be said again (entries). `latest`: a newer one of the same
 * `topic` makes it pointless (a status). `once`: nobody says it again (a call, an answer).
 */
export type Delivery =
  | { readonly kind: "urgent" | "repeated" | "once" }
  | { readonly kind: "latest"; readonly topic: string };

interface Waiting {
  readonly delivery: Delivery;
  readonly bytes: Uint8Array;
}

/** What keeping a frame costs beside its bytes. */
const FRAME_OVERHEAD_BYTES = 64;

export class Outbox {
  readonly #limits: OutboxLimits;
  #urgent: Uint8Array[] = [];
  #others: Waiting[] = [];
  #bytes = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @returns false where there is no room although everything that could go went: the connection must end. */
  push(delivery: Delivery, bytes: Uint8Array): boolean {
    if (delivery.kind === "urgent") {
      this.#urgent.push(bytes);
      if (this.#urgent.length > this.#limits.urgentMax) this.#urgent.shift();
      return true;
    }
    if (delivery.kind === "latest") this.#dropStale(delivery.topic);
    this.#others.push({ delivery, bytes });
    this.#bytes += costOf(bytes);
    while (this.#bytes > this.#limits.bytesMax) {
      const oldest = this.#others.findIndex((waiting) => waiting.delivery.kind !== "once");
      if (oldest < 0) return false;
      this.#remove(oldest);
    }
    return true;
  }

  /** The frame to be sent next; null where nothing waits. */
  shift(): Uint8Array | null {
    const urgent = this.#urgent.shift();
    if (urgent !== undefined) return urgent;
    const [first] = this.#others;
    if (first === undefined) return null;
    this.#remove(0);
    return first.bytes;
  }

  clear(): void {
    this.#urgent = [];
    this.#others = [];
    this.#bytes = 0;
  }

  #dropStale(topic: string): void {
    const stale = this.#others.findIndex(
      ({ delivery }) => delivery.kind === "latest" && delivery.topic === topic,
    );
    if (stale >= 0) this.#remove(stale);
  }

  #remove(place: number): void {
    const [removed] = this.#others.splice(place, 1);
    if (removed !== undefined) this.#bytes -= costOf(removed.bytes);
  }
}

function costOf(bytes: Uint8Array): number {
  return bytes.byteLength + FRAME_OVERHEAD_BYTES;
}
