import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { ClusterEvent, Command, Outcome } from "./command.ts";
import type { MemberStatus, Observation } from "./observation.ts";
import type { ClusterState } from "./state.ts";

/**
 * The Raft worker, as the main thread sees it: everything here is answered from memory or is a promise with a deadline.
 */
export interface Consensus {
  /** The agreed state as applied here, and the index it belongs to. */
  readonly state: ClusterState;
  readonly appliedIndex: LogIndex;
  readonly raft: RaftStatus;
  /** By member. On the leader: what came in. On others: what the leader passed on, aged accordingly. */
  readonly observations: ReadonlyMap<MemberId, Observation>;
  /** Called after any of the above changed. Returns the way to stop. */
  onChange(listener: () => void): () => void;
  /**
   * Has the command agreed, through whichever member leads, and resolves once it was applied *here* as well.
   * Proposing the same command again is harmless. `unknown` after the deadline: it may still happen.
   */
  propose(command: Command, deadlineMs: number): Promise<ProposeResult>;
  /** What this member says of itself; goes to the leader at once and with each heartbeat answer. */
  publish(status: MemberStatus): void;
  /** Asks another member's main thread. Rejects after the deadline. */
  call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown>;
  /** Answers other members' `call`s. */
  onCall(handler: (from: MemberId, method: string, payload: unknown) => Promise<unknown>): void;
  /**
   * Leader only: who shall vote and who shall only learn. It is tried until it is in effect, another target replaces it, or
   * leadership is lost; why it has not come into effect yet stands in `raft.configRefusal`.
   */
  changeConfig(target: ConfigTarget): void;
  /** Waits until everything that was agreed before the call, anywhere in the cluster, is applied here. */
  barrier(deadlineMs: number): Promise<BarrierResult>;
  /** Writes what is agreed to a file of its own, as of one index. Rejects if it cannot be written. */
  backup(): Promise<StateBackup>;
  /** Leader only: hands leadership to `to`. */
  transferLeadership(to: MemberId): void;
  /** Events after `afterId`, oldest first. */
  readEvents(afterId: number, countMax: number): Promise<readonly StoredEvent[]>;
  /** What became of the command of this id, if it is among the latest that were applied here. Null: that cannot be said. */
  outcomeOf(commandId: string): Promise<Outcome | null>;
  /** Hands leadership on if it has it, closes sockets and database. */
  close(): Promise<void>;
}

export interface RaftStatus {
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: Term;
  readonly leaderId: MemberId | null;
  /** By the monotonic clock of the main thread; null unless leading. A leader that has not committed an entry of its own
   * term yet has `isReady` false: it must not decide. */
  readonly leadingSinceMs: number | null;
  readonly isReady: boolean;
  readonly commitIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** Applied and forgotten up to here; the log holds what comes after. */
  readonly floorIndex: LogIndex;
  /** The voters of `config`: those of the newer set while it is joint. */
  readonly voterIds: readonly MemberId[];
  readonly config: GroupConfig;
  readonly isConfigPending: boolean;
  /** Why the wanted configuration is not in effect yet, for people; null where nothing is wanted, or nothing in the way. */
  readonly configRefusal: string | null;
  /** Everybody that the leader sends the log to, without itself. Empty unless leading. */
  readonly followers: readonly FollowerStatus[];
  /** Of the agreed state as applied here, where it is kept. Equal on all members at an equal index. */
  readonly stateHash: StateHash | null;
  /** There is no room on this member's disk: it takes no proposals and does not keep the leadership. Absent: there is. */
  readonly isDiskFull?: boolean;
}

/** Who votes and who learns. Joint exactly while `outgoing` is not empty: then both sets must agree. */
export interface GroupConfig {
  readonly voters: readonly MemberId[];
  readonly outgoing: readonly MemberId[];
  readonly learners: readonly MemberId[];
  /** Voters of `outgoing` that become learners when the joint configuration is left. */
  readonly learnersNext: readonly MemberId[];
}

/** A configuration that somebody wants; who is in neither list is taken out. */
export interface ConfigTarget {
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
}

/** How far the leader knows another member's log to agree with its own. */
export interface FollowerStatus {
  readonly id: MemberId;
  readonly matchIndex: LogIndex;
  /** It answered within the last election time. */
  readonly isActive: boolean;
  /** What it lacks is no more than what is under way. */
  readonly isCaughtUp: boolean;
}

export interface StateHash {
  readonly index: LogIndex;
  /** Hexadecimal. */
  readonly hash: string;
}

export type BarrierResult =
  | { readonly kind: "reached"; readonly index: LogIndex }
  /** Nobody could say within the deadline what is agreed. Asking again is harmless. */
  | { readonly kind: "unknown"; readonly reason: string };

/** A consistent copy of what is agreed. Who asked for it removes the file. */
export interface StateBackup {
  readonly path: string;
  readonly term: Term;
  readonly index: LogIndex;
}

export type ProposeResult =
  | { readonly kind: "applied"; readonly outcome: Outcome }
  /** Nothing happened and nothing will: there was nobody to propose to. */
  | { readonly kind: "not-proposed"; readonly reason: string }
  /** Nothing happened: more waits already than may wait. Worth trying again in a moment. */
  | { readonly kind: "overloaded"; readonly reason: string }
  /** It may have happened, or may still. */
  | { readonly kind: "unknown"; readonly reason: string };

export interface StoredEvent extends ClusterEvent {
  readonly id: number;
}
