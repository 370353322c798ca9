/** How much an engine takes on at once. Every queue has an end: beyond it there is a refusal or a pause, never memory. */
export interface EngineLimits {
  /** Payload of one append message. Larger ones would make heartbeats queue behind them. */
  readonly appendBytesMax: number;
  /** Entries of one append message. */
  readonly appendEntriesMax: number;
  /** Append messages that may be under way to one follower. Too few: the round trip bounds the throughput. */
  readonly inflightMessagesMax: number;
  /** Payload that may be under way to one follower. */
  readonly inflightBytesMax: number;
  /** Payload that a leader accepts before it is committed; beyond it proposals are refused as `overloaded`. */
  readonly uncommittedBytesMax: number;
  /** Payload that is handed to the state machine in one transaction. */
  readonly applyBytesMax: number;
  /** Stable entries that are kept in memory, so that followers that keep up cost no read of the disk. */
  readonly cachedEntriesMax: number;
  /** Reads that wait for their confirmation; beyond it they are refused as `overloaded`. */
  readonly readsMax: number;
  /**
   * Applied entries that stay in the log when it is compacted, for followers that are a little behind. Whoever is further
   * behind gets a snapshot: compaction waits for nobody.
   */
  readonly trailingEntries: number;
  /** The log is compacted once it holds this many applied entries more. */
  readonly compactEveryEntries: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_LIMITS: EngineLimits = {
  appendBytesMax: 256 * KIB,
  appendEntriesMax: 1024,
  inflightMessagesMax: 64,
  inflightBytesMax: 4 * MIB,
  uncommittedBytesMax: 16 * MIB,
  applyBytesMax: MIB,
  cachedEntriesMax: 4096,
  readsMax: 4096,
  trailingEntries: 4096,
  compactEveryEntries: 1024,
};
