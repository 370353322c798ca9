/**
 * When Raft's clock has to move, and by how many ticks. A member that sleeps costs nothing, so it wakes as rarely as its
 * role allows; and time during which the process stood still is not counted, or a paused follower would wake up and
 * depose a leader whose heartbeats wait in its sockets.
 */
import type { Timing as SpecTiming } from "../cluster/spec.ts";

/** Fine enough for every heartbeat interval; coarse ones would also make time-outs equal. */
export const TICK_MS = 5;
/** How often a member looks while it has no leader, or has not heard it for two heartbeats. */
const WATCHFUL_MS = 10;

/** A follower sleeps this many heartbeats: fewer than the five that an election takes at least, so it is never late. */
const FOLLOWER_SLEEP_HEARTBEATS = 4;

/** What a member waits for: to send heartbeats, to miss them, or an election. */
export type TickMode = "leading" | "following" | "watchful";

export interface TickTiming {
  readonly heartbeatTicks: number;
  readonly electionTicksMin: number;
  readonly electionTicksMax: number;
}

/** The cluster's timing in ticks. */
export function ticksOf({ heartbeatMs, electionMsMin, electionMsMax }: SpecTiming): TickTiming {
  return {
    heartbeatTicks: Math.max(1, Math.round(heartbeatMs / TICK_MS)),
    electionTicksMin: Math.max(1, Math.round(electionMsMin / TICK_MS)),
    electionTicksMax: Math.max(1, Math.round(electionMsMax / TICK_MS)),
  };
}

export interface DueTicks {
  /** While the process was awake, and at most one for the time by which it woke too late: patience counts these. */
  readonly ticks: number;
  /** The rest of the time by which it woke too late: a leader's authority lapses with it all the same. */
  readonly lostTicks: number;
}

export class TickSchedule {
  /** Everything before this moment has been counted. */
  #countedToMs: number;
  #wakeAtMs: number;
  /** By which this thread woke too late, and which was not handed out yet. */
  #lostMs = 0;

  constructor(nowMs: number) {
    this.#countedToMs = nowMs;
    this.#wakeAtMs = nowMs;
  }

  /** A leader was heard: what was quiet before does not count. */
  leaderHeard(nowMs: number): void {
    this.#countedToMs = Math.max(this.#countedToMs, nowMs);
  }

  /** For how long to sleep now, in milliseconds. */
  plan(nowMs: number, mode: TickMode, heartbeatTicks: number): number {
    this.#loseLateness(nowMs);
    const heartbeatMs = heartbeatTicks * TICK_MS;
    const wakeAtMs = {
      leading: this.#countedToMs + heartbeatMs,
      following: this.#countedToMs + FOLLOWER_SLEEP_HEARTBEATS * heartbeatMs,
      watchful: nowMs + WATCHFUL_MS,
    }[mode];
    this.#wakeAtMs = Math.max(wakeAtMs, nowMs);
    return this.#wakeAtMs - nowMs;
  }

  /** The process stood still: let the sockets speak before any tick. */
  isLate(nowMs: number): boolean {
    return nowMs > this.#wakeAtMs + TICK_MS;
  }

  /** By how much a wake-up at `nowMs` is later than planned. */
  lateMs(nowMs: number): number {
    return Math.max(0, nowMs - this.#wakeAtMs);
  }

  /** What has passed since the last time. */
  takeDue(nowMs: number): DueTicks {
    this.#loseLateness(nowMs);
    const ticks = Math.max(0, Math.floor((nowMs - this.#countedToMs) / TICK_MS));
    const lostTicks = Math.floor(this.#lostMs / TICK_MS);
    this.#countedToMs += ticks * TICK_MS;
    this.#lostMs = 0;
    return { ticks, lostTicks };
  }

  /** Once for each delay, whoever notices it first: what came out of the sockets may bring a new plan before any tick. */
  #loseLateness(nowMs: number): void {
    if (!this.isLate(nowMs)) return;
    const lostMs = nowMs - (this.#wakeAtMs + TICK_MS);
    this.#lostMs += lostMs;
    this.#countedToMs = Math.min(this.#countedToMs + lostMs, nowMs);
    this.#wakeAtMs = nowMs;
  }
}
