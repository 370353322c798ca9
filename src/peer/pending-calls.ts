/** Calls that were sent and not answered yet. Bounded, and each one ends: by its answer, its deadline, or the loss. */
import type { MemberId } from "../base/ids.ts";
import { PeerError } from "./peer-error.ts";

interface PendingCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: PeerError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

export class PendingCalls {
  readonly #peerId: MemberId;
  readonly #countMax: number;
  readonly #calls = new Map<number, PendingCall>();
  #nextId = 1;

  constructor(peerId: MemberId, countMax: number) {
    this.#peerId = peerId;
    this.#countMax = countMax;
  }

  /**
   * Waits for the answer to a call that `send` sends.
   *
   * @throws {PeerError} (as a rejection) `overloaded`, `lost`, `deadline` or `refused`.
   */
  wait(method: string, deadlineMs: number, send: (id: number) => void): Promise<unknown> {
    if (this.#calls.size >= this.#countMax) {
      const waiting = `${this.#calls.size} calls to ${this.#peerId} wait for their answers already`;
      return Promise.reject(new PeerError("overloaded", `${waiting}: try again later`));
    }
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(
          new PeerError("deadline", `${this.#peerId} did not answer '${method}' within ${deadlineMs} ms`),
        );
      }, deadlineMs);
      this.#calls.set(id, { resolve, reject, timer });
      try {
        send(id);
      } catch (error) {
        this.reject(id, new PeerError("unreachable", error instanceof Error ? error.message : String(error)));
      }
    });
  }

  resolve(id: number, value: unknown): void {
    this.#take(id)?.resolve(value);
  }

  reject(id: number, error: PeerError): void {
    this.#take(id)?.reject(error);
  }

  /** The connection is gone. */
  loseAll(): void {
    for (const id of [...this.#calls.keys()]) {
      this.reject(id, new PeerError("lost", `the connection to ${this.#peerId} was lost before it answered`));
    }
  }

  /** Undefined where it was answered after its deadline. */
  #take(id: number): PendingCall | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }
}
