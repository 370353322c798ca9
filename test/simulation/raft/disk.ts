import { assert, defined } from "../../../src/base/assert.ts";
import type { LogIndex, Term } from "../../../src/base/ids.ts";
import type {
  ClusterConfig,
  Entry,
  EntryId,
  HardState,
  PlacedConfig,
} from "../../../src/raft/engine/message.ts";
import type { Applied, LogStore, StagedSnapshot, StoreBatch, StoredRaft } from "../../../src/raft/ports.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import { configOf } from "./config-rules.ts";
import { Machine } from "./machine.ts";

/** What a disk does to its member, who must end. Never a finding. */
export class DiskFault extends Error {
  override readonly name = "DiskFault";
  readonly kind: "power-lost" | "full" | "failed" | "corrupt";

  constructor(kind: DiskFault["kind"]) {
    super(`the disk: ${kind}`);
    this.kind = kind;
  }
}

/** What happens at the next transaction that qualifies: before it is on the disk, or after. */
export interface DiskTrap {
  readonly kind: "power-lost" | "full" | "failed";
  readonly when: "before" | "after";
  /** Only a transaction that brings entries. */
  readonly isForEntries: boolean;
}

type Transaction =
  | { readonly kind: "batch"; readonly batch: StoreBatch }
  | { readonly kind: "compact"; readonly upTo: LogIndex };

/** What lies on a disk. */
export class DiskContents {
  hard: HardState = { term: 0 as Term, vote: null, commit: 0 as LogIndex };
  floor: EntryId = { index: 0 as LogIndex, term: 0 as Term };
  floorConfig: PlacedConfig | null = null;
  applied = 0 as LogIndex;
  machine = new Machine();
  /** Everything above the floor. */
  entries: Entry[] = [];

  get last(): EntryId {
    const last = this.entries.at(-1);
    return last === undefined ? this.floor : { index: last.index, term: last.term };
  }

  entryAt(index: number): Entry | undefined {
    return this.entries[index - this.floor.index - 1];
  }

  termAt(index: LogIndex): Term | null {
    if (index === this.floor.index) return this.floor.term;
    return this.entryAt(index)?.term ?? null;
  }

  copy(): DiskContents {
    const copy = new DiskContents();
    copy.hard = this.hard;
    copy.floor = this.floor;
    copy.floorConfig = this.floorConfig;
    copy.applied = this.applied;
    copy.machine = this.machine.copy();
    copy.entries = [...this.entries];
    return copy;
  }

  configs(): readonly PlacedConfig[] {
    return this.entries.flatMap((entry) =>
      entry.kind === "config" ? [{ index: entry.index, config: configOf(entry) }] : [],
    );
  }

  /** What counts for whoever has this log. */
  latestConfig(): ClusterConfig | null {
    const entry = this.entries.findLast(({ kind }) => kind === "config");
    return entry === undefined ? (this.floorConfig?.config ?? null) : configOf(entry);
  }

  configAt(index: LogIndex): PlacedConfig {
    const placed = this.configs().findLast((each) => each.index <= index) ?? this.floorConfig;
    return defined(placed, "whoever applied something knows who votes");
  }

  carryOut(transaction: Transaction, onApply: (entry: Entry, hash: number) => void): Applied[] {
    if (transaction.kind === "compact") {
      this.#compact(transaction.upTo);
      return [];
    }
    const { snapshot, entries, hard, committed } = transaction.batch;
    if (snapshot !== null) this.#install(snapshot);
    this.#append(entries);
    if (hard !== null) this.hard = hard;
    const replies: Applied[] = [];
    for (const entry of committed) {
      assert(entry.index === this.applied + 1, "entries are applied in order, each once");
      assert(this.termAt(entry.index) === entry.term, "only stored entries are applied");
      const reply = this.machine.apply(entry);
      this.applied = entry.index;
      onApply(entry, this.machine.hash);
      if (reply !== null) replies.push({ index: entry.index, term: entry.term, reply });
    }
    return replies;
  }

  #compact(upTo: LogIndex): void {
    assert(upTo <= this.applied, "only what is applied is compacted away");
    const term = defined(this.termAt(upTo), "only what is there is compacted away");
    this.floorConfig = this.configAt(upTo);
    this.entries.splice(0, upTo - this.floor.index);
    this.floor = { index: upTo, term };
  }

  #install({ meta, content }: StagedSnapshot): void {
    assert(meta.index > this.applied, "a snapshot takes nothing back");
    assert(content instanceof Machine, "a snapshot holds a state");
    this.entries = [];
    this.floor = { index: meta.index, term: meta.term };
    this.floorConfig = meta.config;
    this.applied = meta.index;
    this.machine = content.copy();
  }

  #append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index <= this.last.index + 1, "the log on the disk has no gap");
    const conflict = entries.findIndex((entry) => this.termAt(entry.index) !== entry.term);
    if (conflict < 0) return;
    this.entries.length = first.index + conflict - this.floor.index - 1;
    this.entries.push(...entries.slice(conflict));
  }
}

/** Sees each transaction: with what was there before, and with what is there then. */
export interface DiskWatcher {
  writing(disk: SimulatedDisk, batch: StoreBatch): void;
  synced(disk: SimulatedDisk): void;
  applied(disk: SimulatedDisk, entry: Entry, hash: number): void;
}

/**
 * A disk that keeps what `LogStore` promises and not more: a transaction that was not to be synced is lost with the
 * power, unless chance or a later one kept it; order is kept always. `current` is what the process reads, `durable` what
 * certainly survives.
 */
export class SimulatedDisk implements LogStore {
  readonly owner: string;
  readonly promotableFrom: LogIndex;
  current = new DiskContents();
  durable = new DiskContents();
  trap: DiskTrap | null = null;
  /** How long the next transaction takes; asked before each. */
  latency: () => number = () => 0;
  /** Told before anything is forgotten. */
  beforeCompaction: () => void = nothing;
  /** Told before a configuration is stored. */
  beforeConfig: () => void = nothing;
  /** A row that has changed by itself; found by whoever reads it. */
  rottenIndex: number | null = null;
  /** Time that the transactions of this turn took. */
  spentUnits = 0;
  readonly #watcher: DiskWatcher;
  #unsynced: Transaction[] = [];

  constructor(owner: string, watcher: DiskWatcher, promotableFrom = 0 as LogIndex) {
    this.owner = owner;
    this.#watcher = watcher;
    this.promotableFrom = promotableFrom;
  }

  /** As if these had been there for ever. */
  format(entries: readonly Entry[], hard: HardState): void {
    this.commit({ snapshot: null, entries, hard, committed: [], mustSync: true });
  }

  load(): StoredRaft {
    if (this.rottenIndex !== null) throw new DiskFault("corrupt");
    const { hard, floor, floorConfig, last, applied } = this.current;
    const configs = this.current.configs();
    return { hard, floor, floorConfig, configs, last, applied, promotableFrom: this.promotableFrom };
  }

  read(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[] {
    const start = first - this.current.floor.index - 1;
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.current.entries.slice(start, start + countMax)) {
      if (entry.index === this.rottenIndex) throw new DiskFault("corrupt");
      bytes += entry.data.byteLength;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return entries;
  }

  termAt(index: LogIndex): Term | null {
    if (index === this.rottenIndex) throw new DiskFault("corrupt");
    return this.current.termAt(index);
  }

  commit(batch: StoreBatch): readonly Applied[] {
    this.spentUnits += this.latency();
    const trap = this.#springTrap(batch.entries.length > 0);
    if (trap?.when === "before") throw new DiskFault(trap.kind);
    if (batch.entries.some(({ kind }) => kind === "config")) this.beforeConfig();
    this.#watcher.writing(this, batch);
    const replies = this.#write({ kind: "batch", batch });
    if (batch.mustSync) this.#sync();
    if (trap !== null) throw new DiskFault(trap.kind);
    return replies;
  }

  compact(upTo: LogIndex): EntryId {
    this.beforeCompaction();
    this.spentUnits += this.latency();
    const trap = this.#springTrap(false);
    if (trap?.when === "before") throw new DiskFault(trap.kind);
    this.#write({ kind: "compact", upTo });
    if (trap !== null) throw new DiskFault(trap.kind);
    return this.current.floor;
  }

  /** What a snapshot of now would be. */
  snapshot(): StagedSnapshot {
    const index = this.current.applied;
    const term = defined(this.current.termAt(index), "what is applied is there, or is the floor");
    return {
      meta: { index, term, config: this.current.configAt(index) },
      content: this.current.machine.copy(),
    };
  }

  /** The power is gone: of what was not synced a beginning survives, by chance. */
  losePower(random: SeededRandom): number {
    const kept = random.integer(0, this.#unsynced.length);
    const lost = this.#unsynced.length - kept;
    for (const transaction of this.#unsynced.slice(0, kept)) this.durable.carryOut(transaction, nothing);
    this.#unsynced = [];
    this.current = this.durable.copy();
    return lost;
  }

  #write(transaction: Transaction): Applied[] {
    this.#unsynced.push(transaction);
    return this.current.carryOut(transaction, (entry, hash) => this.#watcher.applied(this, entry, hash));
  }

  #sync(): void {
    for (const transaction of this.#unsynced) this.durable.carryOut(transaction, nothing);
    this.#unsynced = [];
    this.#watcher.synced(this);
  }

  #springTrap(hasEntries: boolean): DiskTrap | null {
    const { trap } = this;
    if (trap === null || (trap.isForEntries && !hasEntries)) return null;
    this.trap = null;
    return trap;
  }
}

function nothing(): void {
  // What becomes durable was seen when it was written.
}
