import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import type { EntryId, Message } from "../../../src/raft/engine/message.ts";
import type { ReadState } from "../../../src/raft/engine/reads.ts";
import { type NodeStatus, RaftNode } from "../../../src/raft/node.ts";
import type { Applied, StagedSnapshot } from "../../../src/raft/ports.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import { DiskFault, type SimulatedDisk } from "./disk.ts";
import type { EventQueue } from "./event-queue.ts";
import { commandId } from "./machine.ts";
import type { Recorder } from "./recorder.ts";
import { type Swarm, UNITS_PER_TICK } from "./swarm.ts";

/** What a member needs of the world around it. */
export interface Surroundings {
  readonly queue: EventQueue;
  readonly recorder: Recorder;
  readonly swarm: Swarm;
  post(message: Message): void;
  streamSnapshot(from: Member, to: MemberId, staged: StagedSnapshot, status: NodeStatus): void;
  note(text: () => string): void;
  /** The process ended by itself. */
  died(member: Member, fault: DiskFault): void;
}

/** How a proposal ended, as far as the member that took it knows. */
export type ProposalOutcome =
  | { readonly kind: "done"; readonly answer: string }
  /** It will never happen. */
  | { readonly kind: "lost" }
  /** The member took it and ended before it knew. */
  | { readonly kind: "unknown" };

interface Proposal {
  readonly place: EntryId;
  readonly onOutcome: (outcome: ProposalOutcome) => void;
}

interface Read {
  readonly key: string;
  readonly committedAtStart: number;
  readonly onAnswer: (value: string | null) => void;
}

/** What waits while a process stands still; a socket's buffer is not endless either. */
const INBOX_MAX = 400;

/**
 * One process: the real node over a simulated disk, driven as the worker drives it. It handles what came in during a turn
 * and then lets the node work; while the disk writes, or the process is stopped, everything waits.
 */
export class Member {
  readonly id: MemberId;
  readonly disk: SimulatedDisk;
  node: RaftNode | null = null;
  /** Changes with each start: what was meant for an earlier life does not arrive. */
  life = 0;
  /** It will never run again. */
  isLost = false;
  #status: NodeStatus | null = null;
  readonly #world: Surroundings;
  readonly #random: SeededRandom;
  readonly #tickUnits: number;
  #inbox: ((node: RaftNode) => void)[] = [];
  #isTurnPlanned = false;
  #busyUntil = 0;
  #pausedUntil = 0;
  #tickedAt = 0;
  readonly #proposals: Proposal[] = [];
  readonly #asked = new Map<number, Read>();
  #confirmed: { readonly read: Read; readonly index: LogIndex }[] = [];

  constructor(id: MemberId, disk: SimulatedDisk, random: SeededRandom, world: Surroundings) {
    this.id = id;
    this.disk = disk;
    this.#random = random;
    this.#world = world;
    const skew = world.swarm.clockSkewUnits;
    disk.beforeCompaction = () => this.#observeNow();
    disk.beforeConfig = () => {
      // Of one that led when this turn began: what others are told to be committed may come with this very transaction.
      if (this.isLeading && this.#status?.term === this.status?.term) this.#observeNow();
    };
    this.#tickUnits = UNITS_PER_TICK + random.integer(-skew, skew);
  }

  get isRunning(): boolean {
    return this.node !== null;
  }

  /** It will not come back, or not when it is needed. */
  get isGone(): boolean {
    return this.isLost || this.disk.rottenIndex !== null;
  }

  /** Null while it does not run. */
  get status(): NodeStatus | null {
    return this.node?.status() ?? null;
  }

  get isLeading(): boolean {
    return this.#status?.role === "leader";
  }

  get isPaused(): boolean {
    return this.#pausedUntil > this.#world.queue.now;
  }

  // --- Life and death -----------------------------------------------------------------------------------------------

  start(): void {
    if (this.node !== null || this.isLost) return;
    const { swarm, queue, recorder } = this.#world;
    this.life += 1;
    try {
      this.node = new RaftNode({
        id: this.id,
        store: this.disk,
        transport: { send: (message) => this.#send(message) },
        random: this.#random.fork(),
        timing: swarm.timing,
        limits: swarm.limits,
        onApplied: (applied) => this.#onApplied(applied),
        onReads: (reads) => this.#onReads(reads),
        onSnapshotNeeded: (to) => this.#onSnapshotNeeded(to),
        onStatus: (status) => this.#onStatus(status),
      });
    } catch (error) {
      if (!(error instanceof DiskFault)) throw error;
      this.#world.died(this, error);
      return;
    }
    this.#status = this.node.status();
    recorder.started(this.id, this.#status);
    this.#world.note(() => `${this.id} starts (${this.#describe()})`);
    this.#tickedAt = queue.now;
    this.#planTick(this.#random.integer(1, this.#tickUnits));
    this.hear("campaign at start", (node) => node.campaign());
  }

  /** The process is gone, or the machine with it. */
  end(): void {
    if (this.node === null) return;
    this.node = null;
    this.#status = null;
    this.life += 1;
    this.#inbox = [];
    this.#isTurnPlanned = false;
    this.#busyUntil = 0;
    this.#pausedUntil = 0;
    this.disk.spentUnits = 0;
    this.#world.recorder.stopped(this.id);
    for (const { onOutcome } of this.#proposals.splice(0)) onOutcome({ kind: "unknown" });
    for (const { onAnswer } of this.#asked.values()) onAnswer(null);
    for (const { read } of this.#confirmed) read.onAnswer(null);
    this.#asked.clear();
    this.#confirmed = [];
  }

  /** The process stands still (SIGSTOP): nothing is lost, everything is late. */
  pause(units: number): void {
    this.#pausedUntil = this.#world.queue.now + units;
  }

  resume(): void {
    // Nor does a disk that hung for an age go on hanging.
    this.#busyUntil = Math.min(this.#busyUntil, this.#world.queue.now);
    this.#pausedUntil = 0;
  }

  // --- What comes in ------------------------------------------------------------------------------------------------

  receive(message: Message): void {
    this.hear(null, (node) => {
      this.#world.note(() => `${this.id} <- ${describeMessage(message)}`);
      node.receive(message);
    });
  }

  /** Something comes in; it is handled at once, or together with what else comes until the next turn. */
  hear(what: string | null, work: (node: RaftNode) => void): void {
    if (this.node === null || this.#inbox.length >= INBOX_MAX) return;
    this.#inbox.push(
      what === null
        ? work
        : (node) => {
            this.#world.note(() => `${this.id} ${what}`);
            work(node);
          },
    );
    if (this.#isTurnPlanned) return;
    const { queue, swarm } = this.#world;
    const stalledUntil = Math.max(this.#busyUntil, this.#pausedUntil);
    if (stalledUntil <= queue.now && swarm.turnUnits === 0) {
      this.#turn(null);
      return;
    }
    this.#isTurnPlanned = true;
    const turnIn = swarm.turnUnits === 0 ? 0 : this.#random.integer(0, swarm.turnUnits);
    this.#planTurn(Math.max(stalledUntil - queue.now, turnIn));
  }

  /** Looks again now and then: a pause may end early. */
  #planTurn(delay: number): void {
    const { life } = this;
    const { queue } = this.#world;
    queue.in(Math.min(delay, this.#tickUnits), () => {
      if (this.life !== life) return;
      const stalledUntil = Math.max(this.#busyUntil, this.#pausedUntil);
      if (stalledUntil > queue.now) {
        this.#planTurn(stalledUntil - queue.now);
        return;
      }
      this.#isTurnPlanned = false;
      this.#turn(null);
    });
  }

  #planTick(delay: number): void {
    const { life } = this;
    const { queue } = this.#world;
    queue.in(delay, () => {
      if (this.life !== life) return;
      const stalledUntil = Math.max(this.#busyUntil, this.#pausedUntil);
      if (stalledUntil > queue.now) {
        this.#planTick(Math.min(stalledUntil - queue.now, this.#tickUnits));
        return;
      }
      // However late: what waits in the sockets first, then one tick; but authority is told the truth.
      const trueTicks = Math.max(1, Math.floor((queue.now - this.#tickedAt) / this.#tickUnits));
      this.#tickedAt = queue.now;
      this.#planTick(this.#tickUnits);
      this.#turn(trueTicks);
    });
  }

  #turn(trueTicks: number | null): void {
    const { node } = this;
    if (node === null) return;
    const { queue } = this.#world;
    const inbox = this.#inbox;
    this.#inbox = [];
    this.disk.spentUnits = 0;
    // Sometimes the loop of the worker turns between two messages that came together.
    const splitAt =
      inbox.length > 1 && this.#random.chance(30) ? this.#random.integer(1, inbox.length - 1) : inbox.length;
    try {
      for (const [at, work] of inbox.entries()) {
        if (at === splitAt) node.process();
        work(node);
      }
      if (trueTicks !== null) node.tick(trueTicks);
      node.process();
    } catch (error) {
      if (!(error instanceof DiskFault)) throw error;
      this.#world.note(() => `${this.id} ends: ${error.message}`);
      this.end();
      this.#world.died(this, error);
      return;
    }
    this.#answerReads();
    this.#busyUntil = queue.now + this.disk.spentUnits;
  }

  // --- What clients ask ---------------------------------------------------------------------------------------------

  /** @returns through `onOutcome`, once; never if the request was lost on its way. */
  propose(data: readonly Uint8Array[], onOutcome: (at: number, outcome: ProposalOutcome) => void): void {
    this.hear(null, (node) => {
      const answer = node.propose(data);
      this.#world.note(
        () =>
          `${this.id} takes ${data.map(commandId).join(" ")}: ${answer.ok ? answer.ids.map(({ index, term }) => `${index}/${term}`).join(" ") : answer.reason}`,
      );
      if (!answer.ok) {
        for (let at = 0; at < data.length; at += 1) onOutcome(at, { kind: "lost" });
        return;
      }
      for (const [at, place] of answer.ids.entries()) {
        this.#proposals.push({ place, onOutcome: (outcome) => onOutcome(at, outcome) });
      }
    });
  }

  /** @returns through `onAnswer`, once: null if this member could not answer. */
  read(id: number, key: string, onAnswer: (value: string | null) => void): void {
    this.hear(null, (node) => {
      const answer = node.readIndex(id);
      this.#world.note(() => `${this.id} reads ${key} (${id}): ${answer.ok ? "asks" : answer.reason}`);
      if (!answer.ok) onAnswer(null);
      else this.#asked.set(id, { key, onAnswer, committedAtStart: this.#world.recorder.committedIndex });
    });
  }

  #onApplied(applied: readonly Applied[]): void {
    for (const { index, term, reply } of applied) {
      for (let at = this.#proposals.length - 1; at >= 0; at -= 1) {
        const proposal = this.#proposals[at];
        if (proposal?.place.index !== index) continue;
        this.#proposals.splice(at, 1);
        // Of several that were given the same place in different terms, one at most happened.
        const isOwn = proposal.place.term === term;
        this.#later(() =>
          proposal.onOutcome(isOwn ? { kind: "done", answer: String(reply) } : { kind: "lost" }),
        );
      }
    }
  }

  #onReads(reads: readonly ReadState[]): void {
    for (const { id, index } of reads) {
      const read = this.#asked.get(id);
      if (read === undefined) continue;
      this.#asked.delete(id);
      if (index === null) {
        this.#later(() => read.onAnswer(null));
        continue;
      }
      this.#world.recorder.readConfirmed(this.id, index, read.committedAtStart);
      this.#confirmed.push({ read, index });
    }
  }

  /** Whatever is applied far enough by now. */
  #answerReads(): void {
    if (this.#confirmed.length === 0) return;
    const { current } = this.disk;
    this.#confirmed = this.#confirmed.filter(({ read, index }) => {
      if (current.applied < index) return true;
      const value = current.machine.value(read.key);
      this.#later(() => read.onAnswer(value));
      return false;
    });
  }

  #onStatus(status: NodeStatus): void {
    this.#status = status;
    this.#world.note(() => `${this.id} is ${this.#describe()}`);
    this.#world.recorder.observed(this.id, status, true);
    // What was applied under another name, or without an answer, was something else: these proposals are lost. But what a
    // snapshot brought may be just this.
    for (let at = this.#proposals.length - 1; at >= 0; at -= 1) {
      const proposal = this.#proposals[at];
      if (proposal === undefined || proposal.place.index > status.appliedIndex) continue;
      this.#proposals.splice(at, 1);
      const kind = proposal.place.index <= status.floorIndex ? "unknown" : "lost";
      this.#later(() => proposal.onOutcome({ kind }));
    }
  }

  #onSnapshotNeeded(to: MemberId): void {
    const { node } = this;
    if (node === null) return;
    this.#world.streamSnapshot(this, to, this.disk.snapshot(), node.status());
  }

  // --- What goes out ------------------------------------------------------------------------------------------------

  #send(message: Message): void {
    const { recorder } = this.#world;
    recorder.saying(message, this.disk);
    // The news may get out although the member ends before anybody looks at it.
    if (message.type === "append" && message.commit > recorder.committedIndex) this.#observeNow();
    this.#later(() => {
      this.#world.note(() => `${this.id} says to ${message.to}: ${describeBody(message)}`);
      this.#world.post(message);
    });
  }

  #observeNow(): void {
    if (this.node !== null) this.#world.recorder.observed(this.id, this.node.status(), false);
  }

  /** After what the disk has taken of this turn so far; never, if the member ends before. */
  #later(run: () => void): void {
    const { spentUnits } = this.disk;
    if (spentUnits === 0) {
      run();
      return;
    }
    const { life } = this;
    this.#world.queue.in(spentUnits, () => {
      if (this.life === life) run();
    });
  }

  #describe(): string {
    const status = this.#status;
    if (status === null) return "down";
    const { role, term, leaderId, floorIndex, appliedIndex, commitIndex, lastIndex } = status;
    const follows = role === "follower" && leaderId !== null ? ` of ${leaderId}` : "";
    return `${role}${follows}, term ${term}, floor ${floorIndex} applied ${appliedIndex} commit ${commitIndex} last ${lastIndex}`;
  }
}

function describeMessage(message: Message): string {
  return `${message.from} ${describeBody(message)}`;
}

function describeBody(message: Message): string {
  const head = `${message.type} t${message.term}`;
  switch (message.type) {
    case "append": {
      const { previous, entries, commit } = message;
      const last = entries.at(-1);
      const range = last === undefined ? "nothing" : `to ${last.index}/${last.term}`;
      return `${head} after ${previous.index}/${previous.term} ${range}, commit ${commit}`;
    }
    case "append-response":
      return `${head} ${message.rejection === null ? "has" : "lacks"} ${message.index}${message.rejection === null ? "" : `, try ${message.rejection.index}/${message.rejection.term}`}`;
    case "pre-vote":
    case "vote":
      return `${head} last ${message.last.index}/${message.last.term}${message.isTransfer ? " by transfer" : ""}`;
    case "pre-vote-response":
    case "vote-response":
      return `${head} ${message.isGranted ? "yes" : "no"}`;
    case "heartbeat":
      return `${head} round ${message.round} commit ${message.commit}`;
    case "heartbeat-response":
      return `${head} round ${message.round}`;
    case "snapshot":
      return `${head} of ${message.meta.index}/${message.meta.term}`;
    case "timeout-now":
      return head;
  }
}
