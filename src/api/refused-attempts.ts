/** A request that was turned away, or a change that was refused. */
export interface RefusedAttempt {
  readonly id: number;
  readonly atMs: number;
  /** A token's id or `local`; null: nobody knows. */
  readonly by: string | null;
  readonly byName: string | null;
  readonly address: string | null;
  readonly request: string;
  readonly status: number;
  readonly code: string;
}

const ATTEMPTS_MAX = 1000;

/** The latest refusals of this member, since it started. Its log has them all. */
export class RefusedAttempts {
  readonly #attempts: RefusedAttempt[] = [];
  #lastId = 0;

  add(attempt: Omit<RefusedAttempt, "id">): void {
    // The time, so that ids go on growing after a restart.
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(attempt.atMs));
    this.#attempts.push({ ...attempt, id: this.#lastId });
    if (this.#attempts.length > ATTEMPTS_MAX) this.#attempts.shift();
  }

  /** Those after `afterId`, oldest first. */
  after(afterId: number): readonly RefusedAttempt[] {
    return this.#attempts.filter(({ id }) => id > afterId);
  }
}
