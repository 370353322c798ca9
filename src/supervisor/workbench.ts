import { rmSync, writeFileSync } from "node:fs";
import type { Clock } from "../base/clock.ts";
import type { Epoch } from "../base/ids.ts";
import type { Result } from "../base/result.ts";
import type { WorkProgress } from "../cluster/observation.ts";
import type { CopyProgress } from "../postgres/clone.ts";
import { killGroup, type ProgramFailure } from "../postgres/program.ts";
import { readJson } from "./json-file.ts";
import { processStartTicks } from "./process-table.ts";
import { RequestRefused } from "./refused.ts";

export interface WorkbenchOptions {
  readonly programFile: string;
  readonly clock: Clock;
  /** At most some times a second, and at each new phase. */
  readonly onProgress: (work: WorkProgress) => void;
  /** Called after each piece of work, done or failed. */
  readonly onFinished: () => void;
}

const PROGRESS_INTERVAL_MS = 250;

/** Where long work is done: one piece at a time, with its progress, its program, and a way to end it early. */
export class Workbench {
  readonly #options: WorkbenchOptions;
  #work: WorkProgress | null = null;
  #progressSentAtMs = Number.NEGATIVE_INFINITY;
  #queue: Promise<void> = Promise.resolve();
  /** The clone (or initdb) under way: what a stop or a pledge ends. */
  #cancellable: { readonly controller: AbortController; readonly epoch: Epoch | null } | null = null;
  #stopCount = 0;

  constructor(options: WorkbenchOptions) {
    this.#options = options;
  }

  get work(): WorkProgress | null {
    return this.#work;
  }

  /** How often everything was told to stop: work that was asked for before the last time is not wanted any more. */
  get stopCount(): number {
    return this.#stopCount;
  }

  enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  /** Resolves once everything that was enqueued is through. */
  idle(): Promise<void> {
    return this.#queue;
  }

  begin(kind: WorkProgress["kind"], phase: string): void {
    this.#progressSentAtMs = Number.NEGATIVE_INFINITY;
    this.progressed(kind, phase, null);
  }

  /** What is begun now is ended by a stop, and by a pledge of `epoch` or a newer one. */
  beginCancellable(epoch: Epoch | null): AbortController {
    const controller = new AbortController();
    this.#cancellable = { controller, epoch };
    return controller;
  }

  finish(): void {
    this.#work = null;
    this.#cancellable = null;
    rmSync(this.#options.programFile, { force: true });
    this.#options.onFinished();
  }

  /** Ends what can be ended, and nothing that waits begins. */
  stopAll(): void {
    this.#stopCount += 1;
    this.#cancellable?.controller.abort();
  }

  /** Ends what lets in WAL under `epoch` or an older one. */
  endUpTo(epoch: Epoch): void {
    const cancellable = this.#cancellable;
    if (cancellable === null || cancellable.epoch === null || cancellable.epoch > epoch) return;
    cancellable.controller.abort();
  }

  progressed(kind: WorkProgress["kind"], phase: string, progress: CopyProgress | null): void {
    const isNewPhase = this.#work?.phase !== phase;
    const work: WorkProgress = {
      kind,
      phase,
      doneBytes: progress?.doneBytes ?? null,
      totalBytes: progress?.totalBytes ?? null,
    };
    this.#work = work;
    const nowMs = this.#options.clock.nowMs();
    if (!isNewPhase && nowMs - this.#progressSentAtMs < PROGRESS_INTERVAL_MS) return;
    this.#progressSentAtMs = nowMs;
    this.#options.onProgress(work);
  }

  /** Programs outlive a supervisor that is killed: the next one must find and end them before it does anything. */
  noteProgram(pid: number): void {
    const note = { pid, startTicks: processStartTicks(pid) };
    writeFileSync(this.#options.programFile, JSON.stringify(note), { mode: 0o600 });
  }

  endLeftOverProgram(): void {
    const note = readJson(this.#options.programFile);
    if (typeof note === "object" && note !== null && "pid" in note && "startTicks" in note) {
      const { pid, startTicks } = note;
      if (typeof pid === "number" && startTicks !== null && processStartTicks(pid) === startTicks)
        killGroup(pid);
    }
    rmSync(this.#options.programFile, { force: true });
  }
}

/** @throws {RequestRefused} with what the program said, if it failed. */
export function requireSuccess(result: Result<unknown, ProgramFailure>): void {
  if (result.ok) return;
  const { wasCancelled, message } = result.error;
  throw new RequestRefused(wasCancelled ? "unavailable" : "program-failed", message);
}
