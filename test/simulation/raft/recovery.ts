import { defined } from "../../../src/base/assert.ts";
import type { ClusterConfig } from "../../../src/raft/engine/message.ts";
import type { NodeStatus } from "../../../src/raft/node.ts";
import { holdsQuorum } from "./config-rules.ts";
import type { Member } from "./member.ts";
import { compactToTip } from "./misfortunes.ts";
import { describeConfig, Violation } from "./recorder.ts";
import { UNITS_PER_TICK } from "./swarm.ts";
import type { World } from "./world.ts";

/**
 * The second half of a life: a core that has a quorum is healed, everybody else stays dead for good, and the core must
 * find a leader, finish what was begun, accept writes, serve reads, and hold all that was ever acknowledged. Whatever does
 * not happen within a bounded time will never happen, as far as anybody who waits for it is concerned.
 *
 * @returns false where too much was lost for good: no core can decide, and only what clients saw is checked.
 */
export function recover(world: World): boolean {
  world.calmDown();
  const core = chooseCore(world);
  // Too much is lost for good, a dead leader's tail among it: what clients saw must hold nevertheless.
  if (core === null) {
    world.clients.check();
    return false;
  }
  world.note(() => `the core: ${core.map(({ id }) => id).join(" ")}`);
  for (const member of world.members()) {
    if (core.includes(member)) member.start();
    else member.end();
  }
  electsAndAgrees(world, core);
  holdsWhatWasAcknowledged(world, core);
  keepsItsLeader(world, core);
  streamsAgain(world, core);
  survivesAFailedTransfer(world, core);
  electsAndAgrees(world, core);
  losesADeafLeader(world, core);
  electsAndAgrees(world, core);
  servesReads(world);
  takesInANewcomer(world, core);
  electsAndAgrees(world, core);
  handsOn(world);
  world.clients.check();
  return true;
}

/** In election time-outs: generous, and far from for ever. */
const ELECTIONS_MAX = 60;

function boundUnits({ swarm }: World): number {
  return swarm.timing.electionTicksMax * UNITS_PER_TICK * ELECTIONS_MAX;
}

/** As few as must be, and some more by chance. */
function chooseCore(world: World): readonly Member[] | null {
  const configs = world.configs();
  const core: Member[] = [];
  const isEnough = (): boolean =>
    configs.every((config) => holdsQuorum(config, (id) => core.some((member) => member.id === id)));
  for (const member of world.random.shuffle(world.members().filter((each) => !each.isGone))) {
    if (!isEnough() || world.random.chance(40)) core.push(member);
  }
  return isEnough() ? core : null;
}

function leaderOf(world: World): Member | undefined {
  return world.members().find((member) => member.isLeading && member.status?.isReady === true);
}

function expectSoon(world: World, what: () => string, isDone: () => boolean): void {
  if (isDone() || world.runUntil(isDone, boundUnits(world))) return;
  const states = world.members().map((member) => `${member.id}: ${describeStatus(member.status)}`);
  throw new Violation("liveness", `${what()}\n${states.join("\n")}`);
}

function describeStatus(status: NodeStatus | null): string {
  if (status === null) return "down";
  const { role, term, leaderId, floorIndex, appliedIndex, commitIndex, lastIndex, config, followers } =
    status;
  const sees = followers.map(
    ({ id, state, matchIndex, isActive }) => `${id} ${state} ${matchIndex}${isActive ? "" : " silent"}`,
  );
  return `${role} in term ${term}, leader ${leaderId ?? "unknown"}, floor ${floorIndex}, applied ${appliedIndex}, commit ${commitIndex}, last ${lastIndex}; voters ${describeConfig(config)}${sees.length > 0 ? `; sees ${sees.join(", ")}` : ""}`;
}

/** A write is answered, no joint configuration is left open, and whoever lives and belongs to the group has everything. */
function electsAndAgrees(world: World, core: readonly Member[]): void {
  let isAnswered = false;
  let askedAt = Number.NEGATIVE_INFINITY;
  expectSoon(
    world,
    () => "the group does not get so far as to answer a write and agree on it",
    () => {
      const leader = leaderOf(world);
      if (leader === undefined) return false;
      if (!isAnswered && world.queue.now - askedAt > 200) {
        askedAt = world.queue.now;
        world.queue.in(1, () =>
          world.clients.writeOnce(leader, () => {
            isAnswered = true;
          }),
        );
      }
      return isAnswered && isAgreed(world, leader, core);
    },
  );
}

function isAgreed(world: World, leader: Member, core: readonly Member[]): boolean {
  const { status } = leader;
  if (status === null || status.isConfigPending || status.config.outgoing.length > 0) return false;
  if (!status.config.voters.includes(leader.id)) return false;
  if (lags(status, core)) return false;
  return (
    belonging(status.config, core).every(
      ({ disk, status: own }) =>
        own !== null &&
        own.leaderId === leader.id &&
        disk.current.applied === status.lastIndex &&
        disk.current.machine.hash === leader.disk.current.machine.hash,
    ) && world.recorder.committedIndex === status.lastIndex
  );
}

/** Somebody who lives is not streamed to. */
function lags({ followers, config }: NodeStatus, core: readonly Member[]): boolean {
  const ids = belonging(config, core).map(({ id }) => id);
  return followers.some(({ id, isCaughtUp }) => !isCaughtUp && ids.includes(id));
}

function belonging(config: ClusterConfig, core: readonly Member[]): readonly Member[] {
  const ids = [...config.voters, ...config.learners];
  return core.filter(({ id }) => ids.includes(id));
}

function holdsWhatWasAcknowledged(world: World, core: readonly Member[]): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  for (const command of world.clients.acknowledged) {
    if (!leader.disk.current.machine.has(command)) {
      throw new Violation("safety", `${command} was acknowledged, and ${leader.id} does not know it`);
    }
  }
  const { config } = defined(leader.status, "a leader has a status");
  const known = belonging(config, core).map(({ disk }) => disk.current.machine.hash);
  if (new Set(known).size > 1) throw new Violation("safety", "members that agree hold different states");
}

/**
 * Nothing goes wrong, nobody writes, and one follower does not hear the leader, while everybody hears it; perhaps another
 * has just restarted. Those who hear the leader must keep it.
 */
function keepsItsLeader(world: World, core: readonly Member[]): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  const status = defined(leader.status, "a leader has a status");
  const { electionTicksMax } = world.swarm.timing;
  const voters = core.filter((member) => member !== leader && status.config.voters.includes(member.id));
  const living = voters.length + 1;
  const deaf = world.random.pick(voters);
  // The group must be able to go without the deaf one.
  const isDeafBearable = deaf !== undefined && (living - 1) * 2 > status.config.voters.length;
  if (deaf !== undefined && isDeafBearable) {
    world.note(() => `${deaf.id} does not hear ${leader.id} any more`);
    world.network.cut(leader.id, deaf.id);
    if (world.random.chance(50))
      restartTheOthers(
        world,
        voters.filter((member) => member !== deaf),
      );
  }
  world.runFor(electionTicksMax * UNITS_PER_TICK * 5);
  const now = leader.status;
  if (now === null || now.role !== "leader" || now.term !== status.term) {
    throw new Violation(
      "liveness",
      `${leader.id} led term ${status.term} well, and was deposed while nothing was wrong with it: ${describeStatus(now)}`,
    );
  }
  world.network.healAll();
  if (deaf !== undefined) electsAndAgrees(world, core);
}

/**
 * Again and again, while the deaf one loses its patience: they do not know whom they promised loyalty. Each time they live
 * long enough to answer their leader.
 */
function restartTheOthers(world: World, others: readonly Member[]): void {
  const { heartbeatTicks, electionTicksMin, electionTicksMax } = world.swarm.timing;
  const lifeUnits = heartbeatTicks * UNITS_PER_TICK + 20;
  for (
    let at = electionTicksMin * UNITS_PER_TICK;
    at < electionTicksMax * (UNITS_PER_TICK + 1);
    at += lifeUnits + world.random.integer(0, 20)
  ) {
    world.queue.in(at, () => {
      for (const member of others) {
        world.note(() => `${member.id} restarts at once`);
        member.end();
        member.start();
      }
    });
  }
}

/** Connections that break while nobody writes: the streams must come back by themselves. */
function streamsAgain(world: World, core: readonly Member[]): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  for (const { id } of core) if (id !== leader.id) world.network.reset(leader.id, id);
  world.runFor(world.swarm.timing.heartbeatTicks * UNITS_PER_TICK);
  expectSoon(
    world,
    () => `${leader.id} does not stream to followers that have everything`,
    () => {
      const status = leaderOf(world)?.status;
      return status != null && !lags(status, core);
    },
  );
}

/**
 * Whoever is told to take over is gone, or is not heard: then it stands in a later term than everybody else and must find
 * back. Either way the leader must not wait for it for ever.
 */
function survivesAFailedTransfer(world: World, core: readonly Member[]): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  const { config } = defined(leader.status, "a leader has a status");
  const chosen = world.random.pick(core.filter(({ id }) => id !== leader.id && config.voters.includes(id)));
  const living = core.filter(({ id }) => config.voters.includes(id)).length;
  if (chosen === undefined || (living - 1) * 2 <= config.voters.length) return;
  const isGone = world.random.chance(50);
  if (isGone) chosen.end();
  else for (const { id } of world.members()) if (id !== chosen.id) world.network.cut(chosen.id, id);
  leader.hear(`hands on to ${chosen.id}, who is ${isGone ? "gone" : "not heard"}`, (node) =>
    node.transferLeadership(chosen.id),
  );
  world.runFor(world.swarm.timing.electionTicksMax * UNITS_PER_TICK);
  world.network.healAll();
  if (!isGone) return;
  electsAndAgrees(
    world,
    core.filter((member) => member !== chosen),
  );
  chosen.start();
}

/** A leader that everybody hears and that hears nobody must give way, or the group would wait for it for ever. */
function losesADeafLeader(world: World, core: readonly Member[]): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  const { config, term } = defined(leader.status, "a leader has a status");
  const others = core.filter((member) => member !== leader && config.voters.includes(member.id));
  if (others.length * 2 <= config.voters.length) return;
  world.note(() => `${leader.id} hears nobody any more`);
  for (const { id } of world.members()) if (id !== leader.id) world.network.cut(id, leader.id);
  expectSoon(
    world,
    () => `${leader.id} hears nobody, and nobody takes over`,
    () => world.members().some((member) => member.isLeading && (member.status?.term ?? 0) > term),
  );
  world.network.healAll();
}

function servesReads(world: World): void {
  let isAnswered = false;
  const leader = leaderOf(world);
  if (leader !== undefined) {
    world.clients.readOnce(leader, () => {
      isAnswered = true;
    });
  }
  expectSoon(
    world,
    () => "a leader that everybody follows does not answer a read",
    () => isAnswered,
  );
}

/** With the log compacted to the tip, so that only a snapshot can bring the newcomer up. */
function takesInANewcomer(world: World, core: readonly Member[]): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  compactToTip(leader);
  const { config } = defined(leader.status, "a leader has a status");
  const id = world.newId();
  leader.hear(`shall take in ${id}`, (node) => {
    const answer = node.changeConfig({ voters: config.voters, learners: [...config.learners, id] });
    if (answer.ok && answer.id !== null) world.install(id, node.status().commitIndex);
  });
  expectSoon(
    world,
    () => `a newcomer, ${id}, does not catch up`,
    () => leaderOf(world)?.status?.followers.some((each) => each.id === id && each.isCaughtUp) === true,
  );
  // Counted again when it is to vote.
  const living = core.filter((member) => config.voters.includes(member.id)).length + 1;
  if (config.voters.length >= 7 || living * 2 <= config.voters.length + 1) return;
  expectSoon(
    world,
    () => `a newcomer that has caught up, ${id}, does not become a voter`,
    () => {
      const current = leaderOf(world);
      if (current?.status?.config.voters.includes(id) === true && !current.status.isConfigPending)
        return true;
      current?.hear(null, (node) =>
        node.changeConfig({ voters: [...config.voters, id], learners: config.learners }),
      );
      return false;
    },
  );
}

/** An orderly stop: the leadership goes to somebody else, much faster than by losing it. */
function handsOn(world: World): void {
  const leader = defined(leaderOf(world), "there is a leader by now");
  const { config, term } = defined(leader.status, "a leader has a status");
  const others = world
    .members()
    .filter(({ id, isRunning }) => isRunning && id !== leader.id && config.voters.includes(id));
  if (others.length === 0) return;
  leader.hear("hands on", (node) => node.transferLeadership(null));
  const isHandedOn = world.runUntil(() => {
    const next = leaderOf(world);
    return next !== undefined && next !== leader && (next.status?.term ?? 0) > term;
  }, world.swarm.timing.electionTicksMin * UNITS_PER_TICK);
  if (!isHandedOn) throw new Violation("liveness", `${leader.id} does not get rid of its leadership`);
}
