/**
 * What a look over a connection that stands cannot tell: whether a *new* connection is taken, and whether WAL can still be
 * written. Asked once a second, beside the member's loop: what hangs here must not hold up a pledge.
 */
import type { Clock } from "../base/clock.ts";
import type { Checks, PostgresStatus, PostmasterState } from "../cluster/observation.ts";
import type { CheckResult, ProbePort } from "./ports.ts";

const CHECK_MS = 1_000;
const CHECK_DEADLINE_MS = 1_000;

export class HealthChecks {
  readonly #probe: ProbePort;
  readonly #clock: Clock;
  readonly #onNews: () => void;
  #isAsking = false;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #connectionFailingSinceMs: number | null = null;
  #writeFailingSinceMs: number | null = null;
  #stoppedSinceMs: number | null = null;
  #detail: string | null = null;
  #pendingRestart: readonly string[] = [];

  /** `onNews` is called when something begins to fail, or works again. */
  constructor(probe: ProbePort, clock: Clock, onNews: () => void) {
    this.#probe = probe;
    this.#clock = clock;
    this.#onNews = onNews;
  }

  /** Parameters that wait for PostgreSQL to be started again, as of the last time that it was asked. */
  get pendingRestart(): readonly string[] {
    return this.#pendingRestart;
  }

  /** Asks again where that is due, and says for how long what has been failing. */
  consider(postgres: PostgresStatus, postmasterState: PostmasterState | null): Checks {
    const nowMs = this.#clock.nowMs();
    const { kind } = postgres;
    const isUp = kind === "primary" || kind === "standby" || kind === "unresponsive";
    this.#stoppedSinceMs = postmasterState === "stopped" ? (this.#stoppedSinceMs ?? nowMs) : null;
    if (!isUp) this.#forget();
    else if (!this.#isAsking && nowMs - this.#askedAtMs >= CHECK_MS) this.#ask(kind === "primary", nowMs);
    const sinceOf = (sinceMs: number | null) => (sinceMs === null ? null : Math.round(nowMs - sinceMs));
    return {
      connectionFailingMs: sinceOf(this.#connectionFailingSinceMs),
      writeFailingMs: sinceOf(this.#writeFailingSinceMs),
      postmasterStoppedMs: sinceOf(this.#stoppedSinceMs),
      detail: this.#detail,
    };
  }

  #ask(isPrimary: boolean, nowMs: number): void {
    this.#isAsking = true;
    this.#askedAtMs = nowMs;
    void this.#probe.check(isPrimary, CHECK_DEADLINE_MS).then((result) => {
      this.#isAsking = false;
      this.#take(result, nowMs);
    });
  }

  /** What fails has been failing since it was asked. */
  #take({ connection, write, detail, pendingRestart }: CheckResult, askedAtMs: number): void {
    const before = `${this.#connectionFailingSinceMs !== null} ${this.#writeFailingSinceMs !== null}`;
    this.#connectionFailingSinceMs =
      connection === "failed" ? (this.#connectionFailingSinceMs ?? askedAtMs) : null;
    this.#writeFailingSinceMs = write === "failed" ? (this.#writeFailingSinceMs ?? askedAtMs) : null;
    this.#detail = detail;
    this.#pendingRestart = pendingRestart ?? this.#pendingRestart;
    const after = `${this.#connectionFailingSinceMs !== null} ${this.#writeFailingSinceMs !== null}`;
    if (before !== after) this.#onNews();
  }

  #forget(): void {
    this.#connectionFailingSinceMs = null;
    this.#writeFailingSinceMs = null;
    this.#detail = null;
    this.#pendingRestart = [];
  }
}
