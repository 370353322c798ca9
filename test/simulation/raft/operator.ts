import type { MemberId } from "../../../src/base/ids.ts";
import type { ConfigTarget } from "../../../src/raft/engine/config-change.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import type { NodeStatus } from "../../../src/raft/node.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { Member } from "./member.ts";
import { describeConfig } from "./recorder.ts";
import type { Swarm } from "./swarm.ts";

/** What the operator can do besides asking. */
export interface Workshop {
  readonly swarm: Swarm;
  members(): readonly Member[];
  member(id: MemberId): Member | undefined;
  /** A new id that nobody has had before. */
  newId(): MemberId;
  /** A new member with an empty disk, which may not campaign before it knows what was committed when it was added. */
  install(id: MemberId, promotableFrom: number): void;
  note(text: () => string): void;
  /** A joint configuration has begun, in which these will vote. */
  jointBegun(leader: MemberId, voters: readonly MemberId[], outgoing: readonly MemberId[]): void;
}

/**
 * Whoever changes the group: adds learners, promotes those that have caught up, demotes, replaces and removes voters, the
 * leader among them, one at a time or many at once; and puts a new member, under a new id, in the place of a lost one.
 */
export class Operator {
  readonly #workshop: Workshop;
  readonly #random: SeededRandom;
  /** Ids that were asked for and may never have come to life. */
  readonly #expected = new Set<MemberId>();
  #isStopped = false;

  constructor(workshop: Workshop, random: SeededRandom) {
    this.#workshop = workshop;
    this.#random = random;
  }

  /** What is still on its way is not carried out either. */
  stop(): void {
    this.#isStopped = true;
  }

  /** One wish, to somebody who believes to lead. */
  act(): void {
    const leading = this.#workshop.members().filter(({ isLeading }) => isLeading);
    const leader = this.#random.pick(leading);
    leader?.hear(null, (node) => {
      const status = node.status();
      if (this.#isStopped || status.role !== "leader") return;
      const target = this.#wish(leader, status);
      // Whoever knows of losses does not make a group that cannot decide any more.
      if (target === null || !this.#canDecide(target)) return;
      const answer = node.changeConfig(target);
      this.#workshop.note(
        () =>
          `operator: ${leader.id} shall have ${target.voters.join(" ")}, learning ${target.learners.join(" ")}: ${answer.ok ? (answer.id?.index ?? "has so already") : answer.reason} (had ${describeConfig(status.config)})`,
      );
      if (!answer.ok || answer.id === null) return;
      if (node.status().config.outgoing.length > 0) {
        this.#workshop.jointBegun(leader.id, target.voters, status.config.voters);
      }
      for (const id of [...target.voters, ...target.learners]) {
        // Told from where on it may campaign: of what is committed by now, nothing is lost any more.
        if (this.#workshop.member(id) === undefined) this.#workshop.install(id, status.commitIndex);
      }
    });
  }

  /** What is wanted next, given how things are; null: nothing. */
  #wish(leader: Member, status: NodeStatus): ConfigTarget | null {
    const { config, followers } = status;
    if (config.outgoing.length > 0) return null;
    const isLost = (id: MemberId): boolean => this.#workshop.member(id)?.isLost === true;
    const lost = [...config.voters, ...config.learners].filter(isLost);
    const lostId = lost[0];
    if (lostId !== undefined && this.#random.chance(60)) return without(config, lostId);
    const ready = followers.filter(({ id, isCaughtUp }) => isCaughtUp && config.learners.includes(id));
    const readyIds = ready.map(({ id }) => id);
    const { voterCountMax } = this.#workshop.swarm;
    const isShort = config.voters.length < voterCountMax;
    if (isShort && readyIds.length === 0 && config.learners.length < 3) return this.#withNewLearner(status);
    if (isShort && readyIds.length > 0 && this.#random.chance(80)) {
      return this.#promote(config, readyIds.slice(0, voterCountMax - config.voters.length));
    }
    return this.#anyChange(leader, status, readyIds);
  }

  #canDecide({ voters }: ConfigTarget): boolean {
    const living = voters.filter((id) => this.#workshop.member(id)?.isGone !== true);
    return living.length * 2 > voters.length;
  }

  #anyChange(leader: Member, status: NodeStatus, ready: readonly MemberId[]): ConfigTarget | null {
    const { config } = status;
    const { learnerCountMax } = this.#workshop.swarm;
    const random = this.#random;
    const someVoter = random.chance(30) ? leader.id : random.pick(config.voters);
    if (someVoter === undefined) return null;
    switch (random.integer(0, 5)) {
      case 0:
        return config.learners.length < learnerCountMax ? this.#withNewLearner(status) : null;
      case 1:
        return config.voters.length > 1 ? without(config, someVoter) : null;
      case 2:
        return config.voters.length > 1 ? demoted(config, someVoter) : null;
      case 3:
      case 4:
        return ready.length > 0 ? this.#replace(config, ready) : this.#withNewLearner(status);
      default: {
        const learner = random.pick(config.learners);
        return learner === undefined ? null : without(config, learner);
      }
    }
  }

  #withNewLearner({ config }: NodeStatus): ConfigTarget {
    const { voters, learners } = config;
    // One that was asked for in vain, or was removed, may be asked for again: the same process with the same disk.
    const waiting = this.#workshop
      .members()
      .find(
        ({ id, isLost }) =>
          this.#expected.has(id) && !isLost && !voters.includes(id) && !learners.includes(id),
      );
    if (waiting !== undefined && this.#random.chance(50)) {
      this.#expected.delete(waiting.id);
      return { voters, learners: [...learners, waiting.id] };
    }
    const id = this.#workshop.newId();
    this.#expected.add(id);
    return { voters, learners: [...learners, id] };
  }

  #promote({ voters, learners }: ClusterConfig, ready: readonly MemberId[]): ConfigTarget {
    const chosen = this.#random.chance(50) ? ready : ready.slice(0, 1);
    return { voters: [...voters, ...chosen], learners: learners.filter((id) => !chosen.includes(id)) };
  }

  /** Some learners in, as many voters out: through a joint configuration. */
  #replace({ voters, learners }: ClusterConfig, ready: readonly MemberId[]): ConfigTarget {
    const chosen = ready.slice(0, this.#random.integer(1, ready.length));
    const leaving = this.#random.shuffle(voters).slice(0, chosen.length);
    const demotes = this.#random.chance(40);
    return {
      voters: [...voters.filter((id) => !leaving.includes(id)), ...chosen],
      learners: [...learners.filter((id) => !chosen.includes(id)), ...(demotes ? leaving : [])],
    };
  }
}

function without({ voters, learners }: ClusterConfig, gone: MemberId): ConfigTarget {
  return { voters: voters.filter((id) => id !== gone), learners: learners.filter((id) => id !== gone) };
}

function demoted({ voters, learners }: ClusterConfig, id: MemberId): ConfigTarget {
  return { voters: voters.filter((voter) => voter !== id), learners: [...learners, id] };
}
