import type { MemberId } from "../../../src/base/ids.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { DiskTrap } from "./disk.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Member } from "./member.ts";
import type { Network } from "./network.ts";
import { type Swarm, UNITS_PER_TICK, type Misfortunes as Weights } from "./swarm.ts";

/** Whom misfortune can befall. */
export interface Victims {
  readonly queue: EventQueue;
  readonly swarm: Swarm;
  readonly network: Network;
  members(): readonly Member[];
  /** Somebody writes much at once. */
  burst(member: Member, count: number): void;
  /** Somebody reads, and is in no hurry. */
  readFrom(member: Member): void;
  /** The process ends; with the power, what the disk had not synced goes too. It comes back after a while, or not. */
  crash(member: Member, losesPower: boolean, downUnits: number): void;
  /** The disk is gone for ever. @returns false if the group could not bear it. */
  lose(member: Member): boolean;
  rot(member: Member): boolean;
  note(text: () => string): void;
}

type Kind = keyof Weights;

/** Nothing of the log stays: whoever lacks anything needs a snapshot. */
export function compactToTip(member: Member): void {
  member.hear("compacts to the tip", (node) => {
    node.process();
    node.compact(0);
  });
}

/** How long a downtime is: mostly short, sometimes longer than several elections. */
function drawDowntime(random: SeededRandom): number {
  return random.chance(65) ? random.integer(5, 120) : random.integer(120, 1_200);
}

/** One misfortune after the other, of the kinds that this world has. */
export class Misfortunes {
  readonly #victims: Victims;
  readonly #random: SeededRandom;
  readonly #kinds: readonly Kind[];
  #isOver = false;

  constructor(victims: Victims, random: SeededRandom) {
    this.#victims = victims;
    this.#random = random;
    this.#kinds = Object.entries(victims.swarm.misfortunes).flatMap(([kind, weight]) =>
      Array.from({ length: Number(weight) }, () => kind as Kind),
    );
  }

  start(): void {
    if (this.#kinds.length > 0) this.#planNext(1 + this.#random.exponential(this.#mean));
  }

  end(): void {
    this.#isOver = true;
  }

  /**
   * The moment at which the two halves of a group may come apart: on the leader's side just enough for a majority of the
   * new voters, on the other side as many of the old ones as possible.
   */
  jointBegun(leader: MemberId, voters: readonly MemberId[], outgoing: readonly MemberId[]): void {
    if (this.#isOver || this.#kinds.length === 0 || this.#random.chance(40)) return;
    const newcomers = voters.filter((id) => !outgoing.includes(id));
    const others = voters.filter((id) => outgoing.includes(id) && id !== leader);
    const side = [leader, ...newcomers, ...this.#random.shuffle(others)];
    const count = Math.floor(voters.length / 2) + (voters.includes(leader) ? 1 : 2);
    this.#in(this.#random.chance(50) ? 0 : this.#random.integer(1, 40), () => {
      this.#split(side.slice(0, count), false, this.#drawLongOutage());
    });
  }

  get #mean(): number {
    return this.#victims.swarm.misfortuneUnits;
  }

  #planNext(delay: number): void {
    this.#victims.queue.in(delay, () => {
      if (this.#isOver) return;
      const kind = this.#random.pick(this.#kinds);
      if (kind === undefined) return;
      this.#victims.note(() => `misfortune: ${kind}`);
      const quietUnits = kind === "quiet" ? this.#random.integer(300, 800) : 0;
      this.#befall(kind);
      this.#planNext(quietUnits + 1 + this.#random.exponential(this.#mean));
    });
  }

  /** Something for later, unless it is over by then. */
  #in(units: number, run: () => void): void {
    this.#victims.queue.in(units, () => {
      if (!this.#isOver) run();
    });
  }

  #befall(kind: Kind): void {
    const random = this.#random;
    const victims = this.#victims;
    const { network } = victims;
    const running = victims.members().filter(({ isRunning }) => isRunning);
    const leader = random.pick(running.filter(({ isLeading }) => isLeading));
    const victim = leader !== undefined && random.chance(50) ? leader : random.pick(running);
    if (victim === undefined) return;
    switch (kind) {
      case "kill":
        victims.crash(victim, random.chance(50), drawDowntime(random));
        return;
      case "loseAllPower":
        for (const member of running) {
          if (random.chance(85)) victims.crash(member, true, drawDowntime(random));
        }
        return;
      case "crashWritingLeader":
        // Its appends are out; whether they are on its own disk is open.
        this.#setTrap(leader ?? victim, {
          kind: "power-lost",
          when: this.#beforeOrAfter(),
          isForEntries: true,
        });
        return;
      case "failDisk":
        this.#setTrap(victim, {
          kind: "failed",
          when: this.#beforeOrAfter(),
          isForEntries: random.chance(50),
        });
        return;
      case "fillDisk":
        this.#setTrap(victim, { kind: "full", when: "before", isForEntries: true });
        return;
      case "isolateLeader":
        this.#isolate(leader ?? victim);
        return;
      case "partition":
        this.#partition(false);
        return;
      case "partitionOneWay":
        this.#partition(true);
        return;
      case "swizzle":
        this.#swizzle();
        return;
      case "resetConnections":
        for (const other of running) {
          if (other !== victim && random.chance(60)) network.reset(victim.id, other.id);
        }
        return;
      case "pause":
        this.#pause(victim);
        return;
      case "slowDisk":
        this.#slow(victim);
        return;
      case "wipe":
        if (!victims.lose(victim)) victims.crash(victim, true, drawDowntime(random));
        return;
      case "rot":
        if (!victims.rot(victim)) victims.crash(victim, false, drawDowntime(random));
        return;
      case "transfer": {
        const to = random.chance(40) ? null : (random.pick(running)?.id ?? null);
        (leader ?? victim).hear(`is asked to hand on to ${to ?? "anybody"}`, (node) =>
          node.transferLeadership(to),
        );
        return;
      }
      case "compactToTip":
        compactToTip(victim);
        return;
      case "electionStorm":
        this.#storm();
        return;
      case "quiet":
        network.healAll();
        return;
    }
  }

  #beforeOrAfter(): DiskTrap["when"] {
    return this.#random.chance(50) ? "before" : "after";
  }

  #setTrap(member: Member, trap: DiskTrap): void {
    member.disk.trap = trap;
  }

  /** Around what an election takes, so that some outages are noticed and some are not. */
  #drawOutage(): number {
    const { electionTicksMin, electionTicksMax } = this.#victims.swarm.timing;
    return this.#random.integer(20, 2 * (electionTicksMin + electionTicksMax) * UNITS_PER_TICK);
  }

  /** Long enough for both sides to have leaders of their own. */
  #drawLongOutage(): number {
    return this.#random.integer(2, 6) * this.#victims.swarm.timing.electionTicksMax * UNITS_PER_TICK;
  }

  /** Clients ask it all the same: when it wakes up, it may have a successor and not know it. */
  #pause(member: Member): void {
    member.pause(this.#random.chance(50) ? this.#drawLongOutage() : this.#drawOutage());
    for (let reads = this.#random.integer(0, 4); reads > 0; reads -= 1) {
      this.#in(this.#random.integer(1, 80), () => this.#victims.readFrom(member));
    }
  }

  /** Alone with what clients still send it: the tail that it writes must go again. */
  #isolate(member: Member): void {
    const { network } = this.#victims;
    const direction = this.#random.pick(["both", "both", "in", "out"] as const);
    const others = this.#victims.members().filter((other) => other !== member);
    for (const { id } of others) {
      if (direction !== "in") network.cut(member.id, id);
      if (direction !== "out") network.cut(id, member.id);
    }
    const hasTail = this.#random.chance(60);
    if (hasTail) this.#growTail(member);
    this.#in(hasTail ? this.#drawLongOutage() : this.#drawOutage(), () => {
      // What the others have done meanwhile is not in their logs any more: a long tail meets a snapshot.
      if (hasTail && this.#random.chance(60)) for (const other of others) compactToTip(other);
      for (const { id } of others) {
        network.mend(member.id, id);
        network.mend(id, member.id);
      }
      this.#victims.note(() => `${member.id} is connected again`);
    });
  }

  #growTail(member: Member): void {
    for (let burst = this.#random.integer(1, 3); burst > 0; burst -= 1) {
      this.#in(this.#random.integer(1, 60), () =>
        this.#victims.burst(member, this.#random.pick([3, 20, 80]) ?? 3),
      );
    }
  }

  #partition(isOneWay: boolean): void {
    const ids = this.#victims.members().map(({ id }) => id);
    const size = this.#random.integer(1, Math.max(1, ids.length - 1));
    const side = new Set(
      this.#random.chance(50)
        ? this.#random.shuffle(ids).slice(0, size)
        : ids.filter(() => this.#random.chance(50)),
    );
    this.#split([...side], isOneWay, this.#random.chance(30) ? this.#drawLongOutage() : this.#drawOutage());
  }

  #split(side: readonly MemberId[], isOneWay: boolean, units: number): void {
    const { network } = this.#victims;
    const ids = this.#victims.members().map(({ id }) => id);
    const isInside = (id: MemberId): boolean => side.includes(id);
    const cut: [MemberId, MemberId][] = [];
    for (const from of ids) {
      for (const to of ids) {
        if (isInside(from) && !isInside(to)) cut.push([from, to]);
        if (!isOneWay && !isInside(from) && isInside(to)) cut.push([from, to]);
      }
    }
    for (const [from, to] of cut) network.cut(from, to);
    this.#victims.note(() => `${side.join(" ")} cut off${isOneWay ? " in one direction" : ""}`);
    this.#in(units, () => {
      for (const [from, to] of cut) network.mend(from, to);
      this.#victims.note(() => `${side.join(" ")} connected again`);
    });
  }

  /** Links stop one after the other, and come back in another order. */
  #swizzle(): void {
    const { network } = this.#victims;
    const ids = this.#victims.members().map(({ id }) => id);
    const links = ids.flatMap((from) => ids.filter((to) => to !== from).map((to) => [from, to] as const));
    const chosen = this.#random.shuffle(links).slice(0, this.#random.integer(1, Math.max(1, links.length)));
    const spread = this.#drawOutage();
    for (const [from, to] of chosen) {
      const beginsIn = this.#random.integer(0, spread);
      const lasts = this.#random.integer(10, spread * 2);
      this.#in(beginsIn, () => network.clog(from, to, lasts));
    }
  }

  #slow(member: Member): void {
    const { latency } = member.disk;
    const unitsMax = this.#random.pick([20, 60, 200]) ?? 20;
    member.disk.latency = () => this.#random.integer(1, unitsMax);
    this.#in(this.#drawOutage() * 2, () => {
      member.disk.latency = latency;
    });
  }

  /** Leader after leader is stopped just after it took something on: what figure 8 of the paper needs. */
  #storm(): void {
    const rounds = this.#random.integer(2, 6);
    for (let round = 0; round < rounds; round += 1) {
      this.#in(round * this.#drawOutage(), () => {
        const members = this.#victims.members();
        for (const member of members.filter(({ isLeading }) => isLeading)) {
          if (this.#random.chance(50)) {
            this.#setTrap(member, { kind: "power-lost", when: this.#beforeOrAfter(), isForEntries: true });
          } else this.#isolate(member);
        }
      });
    }
  }
}
