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
  /** Leader only: adds a voter through a configuration entry. A no-op where it votes already. */
  addVoter(id: MemberId): void;
  /** Leader only: hands leadership to `to`. */
  transferLeadership(to: MemberId): void;
  /** Events after `afterId`, oldest first. */
  readEvents(afterId: number, countMax: number): Promise<readonly StoredEvent[]>;
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
  readonly voterIds: readonly MemberId[];
  readonly isConfigPending: boolean;
}

export type ProposeResult =
  | { readonly kind: "applied"; readonly outcome: Outcome }
  /** Nothing happened and nothing will: there was nobody to propose to. */
  | { readonly kind: "not-proposed"; readonly reason: string }
  /** It may have happened, or may still. */
  | { readonly kind: "unknown"; readonly reason: string };

export interface StoredEvent extends ClusterEvent {
  readonly id: number;
}
