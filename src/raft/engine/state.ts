import { assert } from "../../base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../base/ids.ts";
import type { Random } from "../../base/random.ts";
import type { StagedSnapshot } from "../ports.ts";
import type { EngineLimits } from "./limits.ts";
import { next, type RaftLog } from "./log.ts";
import type { Membership } from "./membership.ts";
import type { Entry, EntryId, EntryKind, HardState, Message } from "./message.ts";
import type { Progress } from "./progress.ts";
import { votersOf } from "./quorum.ts";
import type { PendingRead, ReadState } from "./reads.ts";

/** In ticks of whoever drives the engine. All members of a group use the same values. */
export interface Timing {
  readonly heartbeatTicks: number;
  /**
   * No member campaigns earlier, no voter grants a vote this soon after it heard a leader, and a leader that hears no
   * quorum for this long steps down.
   */
  readonly electionTicksMin: number;
  /** Members pick their patience at random up to here, so that they do not all campaign at once. */
  readonly electionTicksMax: number;
}

export interface LeaderRole {
  readonly kind: "leader";
  /** Everybody in the latest configuration except the leader itself. */
  readonly progress: Map<MemberId, Progress>;
  /** This leader's first entry. Until it is committed and applied, the leader does not know what is agreed. */
  readonly termStart: LogIndex;
  heartbeatElapsed: number;
  /** Counts heartbeat rounds of this term. */
  round: number;
  transfer: { readonly to: MemberId; elapsedTicks: number; isAsked: boolean } | null;
  /** It is not among the voters any more and has tried to hand the leadership on. */
  isRetiring: boolean;
  /** Oldest first. */
  readonly reads: PendingRead[];
  /** Payload that this leader took on and that is not committed, oldest first. */
  readonly uncommitted: { readonly last: LogIndex; readonly bytes: number }[];
  uncommittedBytes: number;
}

export type Role =
  | { readonly kind: "follower" }
  | { readonly kind: "pre-candidate"; readonly votes: Map<MemberId, boolean> }
  | { readonly kind: "candidate"; readonly votes: Map<MemberId, boolean> }
  | LeaderRole;

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
/** A message without its envelope. */
export type Body = DistributiveOmit<Message, "from" | "to" | "term">;

export interface EngineStart {
  readonly id: MemberId;
  readonly log: RaftLog;
  readonly membership: Membership;
  /** This member does not campaign before this index is committed: what it replays until then is history. */
  readonly promotableFrom: LogIndex;
  readonly timing: Timing;
  readonly limits: EngineLimits;
  readonly random: Random;
  readonly hard: HardState;
}

/** What an engine is made of, without the rules: those are in `roles`, `election`, `replication` and `transfer`. */
export class EngineState {
  readonly id: MemberId;
  readonly log: RaftLog;
  readonly membership: Membership;
  readonly timing: Timing;
  readonly limits: EngineLimits;
  readonly #promotableFrom: LogIndex;
  readonly #random: Random;
  term: Term;
  vote: MemberId | null;
  role: Role = { kind: "follower" };
  leaderId: MemberId | null = null;
  /**
   * Ticks since a leader was last heard. Starts at 0 although nobody was heard: a member that just started does not know
   * what it heard before it stopped, so it must be as loyal as if that had been a moment ago.
   */
  quietTicks = 0;
  /** Ticks since this member last had a reason to be patient: a leader's message, or a vote that it gave. */
  electionElapsed = 0;
  patienceTicks = 0;
  /** Waits for durability: see `Engine.ready`. */
  outbox: Message[] = [];
  /** What a leader says depends on nothing that is not durable yet (thesis §10.2.1): it need not wait. */
  urgentOutbox: Message[] = [];
  readStates: ReadState[] = [];
  /** Followers that need a snapshot and have not been given one yet. */
  snapshotsWanted: MemberId[] = [];
  /** Arrived, and taken over in memory; not on the disk yet. */
  staged: StagedSnapshot | null = null;

  constructor(start: EngineStart) {
    const { timing } = start;
    assert(timing.heartbeatTicks >= 1, "a heartbeat takes at least one tick");
    assert(
      timing.electionTicksMin > timing.heartbeatTicks,
      "leaders beat faster than followers lose patience",
    );
    assert(
      timing.electionTicksMax > timing.electionTicksMin,
      "there is room for chance between the patience limits",
    );
    this.id = start.id;
    this.log = start.log;
    this.membership = start.membership;
    this.timing = timing;
    this.limits = start.limits;
    this.#promotableFrom = start.promotableFrom;
    this.#random = start.random;
    this.term = start.hard.term;
    this.vote = start.hard.vote;
    this.resetPatience();
  }

  /** A vote counts from everybody; only voters may ask for votes. */
  get isPromotable(): boolean {
    return this.membership.countsAsVoter(this.id) && this.log.commitIndex >= this.#promotableFrom;
  }

  /** The latest configuration is not committed yet. */
  get isConfigPending(): boolean {
    return this.membership.latest.index > this.log.commitIndex;
  }

  get isOnlyVoter(): boolean {
    const voters = votersOf(this.membership.latest.config);
    return voters.length === 1 && voters[0] === this.id;
  }

  resetPatience(): void {
    this.electionElapsed = 0;
    // Above the minimum: at exactly the minimum the others, who may have heard the leader a moment later, still refuse.
    this.patienceTicks = this.#random.integer(this.timing.electionTicksMin + 1, this.timing.electionTicksMax);
  }

  send(to: MemberId, body: Body, term: Term = this.term): void {
    assert(to !== this.id, "a member does not write to itself");
    this.outbox.push({ ...body, from: this.id, to, term });
  }

  /** As a leader: its term and its vote were durable before it led. */
  sendAtOnce(to: MemberId, body: Body): void {
    assert(to !== this.id, "a member does not write to itself");
    assert(this.role.kind === "leader", "only a leader speaks before its disk has");
    this.urgentOutbox.push({ ...body, from: this.id, to, term: this.term });
  }

  /** Appends entries of the own term, as a leader. */
  appendOwn(items: readonly { readonly kind: EntryKind; readonly data: Uint8Array }[]): readonly EntryId[] {
    let index = this.log.last.index;
    const entries = items.map(({ kind, data }): Entry => {
      index = next(index);
      return { index, term: this.term, kind, data };
    });
    this.append(entries);
    return entries.map(({ index, term }) => ({ index, term }));
  }

  /** The log and the configuration that counts change together. */
  append(entries: readonly Entry[]): void {
    this.log.append(entries);
    this.membership.append(entries);
  }

  commitTo(index: LogIndex): boolean {
    const isNews = this.log.commitTo(index);
    if (isNews) this.membership.commitTo(index);
    return isNews;
  }
}
