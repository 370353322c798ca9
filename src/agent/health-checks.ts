/**
 * What a look over a connection that stands cannot tell: whether a *new* connection is taken, and whether WAL can still be
 * written. Asked once a second, beside the member's loop: what hangs here must not hold up a pledge.
 */
import type { Clock } from "../base/clock.ts";
import type { Checks, PostgresStatus, PostmasterState, ServerLimits } from "../cluster/observation.ts";
import type { CheckResult, ProbePort } from "./ports.ts";

const CHECK_MS = 1_000;
const CHECK_DEADLINE_MS = 1_000;
/** Of so many checks one asks what waits for a start: every parameter is read for that. */
const CHECKS_PER_PENDING = 4;

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
  #limits: ServerLimits | null = null;
  /** The server that is asked: what another one said is none of it. */
  #instance: string | null = null;
  #checkCount = 0;
  /** So many checks to come ask for parameters: PostgreSQL takes a moment to read its files. */
  #parametersOwed = 0;

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

  /** What the running server has of the limits that standbys share; null: it was not asked yet. */
  get limits(): ServerLimits | null {
    return this.#limits;
  }

  /** PostgreSQL was just told to read other settings. */
  noteReload(): void {
    this.#parametersOwed = 2;
  }

  /** Asks again where that is due, and says for how long what has been failing. */
  consider(
    postgres: PostgresStatus,
    postmasterState: PostmasterState | null,
    instance: string | null = null,
  ): Checks {
    const nowMs = this.#clock.nowMs();
    const { kind } = postgres;
    const isUp = kind === "primary" || kind === "standby" || kind === "unresponsive";
    this.#stoppedSinceMs = postmasterState === "stopped" ? (this.#stoppedSinceMs ?? nowMs) : null;
    if (!isUp || instance !== this.#instance) this.#forget();
    this.#instance = instance;
    if (isUp && !this.#isAsking && nowMs - this.#askedAtMs >= CHECK_MS) this.#ask(kind === "primary", nowMs);
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
    const instance = this.#instance;
    const isOwed = this.#limits === null || this.#parametersOwed > 0;
    const withParameters = isOwed || this.#checkCount % CHECKS_PER_PENDING === 0;
    this.#parametersOwed = Math.max(0, this.#parametersOwed - 1);
    this.#checkCount += 1;
    void this.#probe.check({ isPrimary, withParameters }, CHECK_DEADLINE_MS).then((result) => {
      this.#isAsking = false;
      if (instance === this.#instance) this.#take(result, nowMs);
    });
  }

  /** What fails has been failing since it was asked. */
  #take({ connection, write, detail, pendingRestart, limits }: CheckResult, askedAtMs: number): void {
    const before = `${this.#connectionFailingSinceMs !== null} ${this.#writeFailingSinceMs !== null}`;
    this.#connectionFailingSinceMs =
      connection === "failed" ? (this.#connectionFailingSinceMs ?? askedAtMs) : null;
    this.#writeFailingSinceMs = write === "failed" ? (this.#writeFailingSinceMs ?? askedAtMs) : null;
    this.#detail = detail;
    const isFirst = this.#limits === null && limits !== undefined;
    this.#pendingRestart = pendingRestart ?? this.#pendingRestart;
    this.#limits = limits ?? this.#limits;
    const after = `${this.#connectionFailingSinceMs !== null} ${this.#writeFailingSinceMs !== null}`;
    if (before !== after || isFirst) this.#onNews();
  }

  #forget(): void {
    this.#connectionFailingSinceMs = null;
    this.#writeFailingSinceMs = null;
    this.#detail = null;
    this.#pendingRestart = [];
    this.#limits = null;
  }
}
