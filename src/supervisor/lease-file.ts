import { rename, rm, writeFile } from "node:fs/promises";
import type { Epoch } from "../base/ids.ts";
import { readJson } from "./json-file.ts";
import type { Lease } from "./lease.ts";

/** A lease as the next supervisor of this boot finds it. */
export interface KeptLease extends Lease {
  readonly bootId: string;
  /** PostgreSQL was, or was about to be, opened under it. */
  readonly isReigning: boolean;
}

/**
 * Keeps the lease for the next supervisor, never on the thread: a disk that hangs must not hold up the end of a lease.
 * Not synced either: it is for who comes after this process on this boot; after another boot no PostgreSQL runs.
 *
 * Only what was wanted last is written. What is on disk meanwhile ends earlier, and that is safe.
 */
export class LeaseFile {
  readonly #path: string;
  #wanted: KeptLease | null = null;
  #written: KeptLease | null;
  #writing: Promise<void> | null = null;

  constructor(path: string) {
    this.#path = path;
    this.#written = readKeptLease(path);
    this.#wanted = this.#written;
  }

  /** What stands there, of whatever boot. */
  get kept(): KeptLease | null {
    return this.#written;
  }

  /** Resolves once this, or something newer, is there. */
  async keep(lease: KeptLease | null): Promise<void> {
    this.#wanted = lease;
    while (this.#written !== this.#wanted) {
      this.#writing ??= this.#write(this.#wanted).finally(() => {
        this.#writing = null;
      });
      await this.#writing;
    }
  }

  async #write(lease: KeptLease | null): Promise<void> {
    if (lease === null) {
      await rm(this.#path, { force: true });
    } else {
      await writeFile(`${this.#path}.new`, `${JSON.stringify(lease)}\n`, { mode: 0o600 });
      await rename(`${this.#path}.new`, this.#path);
    }
    this.#written = lease;
  }
}

function readKeptLease(path: string): KeptLease | null {
  const value = readJson(path);
  if (value === null) return null;
  const { bootId, epoch, untilMs, durationMs, isReigning } = value as Partial<KeptLease>;
  if (typeof bootId !== "string" || typeof isReigning !== "boolean") throw damaged(path);
  if (!Number.isSafeInteger(epoch) || typeof untilMs !== "number" || typeof durationMs !== "number")
    throw damaged(path);
  return { bootId, epoch: epoch as Epoch, untilMs, durationMs, isReigning };
}

function damaged(path: string): Error {
  return new Error(
    `${path} is damaged; it says until when PostgreSQL may reign, so nothing is done without it. ` +
      "Stop PostgreSQL and remove the file",
  );
}
