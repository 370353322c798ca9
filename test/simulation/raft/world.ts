import { defined } from "../../../src/base/assert.ts";
import type { LogIndex, MemberId, Term } from "../../../src/base/ids.ts";
import { encodeConfig } from "../../../src/raft/engine/membership.ts";
import type { ClusterConfig, Entry, Message } from "../../../src/raft/engine/message.ts";
import { bootstrapEntries, type NodeStatus } from "../../../src/raft/node.ts";
import type { StagedSnapshot } from "../../../src/raft/ports.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { Clients } from "./clients.ts";
import { holdsQuorum } from "./config-rules.ts";
import { type DiskFault, SimulatedDisk } from "./disk.ts";
import { EventQueue } from "./event-queue.ts";
import { encodeCommand } from "./machine.ts";
import { Member, type Surroundings } from "./member.ts";
import { Misfortunes, type Victims } from "./misfortunes.ts";
import { Network, type NetworkUser } from "./network.ts";
import { Operator, type Workshop } from "./operator.ts";
import { Recorder, Violation } from "./recorder.ts";
import { type Streaming, streamSnapshot } from "./snapshot-stream.ts";
import { drawSwarm, type Swarm } from "./swarm.ts";
import { Trace } from "./trace.ts";

export interface WorldOptions {
  readonly seed: number;
  /** With words, or only their hash. */
  readonly isTraced?: boolean;
}

export interface WorldCounts {
  readonly events: number;
  readonly committed: number;
  readonly acknowledged: number;
  readonly open: number;
  readonly reads: number;
  readonly leaders: number;
  readonly snapshots: number;
  /** Snapshots that took the place of a log which went further. */
  readonly tailsReplaced: number;
  readonly truncations: number;
  readonly rollbacks: number;
  readonly configs: number;
  readonly jointConfigs: number;
  readonly crashes: number;
  readonly powerLosses: number;
  readonly lostTransactions: number;
  readonly lostMembers: number;
  /** Worlds that lived through their second half; the others had lost too much. */
  readonly recovered: number;
  /** Histories of one key of which nobody can say whether they are linearizable. */
  readonly undecidedKeys: number;
}

/** How often somebody looks whether what he waits for has happened. */
const LOOK_UNITS = 10;
const BOOT = encodeCommand({ id: "boot", kind: "write", key: "boot", value: "1", expected: "" });

/**
 * A whole group under a virtual clock. One seed decides everything, so the same seed lives the same life: first everything
 * that may go wrong goes wrong, then a core that can decide is healed and must agree, accept and serve again.
 */
export class World implements Surroundings, NetworkUser, Victims, Workshop, Streaming {
  readonly queue = new EventQueue();
  readonly swarm: Swarm;
  readonly network: Network;
  readonly recorder: Recorder;
  readonly clients: Clients;
  readonly operator: Operator;
  readonly random: SeededRandom;
  readonly trace: Trace;
  hasRecovered = false;
  readonly #misfortunes: Misfortunes;
  readonly #members = new Map<MemberId, Member>();
  readonly #disks = new Map<MemberId, SimulatedDisk>();
  readonly #memberRandom: SeededRandom;
  readonly #diskRandom: SeededRandom;
  readonly #streamRandom: SeededRandom;
  #list: readonly Member[] = [];
  #idSerial = 0;
  #isCalm = false;
  #events = 0;
  #crashes = 0;
  #powerLosses = 0;
  #lostTransactions = 0;

  constructor({ seed, isTraced = false }: WorldOptions) {
    // Each part has chance of its own: one question more here does not change everything there.
    const chance = new SeededRandom(seed);
    const forks = Array.from({ length: 9 }, () => chance.fork());
    const fork = (at: number): SeededRandom => defined(forks[at], "there is a fork for each part");
    this.swarm = drawSwarm(seed, fork(0));
    this.random = fork(1);
    this.#memberRandom = fork(2);
    this.#diskRandom = fork(3);
    this.#streamRandom = fork(4);
    this.trace = new Trace(this.queue, isTraced);
    this.recorder = new Recorder(this.#disks);
    this.network = new Network(this.queue, fork(5), this.swarm.network, this);
    this.clients = new Clients(this, fork(6));
    this.operator = new Operator(this, fork(7));
    this.#misfortunes = new Misfortunes(this, fork(8));
  }

  // --- For everybody in it ------------------------------------------------------------------------------------------

  members(): readonly Member[] {
    return this.#list;
  }

  member(id: MemberId): Member | undefined {
    return this.#members.get(id);
  }

  isCalm(): boolean {
    return this.#isCalm;
  }

  note(text: () => string): void {
    this.trace.note(text);
  }

  runFor(units: number): void {
    const end = this.queue.now + units;
    while (this.queue.stepUntil(end)) this.#events += 1;
  }

  /** @returns true soon after `isDone`, or false after that time. */
  runUntil(isDone: () => boolean, units: number): boolean {
    const end = this.queue.now + units;
    while (this.queue.now < end) {
      this.runFor(LOOK_UNITS);
      if (isDone()) return true;
    }
    return false;
  }

  /** Nothing goes wrong any more. */
  calmDown(): void {
    this.#isCalm = true;
    this.#misfortunes.end();
    this.clients.stop();
    this.operator.stop();
    this.network.calmDown();
    this.note(() => "from now on nothing goes wrong");
    for (const member of this.#list) {
      member.resume();
      member.disk.trap = null;
      member.disk.latency = () => 0;
    }
  }

  // --- Surroundings of a member ---------------------------------------------------------------------------------------

  post(message: Message): void {
    this.network.post(message);
  }

  streamSnapshot(from: Member, to: MemberId, staged: StagedSnapshot, status: NodeStatus): void {
    streamSnapshot(this, this.#streamRandom, from, to, staged, status);
  }

  died(member: Member, fault: DiskFault): void {
    switch (fault.kind) {
      case "corrupt":
        this.note(() => `${member.id} finds a corrupt row and stays out`);
        member.isLost = true;
        return;
      case "power-lost":
        this.#losePower(member);
        break;
      // After an error nobody knows what is there: as after a loss of power.
      case "failed":
        this.#losePower(member);
        break;
      case "full":
        break;
    }
    this.#comeBack(member, this.random.integer(5, 400));
  }

  // --- Users of the network -------------------------------------------------------------------------------------------

  deliver(message: Message): void {
    this.#members.get(message.to)?.receive(message);
  }

  lostConnection(at: MemberId, to: MemberId): void {
    this.queue.in(this.random.integer(1, 30), () => {
      this.#members.get(at)?.hear(`lost its connection to ${to}`, (node) => node.reportUnreachable(to));
    });
  }

  // --- Misfortune -----------------------------------------------------------------------------------------------------

  burst(member: Member, count: number): void {
    this.clients.burst(member, count);
  }

  readFrom(member: Member): void {
    this.clients.readOnce(member, () => {});
  }

  crash(member: Member, losesPower: boolean, downUnits: number): void {
    if (!member.isRunning) return;
    this.#crashes += 1;
    this.note(() => `${member.id} ${losesPower ? "loses its power" : "is killed"}`);
    member.end();
    if (losesPower) this.#losePower(member);
    this.#comeBack(member, downUnits);
  }

  lose(member: Member): boolean {
    if (!this.#canLose(member)) return false;
    this.note(() => `${member.id} loses its disk for ever`);
    member.end();
    member.isLost = true;
    return true;
  }

  rot(member: Member): boolean {
    const { floor, last } = member.disk.current;
    if (last.index === floor.index || !this.#canLose(member)) return false;
    const index = this.random.integer(floor.index + 1, last.index);
    this.note(() => `row ${index} of ${member.id} rots`);
    member.disk.rottenIndex = index;
    // Found at once, or when it is read, or at the next start; until then it works on, but it cannot be counted on.
    if (this.random.chance(50)) this.crash(member, false, this.random.integer(5, 300));
    return true;
  }

  #losePower(member: Member): void {
    this.#powerLosses += 1;
    this.#lostTransactions += member.disk.losePower(this.#diskRandom);
  }

  #comeBack(member: Member, units: number): void {
    this.queue.in(units, () => {
      if (!this.#isCalm) member.start();
    });
  }

  /** The group can bear to lose one more, whichever configuration will turn out to count. */
  #canLose(victim: Member): boolean {
    return this.configs().every((config) =>
      holdsQuorum(config, (id) => {
        const member = this.#members.get(id);
        return member !== undefined && member !== victim && !member.isGone;
      }),
    );
  }

  /** What is committed, and every later configuration that some member may still bring to be. Older ones are history. */
  configs(): readonly ClusterConfig[] {
    const committed = this.recorder.committedConfig;
    const configs = committed === null ? [] : [committed.config];
    for (const { disk, isLost } of this.#list) {
      if (isLost) continue;
      for (const { index, config } of disk.current.configs()) {
        if (index > (committed?.index ?? 0)) configs.push(config);
      }
    }
    return configs;
  }

  // --- The operator's workshop ----------------------------------------------------------------------------------------

  newId(): MemberId {
    this.#idSerial += 1;
    return `m${this.#idSerial}` as MemberId;
  }

  install(id: MemberId, promotableFrom: number): void {
    const member = this.#make(id, promotableFrom as LogIndex);
    this.queue.in(this.random.integer(1, 100), () => member.start());
  }

  jointBegun(leader: MemberId, voters: readonly MemberId[], outgoing: readonly MemberId[]): void {
    this.#misfortunes.jointBegun(leader, voters, outgoing);
  }

  // --- Beginning and end ------------------------------------------------------------------------------------------------

  /** The group comes to life, and with it clients, an operator, and misfortune. */
  form(): void {
    const ids = Array.from({ length: this.swarm.voterCountAtStart }, () => this.newId());
    const first = defined(ids[0], "a group has a first member");
    for (const id of ids) {
      const member = this.#make(id, 0 as LogIndex);
      const [config, ...rest] = bootstrapEntries(first, BOOT);
      const voters = { voters: ids, outgoing: [], learners: [], learnersNext: [] };
      const entries: readonly Entry[] = [
        { ...defined(config, "a group begins with a configuration"), data: encodeConfig(voters) },
        ...rest,
      ];
      member.disk.format(entries, { term: 1 as Term, vote: null, commit: 0 as LogIndex });
      this.queue.in(this.random.integer(0, 50), () => member.start());
    }
    this.clients.start();
    this.#misfortunes.start();
    this.#planOperator();
  }

  #planOperator(): void {
    this.queue.in(1 + this.random.exponential(this.swarm.operatorUnits), () => {
      if (this.#isCalm) return;
      this.operator.act();
      this.#planOperator();
    });
  }

  #make(id: MemberId, promotableFrom: LogIndex): Member {
    const disk = new SimulatedDisk(id, this.recorder, promotableFrom);
    const { latencyUnitsMax, hangPercent, hangUnitsMax } = this.swarm.disk;
    if (!this.#isCalm && (latencyUnitsMax > 0 || hangPercent > 0)) {
      disk.latency = () =>
        this.#diskRandom.chance(hangPercent)
          ? this.#diskRandom.integer(1, hangUnitsMax)
          : this.#diskRandom.integer(0, latencyUnitsMax);
    }
    const member = new Member(id, disk, this.#memberRandom.fork(), this);
    this.#disks.set(id, disk);
    this.#members.set(id, member);
    this.#list = [...this.#members.values()];
    return member;
  }

  /** What nobody could have done was done by nobody. */
  checkLost(): void {
    for (const { id, disk, isLost } of this.#list) {
      if (isLost) continue;
      for (const command of this.clients.lost) {
        if (disk.current.machine.has(command)) {
          throw new Violation("safety", `${command} was said to be lost, and ${id} applied it`);
        }
      }
    }
  }

  counts(): WorldCounts {
    const { leaders, snapshots, tailsReplaced, truncations, rollbacks, configs, jointConfigs } =
      this.recorder.counts;
    return {
      events: this.#events,
      committed: this.recorder.committedIndex,
      acknowledged: this.clients.acknowledged.size,
      open: this.clients.openCount,
      reads: this.clients.answeredReads,
      leaders,
      snapshots,
      tailsReplaced,
      truncations,
      rollbacks,
      configs,
      jointConfigs,
      crashes: this.#crashes,
      powerLosses: this.#powerLosses,
      lostTransactions: this.#lostTransactions,
      lostMembers: this.#list.filter(({ isLost }) => isLost).length,
      recovered: this.hasRecovered ? 1 : 0,
      undecidedKeys: this.clients.undecidedKeys,
    };
  }
}
