import type { EngineLimits } from "../../../src/raft/engine/limits.ts";
import type { Timing } from "../../../src/raft/engine/state.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";

/** Time units of a tick: what happens within one tick happens in some order, too. */
export const UNITS_PER_TICK = 10;

export interface NetworkWeather {
  readonly delayUnitsMin: number;
  /** Delays are exponential around this. */
  readonly delayUnitsMean: number;
  readonly dropPercent: number;
  readonly duplicatePercent: number;
  /** Messages that arrive long after anybody expects them. */
  readonly stragglerPercent: number;
  /** Like a connection: what was sent first arrives first. */
  readonly isOrdered: boolean;
  /** Messages that one direction between two members holds; more are dropped. */
  readonly capacity: number;
}

export interface DiskWeather {
  readonly latencyUnitsMax: number;
  /** Of transactions that take very long. */
  readonly hangPercent: number;
  readonly hangUnitsMax: number;
}

/** Each kind of misfortune, and its weight among the others; 0: not in this world. */
export interface Misfortunes {
  readonly kill: number;
  readonly loseAllPower: number;
  readonly crashWritingLeader: number;
  readonly failDisk: number;
  readonly fillDisk: number;
  readonly isolateLeader: number;
  readonly partition: number;
  readonly partitionOneWay: number;
  readonly swizzle: number;
  readonly resetConnections: number;
  readonly pause: number;
  readonly slowDisk: number;
  readonly wipe: number;
  readonly rot: number;
  readonly transfer: number;
  readonly compactToTip: number;
  readonly electionStorm: number;
  readonly quiet: number;
}

export interface Swarm {
  readonly seed: number;
  /** How many voters a group begins with, and how many the operator wants to have. */
  readonly voterCountAtStart: number;
  readonly voterCountMax: number;
  readonly learnerCountMax: number;
  readonly timing: Timing;
  readonly limits: Partial<EngineLimits>;
  readonly safetyUnits: number;
  readonly network: NetworkWeather;
  readonly disk: DiskWeather;
  readonly misfortunes: Misfortunes;
  /** Mean time between two misfortunes. */
  readonly misfortuneUnits: number;
  /** Mean time between two wishes of the operator. */
  readonly operatorUnits: number;
  readonly clientCount: number;
  readonly clientPauseUnits: number;
  readonly clientPatienceUnits: number;
  readonly readPercent: number;
  readonly keyCount: number;
  /** Length of a tick, apart from the others by up to this. */
  readonly clockSkewUnits: number;
  /** A member collects what comes in for up to this long, and handles it in one turn. */
  readonly turnUnits: number;
}

/** Tiny, so that windows fill, caches miss and logs are compacted under everybody's feet. */
function tinyLimits(random: SeededRandom): Partial<EngineLimits> {
  return {
    appendBytesMax: random.pick([1, 30, 200]) ?? 1,
    appendEntriesMax: random.integer(1, 4),
    inflightMessagesMax: random.integer(1, 3),
    inflightBytesMax: random.pick([1, 60, 1_000]) ?? 1,
    uncommittedBytesMax: random.pick([60, 300, 5_000]) ?? 60,
    applyBytesMax: random.pick([1, 40, 1_000]) ?? 1,
    cachedEntriesMax: random.integer(1, 6),
    readsMax: random.integer(1, 8),
    trailingEntries: random.integer(0, 6),
    compactEveryEntries: random.integer(1, 10),
  };
}

/** Everything about a world that its seed decides beforehand: most worlds have only some of what may go wrong. */
export function drawSwarm(seed: number, random: SeededRandom): Swarm {
  const heartbeatTicks = random.integer(2, 3);
  const electionTicksMin = random.integer(10, 14);
  const voterCountMax = random.pick([1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7]) ?? 3;
  const isGrown = random.chance(70);
  return {
    seed,
    voterCountAtStart: isGrown ? voterCountMax : 1,
    voterCountMax,
    learnerCountMax: random.pick([0, 0, 1, 2]) ?? 0,
    timing: { heartbeatTicks, electionTicksMin, electionTicksMax: electionTicksMin + random.integer(6, 12) },
    limits: random.chance(60)
      ? tinyLimits(random)
      : { trailingEntries: random.integer(0, 30), compactEveryEntries: random.integer(5, 40) },
    safetyUnits: random.integer(4_000, 10_000),
    network: drawNetwork(random),
    disk: {
      latencyUnitsMax: random.pick([0, 2, 10, 30]) ?? 0,
      hangPercent: random.pick([0, 0, 0.5, 3]) ?? 0,
      hangUnitsMax: random.pick([100, 400]) ?? 100,
    },
    misfortunes: drawMisfortunes(random),
    misfortuneUnits: random.pick([60, 120, 300]) ?? 120,
    operatorUnits: random.pick([80, 200, 600]) ?? 200,
    clientCount: random.integer(2, 8),
    clientPauseUnits: random.pick([5, 20, 80]) ?? 20,
    clientPatienceUnits: random.pick([60, 200, 600]) ?? 200,
    readPercent: random.pick([10, 30, 60]) ?? 30,
    keyCount: random.integer(1, 4),
    clockSkewUnits: random.pick([0, 1, 3]) ?? 0,
    turnUnits: random.pick([0, 0, 2, 8]) ?? 0,
  };
}

function drawNetwork(random: SeededRandom): NetworkWeather {
  return {
    delayUnitsMin: random.pick([0, 1, 5]) ?? 1,
    delayUnitsMean: random.pick([2, 8, 25]) ?? 2,
    dropPercent: random.pick([0, 0, 2, 10, 25]) ?? 0,
    duplicatePercent: random.pick([0, 0, 5, 30]) ?? 0,
    stragglerPercent: random.pick([0, 1, 5]) ?? 0,
    isOrdered: random.chance(30),
    capacity: random.pick([3, 20, 200]) ?? 200,
  };
}

function drawMisfortunes(random: SeededRandom): Misfortunes {
  const weight = (percent: number): number => (random.chance(percent) ? random.integer(1, 10) : 0);
  return {
    kill: weight(60),
    loseAllPower: weight(20),
    crashWritingLeader: weight(60),
    failDisk: weight(25),
    fillDisk: weight(25),
    isolateLeader: weight(60),
    partition: weight(50),
    partitionOneWay: weight(40),
    swizzle: weight(30),
    resetConnections: weight(40),
    pause: weight(40),
    slowDisk: weight(30),
    wipe: weight(30),
    rot: weight(20),
    transfer: weight(40),
    compactToTip: weight(40),
    electionStorm: weight(30),
    quiet: weight(50),
  };
}
