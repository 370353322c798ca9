/** A process of the benchmark that is asked over Bun's channel between processes, and its other end. */
import type { Subprocess } from "bun";

interface Question {
  readonly id: number;
  readonly request: unknown;
}

type Answer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly message: string };

export interface AskedOptions {
  /** For messages: who is asked. */
  readonly name: string;
  readonly command: readonly string[];
}

/** Asks; `Request` is what the process understands. */
export class AskedProcess<Request> {
  readonly name: string;
  readonly child: Subprocess;
  readonly #open = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 1;

  constructor({ name, command }: AskedOptions) {
    this.name = name;
    this.child = Bun.spawn([...command], {
      stdio: ["ignore", "inherit", "inherit"],
      serialization: "json",
      ipc: (message: Answer) => this.#take(message),
      onExit: (_, exitCode, signal) => {
        for (const { reject } of this.#open.values())
          reject(new Error(`${name} ended (${signal ?? exitCode}) before it answered`));
        this.#open.clear();
      },
    });
  }

  get pid(): number {
    return this.child.pid;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** @throws what the process answers, or that it ended. */
  async ask<Value>(request: Request): Promise<Value> {
    const id = this.#next;
    this.#next += 1;
    const answer = Promise.withResolvers<unknown>();
    this.#open.set(id, answer);
    this.child.send({ id, request });
    return (await answer.promise) as Value;
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.child.kill(signal);
    await this.child.exited;
  }

  #take(answer: Answer): void {
    const waiting = this.#open.get(answer.id);
    this.#open.delete(answer.id);
    if (answer.ok) waiting?.resolve(answer.value);
    else waiting?.reject(new Error(`${this.name}: ${answer.message}`));
  }
}

/** The other end: answers each question with what `answer` makes of it, several at once. */
export function answerQuestions<Request>(answer: (request: Request) => Promise<unknown>): void {
  process.on("message", ({ id, request }: Question) => {
    answer(request as Request).then(
      (value) => process.send?.({ id, ok: true, value: value ?? null }),
      (error: unknown) =>
        process.send?.({ id, ok: false, message: error instanceof Error ? error.message : String(error) }),
    );
  });
  // Whoever asks is gone: nobody would ever end this process.
  process.on("disconnect", () => process.exit(0));
}
