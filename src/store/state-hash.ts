/**
 * One hash per applied entry, over everything that entry did, chained to the one before: two members with the same hash
 * at the same index have lived through the same. A member whose state parted from the others' is found that way.
 *
 * The chain begins with the entry that raises the feature level to 2, at the hash of the whole state: from there on all
 * members run the same rules, and all of them keep hashes.
 */

import type { LogIndex } from "../base/ids.ts";
import { SESSIONS_FEATURE_LEVEL } from "../cluster/command-codec.ts";
import { type ClusterState, featureLevelOf } from "../cluster/state.ts";
import type { Entry } from "../raft/engine/message.ts";

/** A part of the state that an entry changed: the name, and its JSON; null where it is gone. */
export type ChangedPart = readonly [name: string, json: string | null];

export interface StateHash {
  readonly index: LogIndex;
  /** Hexadecimal. */
  readonly hash: string;
}

/** So many of the latest hashes can be asked for: members that are compared are never quite equally far. */
export const HASHES_MAX = 1024;

export class StateHashChain {
  #hash: Uint8Array | null;
  #index: LogIndex;
  readonly #recent: (Uint8Array | undefined)[] = new Array<undefined>(HASHES_MAX).fill(undefined);
  readonly #hasher = new Bun.CryptoHasher("sha256");

  constructor(index: LogIndex, hash: Uint8Array | null) {
    this.#index = index;
    this.#hash = hash;
    this.#remember();
  }

  get isRunning(): boolean {
    return this.#hash !== null;
  }

  /** As stored beside the applied index. */
  get bytes(): Uint8Array | null {
    return this.#hash;
  }

  get latest(): StateHash | null {
    return this.#hash === null ? null : { index: this.#index, hash: hexadecimal(this.#hash) };
  }

  /** Null where it is not known (any more, or since the start of this process). */
  at(index: LogIndex): string | null {
    if (this.#hash === null || index > this.#index || index <= this.#index - HASHES_MAX) return null;
    const hash = this.#recent[index % HASHES_MAX];
    return hash === undefined ? null : hexadecimal(hash);
  }

  /** The entry was applied, with the chain not begun yet: begins it where `parts`, the whole state, says so. */
  begin(entry: Entry, state: ClusterState | null, parts: () => readonly ChangedPart[]): void {
    this.#index = entry.index;
    if (state === null || featureLevelOf(state) < SESSIONS_FEATURE_LEVEL) return;
    this.#hash = this.#hasher.update(lines(["begin", ...named(parts())])).digest();
    this.#remember();
  }

  /**
   * The entry was applied.
   *
   * @param texts what was answered and which events it made, each as JSON.
   */
  advance(entry: Entry, texts: readonly string[], changed: readonly ChangedPart[]): void {
    if (this.#hash === null) return;
    this.#hash = this.#hasher
      .update(this.#hash)
      .update(lines([`${entry.index} ${entry.term} ${entry.kind}`, ...texts, ...named(changed)]))
      .digest();
    this.#index = entry.index;
    this.#remember();
  }

  #remember(): void {
    if (this.#hash !== null) this.#recent[this.#index % HASHES_MAX] = this.#hash;
  }
}

/** The state as its parts in JSON, so that what did not change is not written out again. */
export class StateText {
  #state: ClusterState | null = null;
  readonly #parts = new Map<string, string>();

  constructor(state: ClusterState | null) {
    this.replace(state);
  }

  /** Takes over the state that follows. Returns what differs as JSON, by name. */
  replace(state: ClusterState | null): readonly ChangedPart[] {
    if (state === this.#state) return [];
    const before = (this.#state ?? {}) as Readonly<Record<string, unknown>>;
    const after = (state ?? {}) as Readonly<Record<string, unknown>>;
    const changed: ChangedPart[] = [];
    for (const [name, value] of Object.entries(after)) {
      if (value === before[name] && this.#parts.has(name)) continue;
      const json = JSON.stringify(value) as string | undefined;
      if (json === this.#parts.get(name)) continue;
      if (json === undefined) this.#parts.delete(name);
      else this.#parts.set(name, json);
      changed.push([name, json ?? null]);
    }
    for (const name of this.#parts.keys()) {
      if (name in after) continue;
      this.#parts.delete(name);
      changed.push([name, null]);
    }
    this.#state = state;
    return changed.sort(byName);
  }

  /** All parts, by name. */
  get parts(): readonly ChangedPart[] {
    return [...this.#parts].sort(byName);
  }

  /** The whole state as JSON, its parts in a fixed order. */
  get text(): string {
    return `{${this.parts.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
  }
}

function named(parts: readonly ChangedPart[]): readonly string[] {
  return parts.map(([name, json]) => `${name} ${json ?? "is gone"}`);
}

/** JSON has no line breaks of its own, so no two lists give the same text. */
function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}

function byName(a: ChangedPart, b: ChangedPart): number {
  return a[0] < b[0] ? -1 : 1;
}

function hexadecimal(hash: Uint8Array): string {
  return Buffer.from(hash).toString("hex");
}
