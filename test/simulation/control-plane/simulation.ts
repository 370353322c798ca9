/**
 * A whole control plane in one thread: the production state machine and the production decisions of leader and members, over
 * models of PostgreSQL and its supervisor.
 *
 * One seed decides everything that happens. After every event the safety invariants are checked.
 */
import { isWritable } from "../../../src/cluster/writable.ts";
import { Faults } from "./faults.ts";
import { Invariants } from "./invariants.ts";
import { LeaderSide } from "./leader.ts";
import { MemberSide } from "./member.ts";
import type { WalRecord } from "./model-postgres.ts";
import { People } from "./people.ts";
import type { Sabotage } from "./sabotage.ts";
import { type Theme, World } from "./world.ts";

/** So many clients write; each waits for its commit. */
const WAITING_MAX = 150;

export class Simulation {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #members: MemberSide;
  readonly #leader: LeaderSide;
  readonly #faults: Faults;
  #records = 0;

  constructor(seed: number, size: number, sabotage: Sabotage | "none", theme: Theme) {
    this.#world = new World(seed, size, sabotage, theme);
    this.#invariants = new Invariants(this.#world);
    this.#members = new MemberSide(this.#world, this.#invariants);
    this.#leader = new LeaderSide(this.#world, this.#invariants, this.#members);
    this.#faults = new Faults(this.#world, this.#leader, new People(this.#world, this.#leader));
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

  describe(): string {
    return this.#world.describe();
  }

  /** One random event, with or without faults. */
  step(hasFaults: boolean): void {
    const world = this.#world;
    const { chance } = world;
    world.nowMs += chance.is(0.02) ? 400 : 1 + chance.below(12);
    world.network.deliver(world.nowMs);
    const dice = chance.share();
    if (hasFaults && dice < 0.014) this.#faults.happen();
    else if (dice < 0.28) this.#members.turn(chance.pick(world.hosts));
    else if (dice < 0.45) this.#members.act(chance.pick(world.hosts));
    else if (dice < 0.62) this.#runPostgres();
    else if (dice < 0.72) this.#write();
    else if (dice < 0.83) this.#leader.heartbeats();
    else this.#leader.turn();
    this.#leader.leases();
    this.#invariants.acknowledge();
    this.#invariants.check();
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
    else if (chance.is(0.5)) postgres.promoteFurther();
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
    if (latest.members.some(({ isLeaving }) => isLeaving)) return false;
    const others = hosts.filter((host) => host !== primary && this.#world.isMember(host));
    return others.every(
      ({ postgres }) => postgres.isReceivingFrom(primary.postgres) && postgres.corruption === null,
    );
  }
}
