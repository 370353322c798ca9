import { assert, defined } from "../../../src/base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import type { EngineLimits } from "../../../src/raft/engine/limits.ts";
import type { EntryId, Message } from "../../../src/raft/engine/message.ts";
import { bootstrapEntries, RaftNode } from "../../../src/raft/node.ts";
import type { Applied, LogStore, StoreBatch } from "../../../src/raft/ports.ts";
import { MemoryLogStore } from "../../support/memory-log-store.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { InvariantError, Recorder } from "./recorder.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** How long the world is bad, in time units (10 are a tick). Default 10 000. */
  readonly faultyUnits?: number;
  /** Breaks something on purpose: what a member gets instead of its disk. */
  readonly sabotage?: (disk: LogStore) => LogStore;
  /** Instead of what the seed says. */
  readonly weather?: Partial<Weather>;
}

export interface SimulationResult {
  /** Null: every invariant held and the group recovered. */
  readonly violation: string | null;
  readonly traceTail: readonly string[];
  readonly traceHash: number;
  readonly eventCount: number;
  readonly committedCount: number;
  readonly leaderCount: number;
  readonly acknowledgedCount: number;
  readonly voterCount: number;
}

/** How bad this world is: drawn from the seed, so that some runs are quiet and some are storms. */
export interface Weather {
  readonly dropPercent: number;
  readonly duplicatePercent: number;
  readonly delayUnitsMax: number;
  /** Messages that arrive long after anybody expects them. */
  readonly stragglerPercent: number;
  readonly crashPercent: number;
  readonly partitionPercent: number;
  readonly transferPercent: number;
}

interface Member {
  readonly id: MemberId;
  readonly disk: MemoryLogStore;
  readonly tickUnits: number;
  node: RaftNode | null;
  /** Changes with each start: what was meant for an earlier life does not arrive. */
  life: number;
}

interface Event {
  readonly at: number;
  readonly sequence: number;
  readonly run: () => void;
}

const UNITS_PER_TICK = 10;
const TIMING = { heartbeatTicks: 3, electionTicksMin: 15, electionTicksMax: 30 };
const STRAGGLER_UNITS_MAX = 1_000;
const TRACE_TAIL = 60;
const BOOT_COMMAND = new TextEncoder().encode("boot");

/**
 * A whole group under a virtual clock: one seed decides delays, losses, crashes and what clients do, so the same seed
 * lives the same life. First the faults, then calm: a group with all members back must agree again.
 */
export class SimulatedGroup {
  readonly #random: SeededRandom;
  readonly #recorder = new Recorder();
  readonly #members = new Map<MemberId, Member>();
  readonly #disks = new Map<MemberId, MemoryLogStore>();
  readonly #trace: string[] = [];
  readonly #weather: Weather;
  readonly #sizeTarget: number;
  readonly #options: SimulationOptions;
  readonly #limits: Partial<EngineLimits>;
  /** Links that carry nothing: `from>to`. One direction may be cut without the other. */
  readonly #cut = new Set<string>();
  readonly #proposals = new Map<string, EntryId>();
  readonly #acknowledged: string[] = [];
  #queue: Event[] = [];
  #now = 0;
  #sequence = 0;
  #eventCount = 0;
  #traceHash = 0x811c9dc5;
  #isCalm = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    const random = this.#random;
    this.#sizeTarget = random.integer(3, 5);
    this.#weather = {
      dropPercent: random.pick([0, 2, 10, 30]) ?? 0,
      duplicatePercent: random.pick([0, 5, 30]) ?? 0,
      delayUnitsMax: random.pick([5, 30, 80]) ?? 5,
      stragglerPercent: random.pick([0, 2, 10]) ?? 0,
      crashPercent: random.pick([0, 3, 10]) ?? 0,
      partitionPercent: random.pick([0, 5, 15]) ?? 0,
      transferPercent: random.pick([0, 5]) ?? 0,
      ...options.weather,
    };
    // Tiny limits in half of the worlds: windows that fill and caches that miss are where the mistakes are.
    this.#limits = random.chance(50)
      ? {
          appendBytesMax: 20,
          appendEntriesMax: 2,
          inflightMessagesMax: 2,
          cachedEntriesMax: 4,
          applyBytesMax: 20,
        }
      : {};
  }

  run(): SimulationResult {
    let violation: string | null = null;
    try {
      this.#form();
      this.#runUntil(this.#options.faultyUnits ?? 10_000);
      this.#calmDown();
      this.#converge();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      violation = `${error.name}: ${error.message}`;
      this.#note(violation);
    }
    return {
      violation,
      traceTail: this.#trace,
      traceHash: this.#traceHash,
      eventCount: this.#eventCount,
      committedCount: this.#recorder.committedCount,
      leaderCount: this.#recorder.leaderCount,
      acknowledgedCount: this.#acknowledged.length,
      voterCount: Math.max(
        ...[...this.#members.values()].map(({ node }) => node?.status().config.voters.length ?? 0),
      ),
    };
  }

  // --- The world ---------------------------------------------------------------------------------------------------

  #form(): void {
    const id = "m1" as MemberId;
    const entries = bootstrapEntries(id, BOOT_COMMAND);
    this.#recorder.stored(id, { entries, hard: null, committed: [] }, 0);
    this.#addMember(id, new MemoryLogStore({ entries }));
    this.#at(0, () => this.#fate());
    this.#at(0, () => this.#clients());
  }

  /** Every so often something happens to somebody. */
  #fate(): void {
    if (this.#isCalm) return;
    this.#at(this.#random.integer(50, 200), () => this.#fate());
    const { crashPercent, partitionPercent, transferPercent } = this.#weather;
    if (this.#random.chance(crashPercent)) this.#crashSomebody();
    if (this.#random.chance(partitionPercent)) this.#partition();
    else if (this.#random.chance(partitionPercent * 2)) this.#heal();
    if (this.#random.chance(20)) this.#grow();
    if (this.#random.chance(transferPercent)) this.#transfer();
  }

  #clients(): void {
    if (this.#isCalm) return;
    this.#at(this.#random.integer(5, 60), () => this.#clients());
    const members = [...this.#members.values()];
    // Mostly to somebody who believes to lead, rightly or not: an isolated leader's long tail must go again.
    const leaders = members.filter(({ node }) => node?.status().role === "leader");
    const member = this.#random.pick(this.#random.chance(60) && leaders.length > 0 ? leaders : members);
    if (member === undefined) return;
    const count = this.#random.integer(1, this.#random.chance(10) ? 12 : 3);
    this.#propose(
      member,
      Array.from({ length: count }, (_, at) => `${member.id}-${this.#sequence}-${at}`),
    );
  }

  #propose(member: Member, texts: readonly string[]): void {
    this.#onNode(member, "propose", (node) => {
      const answer = node.propose(texts.map((text) => new TextEncoder().encode(text)));
      if (!answer.ok) return;
      for (const [at, id] of answer.ids.entries()) {
        this.#proposals.set(defined(texts[at], "each command has its text"), id);
      }
    });
  }

  #crashSomebody(): void {
    const running = [...this.#members.values()].filter(({ node }) => node !== null);
    // Often the leader: what it has begun and not finished is where logs part.
    const member = this.#random.chance(40) ? this.#leader() : this.#random.pick(running);
    if (member !== undefined) this.#crash(member);
  }

  #crash(member: Member): void {
    this.#note(`crash ${member.id}`);
    member.node = null;
    member.life += 1;
    const downUnits = this.#random.chance(60)
      ? this.#random.integer(5, 100)
      : this.#random.integer(100, 1_500);
    this.#at(downUnits, () => this.#start(member));
  }

  #partition(): void {
    const ids = [...this.#members.keys()];
    const lonely = this.#random.chance(40) ? (this.#leader()?.id ?? null) : null;
    const side = new Set(ids.filter((id) => (lonely === null ? this.#random.chance(50) : id === lonely)));
    const isOneWay = this.#random.chance(40);
    for (const from of ids) {
      for (const to of ids) {
        if (side.has(from) && !side.has(to)) this.#cut.add(`${from}>${to}`);
        if (!isOneWay && !side.has(from) && side.has(to)) this.#cut.add(`${from}>${to}`);
      }
    }
    this.#note(`cut ${[...this.#cut].join(" ")}`);
  }

  #heal(): void {
    this.#cut.clear();
    this.#note("heal");
  }

  /** One more member, as `join` does it: first it runs, then it becomes a voter. */
  #grow(): void {
    const leader = this.#leader();
    if (leader?.node == null) return;
    const { config, lastIndex } = leader.node.status();
    const waiting = [...this.#members.keys()].find((id) => !config.voters.includes(id));
    if (waiting !== undefined) {
      this.#onNode(leader, `add ${waiting}`, (node) => {
        const answer = node.addVoter(waiting);
        if (!answer.ok) this.#note(`refused: ${answer.reason}`);
      });
      // A change that is under way meets trouble.
      if (this.#random.chance(this.#weather.crashPercent * 3)) this.#crash(leader);
      if (this.#random.chance(this.#weather.partitionPercent * 3)) this.#partition();
    } else if (this.#members.size < this.#sizeTarget) {
      const id = `m${this.#members.size + 1}` as MemberId;
      this.#addMember(id, new MemoryLogStore({ promotableFrom: lastIndex }));
    }
  }

  #transfer(): void {
    const leader = this.#leader();
    const to = this.#random.pick([...this.#members.keys()]);
    if (leader === undefined || to === undefined) return;
    this.#onNode(leader, `transfer to ${to}`, (node) => node.transferLeadership(to));
  }

  // --- The calm after it ---------------------------------------------------------------------------------------------

  #calmDown(): void {
    this.#note("calm");
    this.#isCalm = true;
    this.#cut.clear();
    for (const member of this.#members.values()) if (member.node === null) this.#start(member);
  }

  /** Liveness: with everybody back there is a leader, a new command is agreed, and all hold the same. */
  #converge(): void {
    const deadline = this.#now + 5_000;
    for (let attempt = 1; !this.#isAgreed(); attempt += 1) {
      if (this.#now >= deadline) {
        throw new InvariantError("liveness: everybody is back, but nothing is agreed any more");
      }
      // Messages from before the calm may still depose a leader, and take a proposal with it: so once more.
      const leader = this.#readyLeader();
      if (leader !== undefined) this.#propose(leader, [`last-${attempt}`]);
      this.#runUntil(this.#now + 300);
    }
    const machines = [...this.#members.values()].map(
      ({ disk }) => new Set(disk.commands.map(({ data }) => new TextDecoder().decode(data))),
    );
    const longest = defined(machines.toSorted((a, b) => b.size - a.size)[0], "there is at least one member");
    for (const text of this.#acknowledged) {
      if (!longest.has(text)) throw new InvariantError(`the acknowledged command ${text} is lost`);
    }
  }

  #isAgreed(): boolean {
    if (!this.#acknowledged.some((text) => text.startsWith("last-"))) return false;
    const voters = this.#readyLeader()?.node?.status().config.voters ?? [];
    const applied = voters.map((id) => this.#members.get(id)?.disk.applied);
    return applied.length > 0 && new Set(applied).size === 1;
  }

  // --- The machinery -------------------------------------------------------------------------------------------------

  #addMember(id: MemberId, disk: MemoryLogStore): void {
    const tickUnits = this.#random.integer(UNITS_PER_TICK - 1, UNITS_PER_TICK + 1);
    const member: Member = { id, disk, tickUnits, node: null, life: 0 };
    this.#members.set(id, member);
    this.#disks.set(id, disk);
    this.#start(member);
  }

  #start(member: Member): void {
    if (member.node !== null) return;
    const { id, disk } = member;
    const life = member.life;
    this.#recorder.started(id);
    const sabotage = this.#options.sabotage ?? ((honest: LogStore): LogStore => honest);
    member.node = new RaftNode({
      id,
      store: sabotage(this.#watch(id, disk)),
      transport: { send: (message) => this.#post(message) },
      random: this.#random.fork(),
      timing: TIMING,
      limits: this.#limits,
      onApplied: (applied) => this.#acknowledge(applied),
      onStatus: () => {},
    });
    this.#onNode(member, "start", (node) => node.campaign());
    const tick = (): void => {
      if (member.life !== life) return;
      this.#onNode(member, null, (node) => node.tick());
      this.#at(member.tickUnits, tick);
    };
    this.#at(this.#random.integer(1, member.tickUnits), tick);
  }

  #watch(id: MemberId, disk: MemoryLogStore): LogStore {
    return {
      load: () => disk.load(),
      read: (first, countMax, bytesMax) => disk.read(first, countMax, bytesMax),
      termAt: (index) => disk.termAt(index),
      commit: (batch: StoreBatch) => {
        const first = batch.entries[0]?.index ?? (1 as LogIndex);
        this.#recorder.stored(id, batch, disk.termAt((first - 1) as LogIndex) ?? (0 as Term));
        return disk.commit(batch);
      },
    };
  }

  /** Lets something happen to a member and checks what became of it. `what` null: not worth a line in the trace. */
  #onNode(member: Member, what: string | null, run: (node: RaftNode) => void): void {
    const { node } = member;
    if (node === null) return;
    const before = node.status();
    run(node);
    node.process();
    const status = node.status();
    const isNews = before.role !== status.role || before.term !== status.term;
    if (what !== null || isNews) {
      this.#note(
        `${member.id} ${what ?? "tick"} -> ${status.role} term=${status.term} commit=${status.commitIndex} last=${status.lastIndex}`,
      );
    }
    this.#recorder.observed(member.id, status, member.disk.entries, this.#disks);
  }

  #acknowledge(applied: readonly Applied[]): void {
    for (const { index, term } of applied) {
      for (const [text, id] of this.#proposals) {
        if (id.index !== index) continue;
        this.#proposals.delete(text);
        if (id.term === term) this.#acknowledged.push(text);
      }
    }
  }

  #post(message: Message): void {
    if (this.#isCalm) {
      this.#at(this.#random.integer(1, 5), () => this.#deliver(message));
      return;
    }
    const { dropPercent, duplicatePercent, delayUnitsMax, stragglerPercent } = this.#weather;
    if (this.#random.chance(dropPercent)) return;
    const copies = this.#random.chance(duplicatePercent) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const delayMax = this.#random.chance(stragglerPercent) ? STRAGGLER_UNITS_MAX : delayUnitsMax;
      this.#at(this.#random.integer(1, delayMax), () => this.#deliver(message));
    }
  }

  #deliver(message: Message): void {
    if (this.#cut.has(`${message.from}>${message.to}`)) return;
    const member = this.#members.get(message.to);
    if (member === undefined) return;
    this.#onNode(member, describe(message), (node) => node.receive(message));
  }

  #leader(): Member | undefined {
    const leaders = [...this.#members.values()].filter(({ node }) => node?.status().role === "leader");
    return leaders.toSorted((a, b) => (b.node?.status().term ?? 0) - (a.node?.status().term ?? 0))[0];
  }

  #readyLeader(): Member | undefined {
    const leader = this.#leader();
    const status = leader?.node?.status();
    return status?.isReady === true && !status.isTransferring ? leader : undefined;
  }

  #at(delayUnits: number, run: () => void): void {
    this.#sequence += 1;
    push(this.#queue, { at: this.#now + delayUnits, sequence: this.#sequence, run });
  }

  #runUntil(units: number): void {
    while (this.#now < units) this.#step();
  }

  #step(): void {
    const event = defined(pop(this.#queue), "there is always a next event: members tick");
    assert(event.at >= this.#now, "time never goes back");
    this.#now = event.at;
    this.#eventCount += 1;
    event.run();
  }

  #note(line: string): void {
    const entry = `${this.#now} ${line}`;
    for (let at = 0; at < entry.length; at += 1) {
      this.#traceHash = Math.imul(this.#traceHash ^ entry.charCodeAt(at), 0x01000193) >>> 0;
    }
    this.#trace.push(entry);
    if (this.#trace.length > TRACE_TAIL) this.#trace.shift();
  }
}

function describe(message: Message): string {
  const head = `<- ${message.from} ${message.type} term=${message.term}`;
  switch (message.type) {
    case "append":
      return `${head} previous=${message.previous.index}/${message.previous.term} entries=${message.entries.length} commit=${message.commit}`;
    case "append-response":
      return `${head} index=${message.index}${message.rejection === null ? "" : ` rejected, hint ${message.rejection.index}`}`;
    case "pre-vote":
    case "vote":
      return `${head} last=${message.last.index}/${message.last.term}`;
    case "pre-vote-response":
    case "vote-response":
      return `${head} ${message.isGranted ? "yes" : "no"}`;
    case "heartbeat":
      return `${head} commit=${message.commit}`;
    case "heartbeat-response":
    case "timeout-now":
      return head;
  }
}

// --- A binary heap by (time, sequence) ------------------------------------------------------------------------------

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}

function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = defined(heap[parent], "a heap has no gap");
    if (!isBefore(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): Event | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    if (left === undefined) break;
    const isRight = right !== undefined && isBefore(right, left);
    const child = isRight ? right : left;
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = 2 * at + (isRight ? 2 : 1);
  }
  heap[at] = last;
  return first;
}
