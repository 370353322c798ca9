/**
 * This member's session with the replicated state (Raft thesis §6.3): which numbers its wishes have, and up to where it has
 * all answers. One per life of the process; the state forgets it when 256 others were used since.
 */
import type { ClientSession } from "../cluster/command-codec.ts";

/** The state keeps a thousand open answers of one client; who is this far ahead of its oldest wish waits. */
const WINDOW = 900;

export class ProposerSession {
  readonly client: string;
  readonly #open = new Set<number>();
  #next = 1;
  #isOpened = false;

  constructor(client: string) {
    this.client = client;
  }

  /** The state knows it, so that it can be used. */
  get isOpened(): boolean {
    return this.#isOpened;
  }

  opened(): void {
    this.#isOpened = true;
  }

  /** A number for a new wish; null where too many others wait. */
  take(): number | null {
    const [oldest = this.#next] = this.#open;
    if (this.#next - oldest >= WINDOW) return null;
    const sequence = this.#next;
    this.#next += 1;
    this.#open.add(sequence);
    return sequence;
  }

  /** Nobody waits for the answer to this one any more. */
  settle(sequence: number): void {
    this.#open.delete(sequence);
  }

  /** How the wish of this number is proposed now. */
  use(sequence: number): ClientSession {
    // Numbers are added in order, so the first is the oldest.
    const [oldest = sequence] = this.#open;
    return { client: this.client, sequence, acknowledged: Math.min(oldest, sequence) - 1 };
  }
}
