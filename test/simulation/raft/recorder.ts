import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { ClusterConfig, Entry, Message, PlacedConfig } from "../../../src/raft/engine/message.ts";
import type { NodeStatus } from "../../../src/raft/node.ts";
import type { StoreBatch } from "../../../src/raft/ports.ts";
import { configOf, holdsQuorum, isSameConfig, quorumsMeet } from "./config-rules.ts";
import type { DiskWatcher, SimulatedDisk } from "./disk.ts";
import { contentHash } from "./machine.ts";

/** A promise of Raft that did not hold: safety (something wrong happened) or liveness (something never happened). */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly kind: "safety" | "liveness";

  constructor(kind: "safety" | "liveness", message: string) {
    super(message);
    this.kind = kind;
  }
}

interface Committed {
  readonly term: Term;
  /** The lowest term in which somebody led and knew it to be committed. */
  inTerm: Term;
}

interface Named {
  readonly content: number;
  readonly termBefore: number;
}

/** What a member has been seen to be in this life. */
interface Life {
  status: NodeStatus;
  /** What it told its leader of this term to hold. */
  acknowledged: { term: Term; index: LogIndex };
}

/**
 * Sees everything that all members do, and holds it against what Raft promises (figure 3 of the paper, and more). It
 * knows the future of nothing: each check is against what was recorded before.
 */
export class Recorder implements DiskWatcher {
  /** Election safety: who led which term. */
  readonly #leaders = new Map<Term, MemberId>();
  /** Log matching: all that follows from the name of an entry. */
  readonly #named = new Map<number, Named>();
  /** From index 1. */
  readonly #committed: Committed[] = [];
  readonly #committedConfigs: PlacedConfig[] = [];
  /** State machine safety: the hash over everything up to an index. */
  readonly #hashes = new Map<number, number>();
  /** One vote per member and term, restarts included. */
  readonly #votes = new Map<MemberId, Map<Term, MemberId>>();
  readonly #storedTerm = new Map<MemberId, Term>();
  readonly #lives = new Map<MemberId, Life>();
  readonly #disks: ReadonlyMap<MemberId, SimulatedDisk>;
  readonly counts = {
    leaders: 0,
    snapshots: 0,
    tailsReplaced: 0,
    truncations: 0,
    configs: 0,
    jointConfigs: 0,
    rollbacks: 0,
    reads: 0,
  };

  constructor(disks: ReadonlyMap<MemberId, SimulatedDisk>) {
    this.#disks = disks;
  }

  get committedIndex(): number {
    return this.#committed.length;
  }

  /** The newest configuration that is committed. */
  get committedConfig(): PlacedConfig | null {
    return this.#committedConfigs.at(-1) ?? null;
  }

  /** The configuration that a log of this group had before `index`, as far as it is committed. */
  #configBefore(index: number): PlacedConfig | null {
    return this.#committedConfigs.findLast((placed) => placed.index < index) ?? null;
  }

  // --- What a disk is told ------------------------------------------------------------------------------------------

  writing(disk: SimulatedDisk, batch: StoreBatch): void {
    const id = disk.owner as MemberId;
    if (batch.snapshot !== null) this.#checkSnapshot(id, disk, batch.snapshot.meta);
    if (batch.hard !== null) {
      const { term, commit } = batch.hard;
      check(
        term >= disk.current.hard.term,
        () => `${id} stored term ${term} after ${disk.current.hard.term}`,
      );
      const { hard } = disk.current;
      const isSameTerm = term === hard.term && hard.vote !== null;
      check(!isSameTerm || batch.hard.vote === hard.vote, () => `${id} changed its vote in term ${term}`);
      check(commit >= hard.commit, () => `${id} stored commit index ${commit} after ${hard.commit}`);
    }
    if (batch.entries.length > 0) this.#checkEntries(id, disk, batch);
  }

  synced(disk: SimulatedDisk): void {
    const id = disk.owner as MemberId;
    const { term, vote } = disk.durable.hard;
    check(term >= (this.#storedTerm.get(id) ?? 0), () => `${id} went back to term ${term}`);
    this.#storedTerm.set(id, term);
    if (vote !== null) this.#recordVote(id, term, vote);
  }

  applied(disk: SimulatedDisk, entry: Entry, hash: number): void {
    const known = this.#hashes.get(entry.index);
    check(
      known === undefined || known === hash,
      () => `state machine safety: ${disk.owner} has another state at ${nameOf(entry)}`,
    );
    this.#hashes.set(entry.index, hash);
  }

  #checkSnapshot(
    id: MemberId,
    disk: SimulatedDisk,
    meta: { index: number; term: Term; config: PlacedConfig },
  ): void {
    this.counts.snapshots += 1;
    if (disk.current.last.index > meta.index) this.counts.tailsReplaced += 1;
    check(
      meta.index > disk.current.applied,
      () => `${id} installed a snapshot that takes back what it applied`,
    );
    const committed = this.#committed[meta.index - 1];
    check(
      committed !== undefined && committed.term === meta.term,
      () => `${id} installed a snapshot of ${meta.index}/${meta.term}, which was never committed`,
    );
    const config = this.#configBefore(meta.index + 1);
    check(
      config === null || config.index === meta.config.index,
      () =>
        `${id} installed a snapshot with the configuration of ${meta.config.index} instead of ${config?.index}`,
    );
  }

  #checkEntries(id: MemberId, disk: SimulatedDisk, batch: StoreBatch): void {
    const { entries, snapshot } = batch;
    const first = entries[0];
    if (first === undefined) return;
    const contents = disk.current;
    let termBefore: number | null =
      snapshot?.meta.index === first.index - 1
        ? snapshot.meta.term
        : contents.termAt((first.index - 1) as LogIndex);
    for (const entry of entries) {
      if (entry.kind === "config") this.#checkConfig(id, disk, batch, entry);
      this.#checkName(id, entry, termBefore ?? -1);
      if (snapshot === null) this.#checkOverwrite(id, disk, entry);
      termBefore = entry.term;
    }
  }

  #checkName(id: MemberId, entry: Entry, termBefore: number): void {
    const key = keyOf(entry);
    const known = this.#named.get(key);
    const content = contentHash(entry);
    if (known === undefined) {
      this.#named.set(key, { content, termBefore });
      return;
    }
    const isSame = known.content === content && known.termBefore === termBefore;
    check(
      isSame,
      () => `log matching: two different entries are called ${nameOf(entry)} (the second on ${id})`,
    );
  }

  #checkOverwrite(id: MemberId, disk: SimulatedDisk, entry: Entry): void {
    const own = disk.current.entryAt(entry.index);
    if (own === undefined || own.term === entry.term) return;
    this.counts.truncations += 1;
    if (own.kind === "config") this.counts.rollbacks += 1;
    const committed = this.#committed[entry.index - 1];
    check(
      committed === undefined || committed.term !== own.term,
      () => `${id} overwrote ${nameOf(own)}, which is committed, by ${nameOf(entry)}`,
    );
  }

  /** What a configuration may follow: quorums of one that follows another must meet. */
  #checkConfig(id: MemberId, disk: SimulatedDisk, batch: StoreBatch, entry: Entry): void {
    const isAllowed =
      this.#named.has(keyOf(entry)) || this.#committed.some(({ term }) => term === entry.term);
    // Whoever was deposed within the same turn may have committed before that what nobody has looked at.
    const isDeposed = (batch.hard ?? disk.current.hard).term > entry.term;
    check(
      isAllowed || isDeposed || entry.index === 1,
      () => `a configuration, ${nameOf(entry)}, before anything of its own term was committed (on ${id})`,
    );
    const before = configBefore(disk, batch, entry);
    if (before === undefined || before.voters.length === 0) return;
    const after = configOf(entry);
    const text = (): string =>
      `${describeConfig(before)} -> ${describeConfig(after)} at ${nameOf(entry)} on ${id}`;
    check(
      quorumsMeet(before, after),
      () => `a configuration whose quorums need not meet those before: ${text()}`,
    );
    const counted = [...before.voters, ...before.outgoing];
    for (const added of after.voters) {
      if (counted.includes(added)) continue;
      check(
        before.learners.includes(added),
        () => `${added} became a voter without having been a learner: ${text()}`,
      );
      const told = this.#disks.get(added)?.durable;
      check(
        told !== undefined && told.last.index > 0,
        () => `${added} became a voter and was never told anything: ${text()}`,
      );
    }
  }

  // --- What a member says -------------------------------------------------------------------------------------------

  /** Before a message leaves: what it depends on must be on the disk for certain. */
  saying(message: Message, disk: SimulatedDisk): void {
    const id = message.from;
    const { hard } = disk.durable;
    switch (message.type) {
      case "pre-vote":
        this.#checkCandidate(id);
        return;
      case "pre-vote-response":
      case "timeout-now":
      case "snapshot":
        return;
      case "vote":
        this.#checkCandidate(id);
        check(
          hard.term >= message.term && (hard.term > message.term || hard.vote === id),
          () => `${id} campaigns in term ${message.term}, and its own vote is not on its disk`,
        );
        return;
      case "vote-response":
        if (!message.isGranted) break;
        // In a later term it cannot give this one to anybody else any more.
        check(
          hard.term > message.term || (hard.term === message.term && hard.vote === message.to),
          () => `${id} grants ${message.to} its vote in term ${message.term}, and it is not on its disk`,
        );
        this.#recordVote(id, message.term, message.to);
        return;
      case "append-response":
        if (message.rejection === null) this.#checkAcknowledged(id, message.term, message.index, disk);
        break;
      case "append":
      case "heartbeat":
      case "heartbeat-response":
        break;
    }
    check(
      hard.term >= message.term,
      () => `${id} says ${message.type} in term ${message.term}, which is not on its disk`,
    );
  }

  /** @param committedAtStart how much was committed when the read began. */
  readConfirmed(id: MemberId, index: LogIndex, committedAtStart: number): void {
    this.counts.reads += 1;
    check(
      index >= committedAtStart,
      () =>
        `stale read: ${id} confirms index ${index}; ${committedAtStart} was committed when the read began`,
    );
  }

  #checkAcknowledged(id: MemberId, term: Term, index: LogIndex, disk: SimulatedDisk): void {
    // What was acknowledged to an old leader may have gone again in the same turn, under a new one.
    check(
      disk.durable.hard.term > term || disk.durable.last.index >= index,
      () => `${id} acknowledges ${index}, and its disk certainly holds only ${disk.durable.last.index}`,
    );
    const life = this.#lives.get(id);
    if (life === undefined) return;
    const { acknowledged } = life;
    if (acknowledged.term !== term) life.acknowledged = { term, index };
    else if (index > acknowledged.index) acknowledged.index = index;
  }

  #recordVote(id: MemberId, term: Term, vote: MemberId): void {
    let votes = this.#votes.get(id);
    if (votes === undefined) {
      votes = new Map();
      this.#votes.set(id, votes);
    }
    const known = votes.get(term);
    check(
      known === undefined || known === vote,
      () => `${id} voted twice in term ${term}: ${known}, ${vote}`,
    );
    votes.set(term, vote);
  }

  #checkCandidate(id: MemberId): void {
    const status = this.#lives.get(id)?.status;
    const disk = this.#disks.get(id);
    if (status === undefined || disk === undefined) return;
    // One that was removed by a change that is not committed may be needed to commit it (thesis, figure 4.6).
    const { current } = disk;
    const placed = current.configs();
    const committedAt = placed.findLast(({ index }) => index <= status.commitIndex)?.index ?? 0;
    const configs = [
      status.config,
      ...placed.filter(({ index }) => index >= committedAt).map(({ config }) => config),
      ...(committedAt === 0 && current.floorConfig !== null ? [current.floorConfig.config] : []),
    ];
    check(
      configs.some(({ voters, outgoing }) => voters.includes(id) || outgoing.includes(id)),
      () => `${id} campaigns, and is no voter (${describeConfig(status.config)})`,
    );
    check(
      status.commitIndex >= disk.promotableFrom,
      () =>
        `${id} campaigns at commit index ${status.commitIndex}, before it knows of its own joining at ${disk.promotableFrom}`,
    );
  }

  // --- What a member is ---------------------------------------------------------------------------------------------

  /** A member starts: what it knew in memory is gone. */
  started(id: MemberId, status: NodeStatus): void {
    check(
      status.term >= (this.#storedTerm.get(id) ?? 0),
      () => `${id} started in term ${status.term}, after a later one`,
    );
    const disk = this.#disks.get(id);
    check(
      disk === undefined || status.appliedIndex >= disk.durable.applied,
      () => `${id} started with less applied than its disk certainly holds`,
    );
    this.#lives.set(id, { status, acknowledged: { term: 0 as Term, index: 0 as LogIndex } });
    this.#checkOrder(id, status);
  }

  /** It may have ended right after it applied something, before anybody looked. */
  stopped(id: MemberId): void {
    const status = this.#lives.get(id)?.status;
    const disk = this.#disks.get(id);
    this.#lives.delete(id);
    if (status === undefined || disk === undefined) return;
    const unseen = { ...status, role: "follower", term: disk.current.hard.term } as const;
    for (let index = this.#committed.length + 1; index <= disk.current.applied; index += 1) {
      if (disk.current.entryAt(index) === undefined) return;
      this.#recordCommitted(id, unseen, disk, index as LogIndex, status.config);
    }
  }

  /**
   * After every event that changed something about a member.
   *
   * @param isSettled false in the middle of a turn, when the disk has not got everything yet.
   */
  observed(id: MemberId, status: NodeStatus, isSettled: boolean): void {
    const life = this.#lives.get(id);
    const disk = this.#disks.get(id);
    if (life === undefined || disk === undefined) return;
    const before = life.status;
    life.status = status;
    check(
      status.term >= before.term,
      () => `${id}: the term went back from ${before.term} to ${status.term}`,
    );
    check(status.commitIndex >= before.commitIndex, () => `${id}: the commit index went back`);
    check(status.appliedIndex >= before.appliedIndex, () => `${id}: the applied index went back`);
    check(status.floorIndex >= before.floorIndex, () => `${id}: the floor of the log sank`);
    this.#checkOrder(id, status);
    const { acknowledged } = life;
    check(
      acknowledged.term !== status.term || status.lastIndex >= acknowledged.index,
      () =>
        `${id} dropped what it acknowledged in term ${status.term}: it ends at ${status.lastIndex}, not ${acknowledged.index}`,
    );
    if (isSettled) this.#checkBelief(id, status, disk);
    const isNewLeader = status.role === "leader" && (before.role !== "leader" || before.term !== status.term);
    if (isNewLeader) this.#recordLeader(id, status.term, disk);
    const from = Math.max(before.commitIndex, disk.current.floor.index);
    for (let index = from + 1; index <= status.commitIndex; index += 1) {
      this.#recordCommitted(id, status, disk, index as LogIndex, before.config);
    }
  }

  /** What a member believes of its log is what the log says. */
  #checkBelief(id: MemberId, status: NodeStatus, { current }: SimulatedDisk): void {
    check(
      status.lastIndex === current.last.index,
      () => `${id} believes its log ends at ${status.lastIndex}, and it ends at ${current.last.index}`,
    );
    const config = current.latestConfig();
    check(
      config === null || config === status.config || isSameConfig(config, status.config),
      () =>
        `${id} acts upon a configuration that its log does not hold: ${describeConfig(status.config)}, not ${config === null ? "none" : describeConfig(config)}`,
    );
  }

  #checkOrder(id: MemberId, { floorIndex, appliedIndex, commitIndex, lastIndex }: NodeStatus): void {
    check(
      floorIndex <= appliedIndex && appliedIndex <= commitIndex && commitIndex <= lastIndex,
      () =>
        `${id}: floor ${floorIndex} <= applied ${appliedIndex} <= commit ${commitIndex} <= last ${lastIndex}`,
    );
  }

  #recordLeader(id: MemberId, term: Term, disk: SimulatedDisk): void {
    const known = this.#leaders.get(term);
    check(
      known === undefined || known === id,
      () => `election safety: term ${term} has leaders ${known} and ${id}`,
    );
    if (known === undefined) this.counts.leaders += 1;
    this.#leaders.set(term, id);
    const { current } = disk;
    for (let index: number = current.floor.index; index < this.#committed.length; index += 1) {
      const committed = this.#committed[index];
      if (committed === undefined || committed.inTerm >= term) continue;
      const own = current.entryAt(index + 1);
      check(
        own !== undefined && own.term === committed.term,
        () =>
          `leader completeness: ${id} leads term ${term} without ${index + 1}/${committed.term}, committed in term ${committed.inTerm}`,
      );
    }
  }

  #recordCommitted(
    id: MemberId,
    status: NodeStatus,
    disk: SimulatedDisk,
    index: LogIndex,
    configBefore: ClusterConfig,
  ): void {
    const entry = disk.current.entryAt(index);
    if (entry === undefined)
      throw new Violation("safety", `${id} committed ${index}, which its disk does not hold`);
    const known = this.#committed[index - 1];
    if (known !== undefined) {
      check(
        known.term === entry.term,
        () => `${id} committed ${nameOf(entry)}, and ${index}/${known.term} is committed`,
      );
      if (status.term < known.inTerm) known.inTerm = status.term;
      return;
    }
    check(index === this.#committed.length + 1, () => `${id} committed ${index} with a gap before`);
    this.#committed.push({ term: entry.term, inTerm: status.term });
    if (entry.kind === "config") this.#recordConfig(entry);
    if (status.role === "leader") this.#checkDurable(id, disk, entry, status, configBefore);
  }

  #recordConfig(entry: Entry): void {
    const config = configOf(entry);
    this.#committedConfigs.push({ index: entry.index, config });
    this.counts.configs += 1;
    if (config.outgoing.length > 0) this.counts.jointConfigs += 1;
  }

  /**
   * The first to commit is a leader: a quorum must really hold the entry, and all of it up to one of the leader's own
   * term, or a later leader may lack it (figure 8 of the paper).
   */
  #checkDurable(
    id: MemberId,
    disk: SimulatedDisk,
    entry: Entry,
    status: NodeStatus,
    configBefore: ClusterConfig,
  ): void {
    // Within one event a leader may commit and then append the next configuration.
    const counted =
      configBefore === status.config ? [status.config] : configsFrom(disk, entry.index).concat(status.config);
    check(
      counted.some((config) => holdsQuorum(config, (voter) => this.#holds(voter, entry))),
      () =>
        `${nameOf(entry)} was committed by ${id}, but no quorum of ${describeConfig(status.config)} has it on disk`,
    );
    const last = this.#disks.get(id)?.current.entryAt(status.commitIndex);
    check(
      last === undefined || last.term === status.term,
      () =>
        `${id} committed up to ${status.commitIndex}/${last?.term} in term ${status.term}, without an entry of its own term`,
    );
  }

  #holds(id: MemberId, { index, term }: Entry): boolean {
    const durable = this.#disks.get(id)?.durable;
    if (durable === undefined) return false;
    return durable.floor.index >= index || durable.entryAt(index)?.term === term;
  }
}

/** What counted before `entry` of `batch`: the batch's own, or its snapshot's, or the disk's. */
function configBefore(
  { current }: SimulatedDisk,
  batch: StoreBatch,
  entry: Entry,
): ClusterConfig | undefined {
  const { entries, snapshot } = batch;
  const own = entries.findLast(({ index, kind }) => kind === "config" && index < entry.index);
  if (own !== undefined) return configOf(own);
  if (snapshot !== null) return snapshot.meta.config.config;
  const first = entries[0]?.index ?? entry.index;
  const placed = current.configs().findLast(({ index }) => index < first);
  return placed?.config ?? current.floorConfig?.config;
}

/** The configuration that counted when `index` was appended, and those after it. */
function configsFrom({ current }: SimulatedDisk, index: LogIndex): ClusterConfig[] {
  const placed = current.configs();
  const at = placed.findLastIndex((each) => each.index <= index);
  const later = placed.slice(Math.max(at, 0)).map(({ config }) => config);
  return at >= 0 || current.floorConfig === null ? later : [current.floorConfig.config, ...later];
}

export function describeConfig({ voters, outgoing, learners, learnersNext }: ClusterConfig): string {
  return [
    voters.join(" "),
    outgoing.length > 0 ? ` and ${outgoing.join(" ")}` : "",
    learners.length > 0 ? `, learning ${learners.join(" ")}` : "",
    learnersNext.length > 0 ? `, soon learning ${learnersNext.join(" ")}` : "",
  ].join("");
}

function keyOf({ index, term }: Entry): number {
  return index * 65_536 + term;
}

function nameOf({ index, term }: Entry): string {
  return `${index}/${term}`;
}

/** The words are only made when they are needed: there are millions of checks. */
function check(isHeld: boolean, violation: () => string): asserts isHeld {
  if (!isHeld) throw new Violation("safety", violation());
}
