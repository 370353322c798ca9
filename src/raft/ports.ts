import type { LogIndex, Term } from "../base/ids.ts";
import type { Entry, EntryId, HardState, Message, PlacedConfig, SnapshotMeta } from "./engine/message.ts";

/** What a log store finds on its disk at start. */
export interface StoredRaft {
  readonly hard: HardState;
  /** Everything up to here was compacted away (index 0: nothing was). */
  readonly floor: EntryId;
  /** The configuration at the floor; null where none was ever stored. */
  readonly floorConfig: PlacedConfig | null;
  /** Every configuration above the floor, committed or not, ascending. */
  readonly configs: readonly PlacedConfig[];
  readonly last: EntryId;
  /** How far the state machine has got; its effects and this number were stored in one transaction. */
  readonly applied: LogIndex;
  /** A joiner may not campaign before this index is committed (it would replay old configurations). 0: at once. */
  readonly promotableFrom: LogIndex;
}

/**
 * What Raft asks of a disk. `store/` fulfils it with SQLite, the simulator with an array that forgets what was not
 * synced. Synchronous, and called in the Raft worker only.
 */
export interface LogStore {
  load(): StoredRaft;
  /** Entries from `first` on, at most `countMax` and about `bytesMax` (always at least one); fewer only at the end. */
  read(first: LogIndex, countMax: number, bytesMax: number): readonly Entry[];
  /** Null for an index that the log does not hold. The floor's own index is known. */
  termAt(index: LogIndex): Term | null;
  /**
   * One transaction: install the snapshot, drop entries from `entries[0].index` on that conflict, append, store the hard
   * state, then hand `committed` to the state machine and store how far it got. Durable on return if the batch says
   * `mustSync`; otherwise no later than the next batch that does.
   *
   * @returns what the state machine answered, one reply per committed *command* entry, in order.
   * @throws on any error of the disk: the caller must end the process, nothing may be retried (ATC'20, "Can
   *   applications recover from fsync failures?").
   */
  commit(batch: StoreBatch): readonly Applied[];
  /**
   * One transaction: forgets entries up to `upTo`, which are applied. The configuration at the new floor is kept.
   *
   * @returns the new floor.
   */
  compact(upTo: LogIndex): EntryId;
}

export interface StoreBatch {
  /** Replaces the state machine and the whole log, before anything else of this batch. */
  readonly snapshot: StagedSnapshot | null;
  readonly entries: readonly Entry[];
  /** Null: unchanged. */
  readonly hard: HardState | null;
  /** Committed and durable (or made so by this very batch). */
  readonly committed: readonly Entry[];
  /**
   * False where a power failure may take the batch back: it only says what was committed and applied, which the log and
   * the other members know too. A vote or an entry is never among it.
   */
  readonly mustSync: boolean;
}

/** A snapshot that has arrived whole. */
export interface StagedSnapshot {
  readonly meta: SnapshotMeta;
  /** What the store made of it while it arrived; nobody else looks inside. */
  readonly content: unknown;
}

export interface Applied {
  readonly index: LogIndex;
  readonly term: Term;
  /** The state machine's answer, as JSON. */
  readonly reply: unknown;
}

/** What Raft asks of the network: best effort, unordered, may drop; never blocks, never throws. */
export interface Transport {
  send(message: Message): void;
}
