/**
 * The group that agrees: one log, who leads, who votes. Raft is taken for granted here; what it allows happens: leaders that do
 * not know yet that they are none, answers that never come, and entries of a former leader that are agreed all the same.
 */
import type { LogIndex, MemberId } from "../../../src/base/ids.ts";
import { apply } from "../../../src/cluster/apply.ts";
import type { Change, Command, Outcome } from "../../../src/cluster/command.ts";
import type {
  BarrierResult,
  ConfigTarget,
  FollowerStatus,
  ProposeResult,
} from "../../../src/cluster/consensus.ts";
import { type Host, isAlive } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import { dishonestState, LeaderSabotage } from "./leader-sabotage.ts";
import type { MemberProcess } from "./member-process.ts";
import type { World } from "./world.ts";

/** What was proposed and is not agreed yet. */
interface Pending {
  readonly process: MemberProcess;
  readonly command: Command;
  settle(result: ProposeResult): void;
}

/** A leader that reaches no majority for so long gives up. */
const QUORUM_LOST_MS = 800;
/** So often an entry that found no majority finds one. */
const AGAIN_MS = 50;
const ASKED = "somebody asked";

export class Group {
  readonly #world: World;
  readonly #invariants: Invariants;
  readonly #sabotage: LeaderSabotage;
  #term = 0;
  /** Whose process leads in truth; another life of it does not lead any more. */
  #leading: MemberProcess | null = null;
  #pending: readonly Pending[] = [];
  /** Since when a leader reaches no majority; true time. */
  readonly #lonelySinceMs = new Map<MemberProcess, number>();

  constructor(world: World, invariants: Invariants) {
    this.#world = world;
    this.#invariants = invariants;
    this.#sabotage = new LeaderSabotage(world);
  }

  // --- Who leads -----------------------------------------------------------------------------------------------------

  #leads(host: Host, process: MemberProcess): boolean {
    const isElected = host === this.#world.leader && host.process === process && process === this.#leading;
    return isElected && process.consensus.isLeading && this.#world.hasMajority(host);
  }

  /** Whether somebody can have something agreed. */
  get isLed(): boolean {
    const { leader } = this.#world;
    return leader.process !== null && this.#leads(leader, leader.process);
  }

  /** Somebody who reaches a majority may lead. */
  elect(): void {
    const candidates = this.#world.hosts.filter((host) => this.#world.hasMajority(host));
    if (candidates.length > 0) this.#lead(this.#world.chance.pick(candidates));
  }

  #lead(host: Host): void {
    const world = this.#world;
    if (!isAlive(host) || !world.hasMajority(host) || this.#leads(host, host.process)) return;
    const leftOver = this.#pending.filter(({ process }) => process === this.#leading);
    const { process } = host;
    this.#pending = [];
    this.#term += 1;
    this.#leading = process;
    world.leader = host;
    world.note(`${host.name} leads in term ${this.#term}`);
    // What the last leader proposed may have come to a majority that knows this one.
    for (const { command } of leftOver) if (world.chance.is(0.5)) this.#agree(command, "left over");
    host.known = world.end;
    process.enter(() => process.consensus.lead(this.#term));
  }

  transfer(from: Host, to: MemberId): void {
    const target = this.#world.hosts.find(({ id }) => id === to);
    if (target === undefined || from !== this.#world.leader) return;
    this.#world.send(from, target, () => this.#lead(target));
  }

  // --- Hearing, and being heard --------------------------------------------------------------------------------------

  /** Whoever believes that it leads tells everybody what is agreed. */
  heartbeats(): void {
    const world = this.#world;
    for (const host of [...world.hosts]) {
      if (!isAlive(host)) continue;
      const { process } = host;
      process.enter(() => process.consensus.lookAtConnections());
      if (!process.consensus.isLeading) continue;
      this.#checkQuorum(host, process);
      if (process.consensus.isLeading) this.#heartbeat(host, process);
    }
    if (this.isLed) this.#attend();
  }

  #attend(): void {
    const { latest, isHealed } = this.#world;
    if (isHealed && (latest.pauses ?? []).length > 0) this.agree({ kind: "resume", reason: null }, ASKED);
    if (isHealed && latest.restart?.isPaused === true)
      this.agree({ kind: "steer-restart", operationId: latest.restart.operationId, wish: "resume" }, ASKED);
    const change = this.#sabotage.insteadOfHolding(latest);
    if (change !== null) this.agree(change, "sabotage");
  }

  #heartbeat(leader: Host, process: MemberProcess): void {
    const world = this.#world;
    for (const host of world.hosts) {
      if (host === leader) continue;
      const heartbeat = process.consensus.heartbeat();
      const upTo = world.chance.is(0.8) ? heartbeat.upTo : (0 as LogIndex);
      const isRemoved = process.consensus.state.removed?.some(({ id }) => id === host.id) === true;
      world.send(leader, host, () => {
        if (isRemoved && isAlive(host) && world.chance.is(0.3)) this.#leave(host);
        else host.process?.hears(() => host.process?.consensus.hearHeartbeat({ ...heartbeat, upTo }));
      });
    }
  }

  #checkQuorum(host: Host, process: MemberProcess): void {
    const { nowMs } = this.#world;
    if (this.#world.hasMajority(host)) this.#lonelySinceMs.delete(process);
    else if (!this.#lonelySinceMs.has(process)) this.#lonelySinceMs.set(process, nowMs);
    if (nowMs - (this.#lonelySinceMs.get(process) ?? nowMs) < QUORUM_LOST_MS) return;
    this.#lonelySinceMs.delete(process);
    process.enter(() => process.consensus.stepDown());
  }

  /** It hears that it was removed, stops its PostgreSQL and ends. */
  #leave(host: Host): void {
    if (!this.#world.hosts.includes(host)) return;
    this.#world.note(`${host.name} leaves`);
    host.postgres.crash();
    host.isUp = false;
    host.process?.end();
    host.process = null;
    this.#world.removeHost(host);
  }

  followersOf(leader: Host): readonly FollowerStatus[] {
    const { config, hosts, network, end } = this.#world;
    const others = [...config.voters, ...config.learners].filter((id) => id !== leader.id);
    return others.map((id) => {
      const host = hosts.find((each) => each.id === id);
      const isActive = host !== undefined && isAlive(host) && network.connects(leader.name, host.name);
      const matchIndex = host?.known ?? (0 as LogIndex);
      return { id, matchIndex, isActive, isCaughtUp: isActive && end - matchIndex < 10 };
    });
  }

  changeConfig(by: Host, target: ConfigTarget): void {
    if (by.process === null || !this.#leads(by, by.process)) return;
    this.#world.config = target;
    this.#world.note(`${target.voters.length} vote, ${target.learners.length} learn`);
  }

  // --- Agreeing ------------------------------------------------------------------------------------------------------

  /** A member's process proposes. The answer may never come, and it may be agreed all the same. */
  propose(host: Host, process: MemberProcess, command: Command, deadlineMs: number): Promise<ProposeResult> {
    const world = this.#world;
    return new Promise((resolve) => {
      const settle = (result: ProposeResult) => {
        this.#pending = this.#pending.filter((each) => each !== pending);
        process.enter(() => resolve(result));
      };
      const pending: Pending = { process, command, settle };
      this.#pending = [...this.#pending, pending];
      world.later(host, deadlineMs, () => settle({ kind: "unknown", reason: "no answer in time" }));
      world.later(host, this.#delayMs(), () => this.#try(host, pending));
    });
  }

  #try(host: Host, pending: Pending): void {
    if (!this.#pending.includes(pending)) return;
    if (!this.#leads(host, pending.process)) {
      this.#world.later(host, AGAIN_MS, () => this.#try(host, pending));
      return;
    }
    this.#pending = this.#pending.filter((each) => each !== pending);
    const outcome = this.#agree(pending.command, "decided");
    this.#world.later(host, this.#delayMs(), () => pending.settle({ kind: "applied", outcome }));
  }

  /** Whether the process leads is confirmed by a majority now; it hears so a little later. */
  confirm(host: Host, process: MemberProcess, deadlineMs: number): Promise<BarrierResult> {
    const world = this.#world;
    return new Promise((resolve) => {
      const answer = (result: BarrierResult) => process.enter(() => resolve(result));
      world.later(host, deadlineMs, () => answer({ kind: "unknown", reason: "no answer in time" }));
      world.later(host, this.#delayMs(), () => {
        if (!this.#leads(host, process)) return;
        world.later(host, this.#delayMs(), () => answer({ kind: "reached", index: host.known }));
      });
    });
  }

  #delayMs(): number {
    const { chance } = this.#world;
    return chance.share() * (chance.is(0.9) ? 4 : 80);
  }

  /** Somebody has something agreed, through whoever leads. @returns whether it was not refused. */
  agree(change: Change, by: string): boolean {
    const world = this.#world;
    const command = { id: world.newCommandId(), atMs: world.wallMs(world.leader), by: "somebody", change };
    return this.#agree(command, by).ok;
  }

  #agree(command: Command, why: string): Outcome {
    const world = this.#world;
    const change = this.#sabotage.insteadOf(command.change);
    const { state, outcome, events } = apply(world.latest, { ...command, change });
    if (state === null || !outcome.ok) return outcome;
    this.#invariants.agreed(change, state);
    if (change.kind === "end-restart-step") world.restarts += 1;
    world.states.push(dishonestState(world.sabotage, state, change));
    world.note(`agreed ${change.kind} (${why}): ${events[0]?.message ?? ""}`);
    const { leader } = world;
    const { process } = leader;
    if (process === null || process !== this.#leading) return outcome;
    leader.known = world.end;
    process.enter(() => process.consensus.changed());
    return outcome;
  }
}
