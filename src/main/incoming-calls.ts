/** What other members ask of this member's main thread. Bounded, and each question is answered: by it, or by time. */
import type { MemberId } from "../base/ids.ts";
import type { Answer, RequestId } from "./worker-protocol.ts";

/** More at a time are turned away. */
export const INCOMING_CALLS_MAX = 256;
/** The main thread answers within this time, or the other member is told that it did not. */
const DEADLINE_MS = 30_000;

type Pass = (requestId: RequestId, from: MemberId, method: string, payload: unknown) => void;

export class IncomingCalls {
  readonly #pass: Pass;
  readonly #countMax: number;
  readonly #open = new Map<RequestId, (answer: Answer) => void>();
  #nextId = 1;

  constructor(pass: Pass, countMax = INCOMING_CALLS_MAX) {
    this.#pass = pass;
    this.#countMax = countMax;
  }

  ask(from: MemberId, method: string, payload: unknown): Promise<unknown> {
    if (this.#open.size >= this.#countMax) {
      return Promise.reject(
        new Error(`overloaded: ${this.#open.size} calls are being worked on already, try again later`),
      );
    }
    const requestId = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const end = (answer: Answer) => {
        clearTimeout(timer);
        this.#open.delete(requestId);
        if (answer.ok) resolve(answer.value);
        else reject(new Error(answer.message));
      };
      const timer = setTimeout(() => end({ ok: false, message: "no answer in time" }), DEADLINE_MS);
      this.#open.set(requestId, end);
      this.#pass(requestId, from, method, payload);
    });
  }

  answer(requestId: RequestId, answer: Answer): void {
    this.#open.get(requestId)?.(answer);
  }

  close(): void {
    for (const end of [...this.#open.values()]) end({ ok: false, message: "this member is shutting down" });
  }
}
