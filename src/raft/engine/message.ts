import type { LogIndex, MemberId, Term } from "../../base/ids.ts";

/** Names an entry: two logs that agree on one agree on everything before it (Raft §5.3, log matching). */
export interface EntryId {
  readonly term: Term;
  readonly index: LogIndex;
}

/** `noop`: a new leader's first entry. `command`: for the state machine. `config`: data is a `ClusterConfig` as JSON. */
export type EntryKind = "noop" | "command" | "config";

export interface Entry extends EntryId {
  readonly kind: EntryKind;
  readonly data: Uint8Array;
}

/** What must survive a crash before anything that depends on it is sent. */
export interface HardState {
  readonly term: Term;
  readonly vote: MemberId | null;
  /** May lag behind; never an authority on its own. */
  readonly commit: LogIndex;
}

/**
 * Who votes. Effective from the moment its entry is *appended*, taken back if the entry is truncated.
 *
 * Joint (Raft §6) exactly while `outgoing` is not empty: then a quorum of both sets is needed. Changes of one voter use
 * `outgoing: []`; learners receive the log and vote when asked, but never campaign.
 */
export interface ClusterConfig {
  readonly voters: readonly MemberId[];
  readonly outgoing: readonly MemberId[];
  readonly learners: readonly MemberId[];
  /** Voters of `outgoing` that become learners when the joint configuration is left: until then their vote counts. */
  readonly learnersNext: readonly MemberId[];
}

/** A configuration and the entry that brought it (the floor of the log, where that entry was compacted away). */
export interface PlacedConfig {
  readonly index: LogIndex;
  readonly config: ClusterConfig;
}

/** What a snapshot stands for: everything up to and including the entry that it is named after. */
export interface SnapshotMeta extends EntryId {
  /** The configuration as of that entry. */
  readonly config: PlacedConfig;
}

interface Envelope {
  readonly from: MemberId;
  readonly to: MemberId;
  readonly term: Term;
}

/** What members' engines say to each other. The transport adds the cluster id and proves `from`. */
export type Message = Envelope &
  (
    | { readonly type: "pre-vote" | "vote"; readonly last: EntryId; readonly isTransfer: boolean }
    | { readonly type: "pre-vote-response" | "vote-response"; readonly isGranted: boolean }
    | {
        readonly type: "append";
        readonly previous: EntryId;
        readonly entries: readonly Entry[];
        readonly commit: LogIndex;
      }
    | {
        readonly type: "append-response";
        /** The last index that is known to match; on a rejection the `previous.index` that was rejected. */
        readonly index: LogIndex;
        /** Null: accepted. Else where the follower suggests to look for the common past. */
        readonly rejection: EntryId | null;
      }
    | { readonly type: "heartbeat"; readonly commit: LogIndex; readonly round: number }
    | { readonly type: "heartbeat-response"; readonly round: number }
    | { readonly type: "timeout-now" }
    /**
     * Not bytes on the wire: the contents travel on a connection of their own, and whoever receives them says this to its
     * own engine, once everything is there and verified.
     */
    | { readonly type: "snapshot"; readonly meta: SnapshotMeta }
  );
