/** What befalls hosts, processes, disks, clocks and the network between them. */
import type { Group } from "./group.ts";
import type { Host } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import { MemberProcess } from "./member-process.ts";
import type { People } from "./people.ts";
import type { Theme, World } from "./world.ts";

const HOUR_MS = 3_600_000;
/** A supervisor is there again before a lease that it held can be over. */
const SUPERVISOR_RESTART_MS = 500;
const MEMBER_RESTART_MS = 2_000;
/** How long most of what befalls a host lasts, at most. */
const FAULT_MS_MAX = 15_000;
/** Some leases long. */
const LEASED_FAULT_MS_MAX = 9_000;
const DISK_MENDED_MS = 8_000;

interface Shares {
  readonly replacements?: number;
  readonly operations?: number;
  readonly doubts?: number;
  readonly freezes?: number;
  readonly elections?: number;
  readonly cuts?: number;
  readonly killedSupervisors?: number;
  readonly setClocks?: number;
  readonly namedOutsiders?: number;
}

/** What happens more or less often than else, where that is what a history is about. */
const MORE: Partial<Readonly<Record<Theme, Shares>>> = {
  outsider: { namedOutsiders: 43 },
  leased: { operations: 2, freezes: 30, cuts: 60, setClocks: 20 },
  promotions: { doubts: 30, killedSupervisors: 15 },
  looks: { doubts: 30 },
  cohorts: { replacements: 40, operations: 40, freezes: 60, elections: 40, cuts: 40 },
};

type Kind = (host: Host) => void;

export class Faults {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #group: Group;

  /** Each as often as it comes up. */
  readonly #kinds: readonly Kind[];

  constructor(world: World, invariants: Invariants, group: Group, people: People) {
    this.#world = world;
    this.#invariants = invariants;
    this.#group = group;
    const more = MORE[world.theme] ?? {};
    const shares: readonly (readonly [share: number, kind: Kind])[] = [
      [more.replacements ?? 5, () => people.replace()],
      [more.operations ?? 12, () => people.operate()],
      [more.doubts ?? 4, () => people.suspectNeedlessly()],
      [more.freezes ?? 13, (host) => this.#freeze(host)],
      [10, (host) => this.#killPostgres(host)],
      [8, (host) => this.#powerOff(host)],
      [3, (host) => this.boot(host)],
      [more.elections ?? 4, () => group.elect()],
      [more.cuts ?? 15, (host) => this.#cut(host)],
      [2, () => world.network.mendAll()],
      [4, (host) => this.#killMember(host)],
      [more.killedSupervisors ?? 5, (host) => this.#killSupervisor(host)],
      [3, (host) => this.#killBoth(host)],
      [more.setClocks ?? 6, (host) => this.#setWallClock(host)],
      [3, (host) => this.#spoilDisk(host)],
      [3, (host) => this.#spoilStarts(host)],
      [more.namedOutsiders ?? 0, () => people.nameOutsider()],
    ];
    this.#kinds = shares.flatMap(([share, kind]) => Array.from({ length: share }, () => kind));
  }

  /** One of them, to somebody. */
  happen(): void {
    const { hosts, chance } = this.#world;
    const host = chance.pick(hosts);
    chance.pick(this.#kinds)(host);
    if (hosts.filter(({ isUp }) => !isUp).length > hosts.length / 2) this.boot(host);
  }

  /** Everything works again, but for the wall clocks. */
  end(): void {
    this.#world.network.mendAll();
    for (const host of this.#world.hosts) {
      this.boot(host);
      this.startMember(host);
      if (!host.supervisor.isRunning) host.supervisor.begin();
      host.process?.thaw();
      host.postgres.thaw();
      this.#mendDisk(host);
      host.supervisor.failingStarts = 0;
      host.supervisor.breaksRewind = false;
    }
    this.#world.isHealed = true;
    this.#world.note("healed");
  }

  // --- Hosts and processes -------------------------------------------------------------------------------------------

  #killPostgres({ name, postgres }: Host): void {
    this.#world.note(`${name} postmaster killed`);
    postgres.crash();
  }

  #powerOff(host: Host): void {
    if (!host.isUp) return;
    this.#world.note(`${host.name} dies`);
    host.isUp = false;
    this.#endMember(host);
    host.postgres.crash();
    host.supervisor.losePower();
    this.#later(host, () => this.boot(host));
    if (this.#world.sabotage === "forget-pledges-at-a-crash") host.supervisor.forgetPledges();
  }

  boot(host: Host): void {
    if (host.isUp) return;
    this.#world.note(`${host.name} boots`);
    host.isUp = true;
    host.boots += 1;
    this.startMember(host);
  }

  startMember(host: Host): void {
    if (host.process !== null || !host.isUp) return;
    host.lives += 1;
    host.process = new MemberProcess(this.#world, this.#invariants, this.#group, host);
  }

  #endMember(host: Host): void {
    host.process?.end();
    host.process = null;
  }

  #killMember(host: Host): void {
    if (!host.isUp || host.process === null) return;
    this.#world.note(`${host.name}'s member killed`);
    this.#endMember(host);
    this.#world.later(host, this.#world.chance.share() * MEMBER_RESTART_MS, () => this.startMember(host));
  }

  #killBoth(host: Host): void {
    this.#killMember(host);
    this.#killSupervisor(host);
  }

  #killSupervisor(host: Host): void {
    const { name, supervisor, isUp } = host;
    if (!isUp || !supervisor.isRunning) return;
    this.#world.note(`${name}'s supervisor killed`);
    supervisor.end();
    this.#world.later(host, this.#world.chance.share() * SUPERVISOR_RESTART_MS, () => {
      if (!supervisor.isRunning) supervisor.begin();
    });
  }

  /** A signal stops a member, or all of a PostgreSQL; another lets it go on. */
  #freeze(host: Host): void {
    const { name, isUp, process, postgres } = host;
    if (!isUp) return;
    if (this.#world.chance.is(0.6)) {
      if (process === null || process.isFrozen) return;
      process.freeze();
      this.#world.note(`${name}'s member freezes`);
      this.#later(host, () => {
        process.thaw();
        this.#world.note(`${name}'s member thaws`);
      });
    } else {
      if (!postgres.isRunning || postgres.isFrozen) return;
      postgres.isFrozen = true;
      this.#world.note(`${name}'s PostgreSQL freezes`);
      this.#later(host, () => postgres.thaw());
    }
  }

  /** What befell a host is over after a while. */
  #later(host: Host, happen: () => void): void {
    const longestMs = this.#world.theme === "leased" ? LEASED_FAULT_MS_MAX : FAULT_MS_MAX;
    this.#world.later(host, this.#world.chance.share() * longestMs, happen);
  }

  // --- Network, clocks, disks ----------------------------------------------------------------------------------------

  /** From all others, or from one; then often in one direction only. */
  #cut(host: Host): void {
    const { chance, hosts, network } = this.#world;
    const isWhole = chance.is(0.6);
    const others = hosts.filter((each) => each !== host);
    const isOneWay = !isWhole && chance.is(0.6);
    for (const { name } of isWhole ? others : [chance.pick(others)]) {
      network.cut(host.name, name);
      if (!isOneWay) network.cut(name, host.name);
      this.#later(host, () => network.mend(host.name, name));
      this.#world.note(`${host.name} cut from ${name}${isOneWay ? ", one way" : ""}`);
    }
  }

  /** One host's, or everybody's. */
  #setWallClock(host: Host): void {
    const { chance, hosts } = this.#world;
    const jumpMs = chance.is(0.5) ? HOUR_MS : -HOUR_MS;
    const isEverybodys = chance.is(0.5);
    for (const each of isEverybodys ? hosts : [host]) each.wallOffsetMs += jumpMs;
    this.#world.note(
      `${isEverybodys ? "all wall clocks are" : `${host.name}'s wall clock is`} set by ${jumpMs} ms`,
    );
  }

  #spoilDisk(host: Host): void {
    const { chance, hosts } = this.#world;
    if (hosts.some(({ postgres }) => postgres.isDiskStuck)) return;
    host.postgres.isDiskStuck = true;
    host.supervisor.isDiskFull = chance.is(0.5);
    this.#world.note(`${host.name}'s disk ${host.supervisor.isDiskFull ? "is full" : "hangs"}`);
    this.#world.later(host, chance.share() * DISK_MENDED_MS, () => this.#mendDisk(host));
  }

  #mendDisk(host: Host): void {
    host.postgres.isDiskStuck = false;
    host.supervisor.isDiskFull = false;
  }

  #spoilStarts({ name, supervisor }: Host): void {
    const { chance } = this.#world;
    if (chance.is(0.3)) {
      supervisor.breaksRewind = true;
      return;
    }
    supervisor.failingStarts = 1 + chance.below(14);
    this.#world.note(`${name}'s next ${supervisor.failingStarts} starts fail`);
  }
}
