/**
 * A whole control plane in one thread: production's loops of leader and members with all that they decide, and production's
 * state machine, over models of PostgreSQL, its supervisor, the network and the log.
 *
 * One seed decides everything that happens. After every event the safety invariants are checked.
 */
import { isWritable } from "../../../src/cluster/writable.ts";
import { Faults } from "./faults.ts";
import { Group } from "./group.ts";
import { Invariants } from "./invariants.ts";
import type { WalRecord } from "./model-postgres.ts";
import { People } from "./people.ts";
import type { Sabotage } from "./sabotage.ts";
import { type Theme, World } from "./world.ts";

/** So many clients write; each waits for its commit. */
const WAITING_MAX = 150;

export class Simulation {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #group: Group;
  readonly #faults: Faults;
  readonly #people: People;
  #records = 0;

  /** How likely a server that was told to promote is through with what it has, each time. */
  get #openingShare(): number {
    const { theme } = this.#world;
    if (theme === "promotions") return 0.06;
    return theme === "looks" ? 0.8 : 0.25;
  }

  constructor(seed: number, size: number, sabotage: Sabotage | "none", theme: Theme) {
    this.#world = new World(seed, size, sabotage, theme);
    this.#invariants = new Invariants(this.#world);
    this.#group = new Group(this.#world, this.#invariants);
    const people = new People(this.#world, this.#group, (host) => this.#faults.startMember(host));
    this.#people = people;
    this.#faults = new Faults(this.#world, this.#invariants, this.#group, people);
    for (const host of this.#world.hosts) this.#faults.startMember(host);
  }

  get trace(): readonly string[] {
    return this.#world.trace;
  }

  get acknowledgedCount(): number {
    return this.#invariants.acknowledgedCount;
  }

  /** Appointments of members that no rule named. */
  get outsidersAppointed(): number {
    return this.#invariants.outsidersAppointed;
  }

  /** Members that left. */
  get removed(): number {
    return this.#world.latest.removed?.length ?? 0;
  }

  get failovers(): number {
    return this.#world.latest.failoverCount;
  }

  /** Servers that were started again as planned. */
  get restarts(): number {
    return this.#world.restarts;
  }

  describe(): string {
    return this.#world.describe();
  }

  /** A moment passes, and something happens to somebody; with or without faults. */
  step(hasFaults: boolean): void {
    const { chance } = this.#world;
    this.#world.pass(chance.is(0.02) ? 400 : 1 + chance.below(12), () => this.#afterEvent());
    const dice = chance.share();
    if (hasFaults && dice < 0.024) this.#faults.happen();
    else if (dice < 0.5) this.#runPostgres();
    else if (dice < 0.7) this.#write();
    else if (dice < 0.9) this.#group.heartbeats();
    else if (!this.#group.isLed) this.#group.elect();
    this.#afterEvent();
  }

  #afterEvent(): void {
    for (const { isUp, name, supervisor } of this.#world.hosts) {
      if (isUp) supervisor.resume();
      if (isUp && supervisor.tick()) this.#world.note(`${name} stops PostgreSQL: its lease ends`);
    }
    this.#invariants.acknowledge();
    this.#invariants.check();
    this.#world.throwWhatIsBroken();
  }

  /** Somebody has PostgreSQL started again everywhere. */
  restartAll(): void {
    this.#people.restart(1);
  }

  /** Everything works again. */
  heal(): void {
    this.#faults.end();
  }

  #runPostgres(): void {
    const { chance, hosts } = this.#world;
    const { isUp, postgres } = chance.pick(hosts);
    if (!isUp) return;
    if (postgres.promotion === "none") postgres.receive(1 + chance.below(3));
    // To read all that there is takes longer than to open what comes after it.
    else if (chance.is(postgres.promotion === "told" ? this.#openingShare : 0.8)) postgres.promoteFurther();
  }

  #write(): void {
    const { chance, hosts } = this.#world;
    const primaries = hosts.filter(
      ({ isUp, postgres }) =>
        isUp && !postgres.isFrozen && !postgres.isDiskStuck && postgres.kind === "primary",
    );
    if (primaries.length === 0) return;
    const host = chance.pick(primaries);
    const { name, postgres } = host;
    if (postgres.wal.length - postgres.acknowledgedUpTo() > WAITING_MAX) return;
    this.#records += 1;
    const record: WalRecord = {
      id: this.#records,
      by: name,
      ...(chance.is(0.05) ? { isCancelled: true } : {}),
    };
    postgres.write(record);
    this.#invariants.wrote(host, record);
  }

  /** The cluster takes writes, and every member streams or reigns. */
  isWhole(): boolean {
    const { latest, hosts } = this.#world;
    const { reign } = latest;
    if (reign === null || reign.fence !== null) return false;
    const primary = hosts.find((host) => host.id === reign.primaryId);
    const seen = primary?.process?.board.observations(0).find(({ status }) => status.memberId === primary.id);
    if (primary === undefined || seen === undefined) return false;
    const isPrimary = primary.postgres.kind === "primary" && seen.status.postgres.kind === "primary";
    if (!isPrimary || !isWritable(latest, primary.id, seen.status.postgres)) return false;
    if (latest.members.some(({ isLeaving }) => isLeaving) || latest.restart != null) return false;
    const others = hosts.filter((host) => host !== primary && this.#world.isMember(host));
    return others.every(
      ({ postgres }) => postgres.isReceivingFrom(primary.postgres) && postgres.corruption === null,
    );
  }
}
