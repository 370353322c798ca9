/** A request that was turned away, a change that was refused, or a secret that was read. */
export interface RememberedAttempt {
  readonly id: number;
  readonly atMs: number;
  /** As `Caller.by`; null: nobody knows. */
  readonly by: string | null;
  readonly byName: string | null;
  readonly address: string | null;
  readonly request: string;
  readonly status: number;
  /** Why it was refused; null: it was not. */
  readonly code: string | null;
  /** More than whoever asked was told; null: nothing. */
  readonly why: string | null;
}

const ATTEMPTS_MAX = 1000;

/** The latest of this member, since it started. Its log has them all. */
export class RememberedAttempts {
  readonly #attempts: RememberedAttempt[] = [];
  #lastId = 0;

  add(attempt: Omit<RememberedAttempt, "id">): RememberedAttempt {
    // The time, so that ids go on growing after a restart.
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(attempt.atMs));
    const remembered = { ...attempt, id: this.#lastId };
    this.#attempts.push(remembered);
    if (this.#attempts.length > ATTEMPTS_MAX) this.#attempts.shift();
    return remembered;
  }

  /** Those after `afterId`, oldest first. */
  after(afterId: number): readonly RememberedAttempt[] {
    return this.#attempts.filter(({ id }) => id > afterId);
  }
}
