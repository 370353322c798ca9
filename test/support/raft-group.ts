import { defined } from "../../src/base/assert.ts";
import type { MemberId } from "../../src/base/ids.ts";
import { Bench, type BenchOptions, M1, M2, M3, M4, M5, TIMING } from "./raft-bench.ts";

export const SEVEN: readonly MemberId[] = [M1, M2, M3, M4, M5, "m6" as MemberId, "m7" as MemberId];

/** Several members on benches side by side. What they say arrives at once, except where a link is cut. */
export class RaftGroup {
  readonly #benches = new Map<MemberId, Bench>();
  /** `from>to`. */
  readonly #cut = new Set<string>();

  constructor(...benches: readonly Bench[]) {
    for (const bench of benches) this.#benches.set(bench.id, bench);
  }

  /** Voters that know each other. Their patience is the longest: none campaigns because a test takes its time. */
  static of(count: number, options: BenchOptions = {}): RaftGroup {
    const voters = SEVEN.slice(0, count);
    return new RaftGroup(
      ...voters.map((id) => new Bench({ voters, integer: (_min, max) => max, ...options, id })),
    );
  }

  get all(): readonly Bench[] {
    return [...this.#benches.values()];
  }

  /** `m1 leader 3`: who is what, in which term. */
  get roles(): readonly string[] {
    return this.all.map(({ id, status }) => `${id} ${status.role} ${status.term}`);
  }

  member(id: MemberId): Bench {
    return defined(this.#benches.get(id), "the member is in the group");
  }

  add(bench: Bench): this {
    this.#benches.set(bench.id, bench);
    return this;
  }

  /** Crashes and starts again; what it had said and was not heard yet is lost. */
  restart(id: MemberId): Bench {
    const bench = this.member(id).restart();
    this.#benches.set(id, bench);
    return bench;
  }

  /** In this direction nothing arrives. */
  cut(from: MemberId, to: MemberId): this {
    this.#cut.add(`${from}>${to}`);
    return this;
  }

  isolate(...ids: readonly MemberId[]): this {
    for (const one of ids) {
      for (const other of this.#benches.keys())
        if (!ids.includes(other)) this.cut(one, other).cut(other, one);
    }
    return this;
  }

  heal(): this {
    this.#cut.clear();
    return this;
  }

  /** Until nobody has anything more to say. Snapshots that a leader wants to send arrive, too, or fail. */
  exchange(): this {
    for (;;) {
      const messages = this.all.flatMap((bench) => bench.settle().take());
      const isQuiet = messages.length === 0 && !this.all.some((bench) => this.#sendSnapshot(bench));
      if (isQuiet) return this;
      for (const message of messages) {
        if (this.#isLinked(message.from, message.to)) this.#benches.get(message.to)?.engine.step(message);
      }
    }
  }

  /** Time passes for everybody, and everybody listens. */
  tick(count = 1): this {
    for (let at = 0; at < count; at += 1) {
      for (const bench of this.all) bench.tick();
      this.exchange();
    }
    return this;
  }

  /** A beat of this leader reaches whom it can reach. */
  beat(leader: MemberId): this {
    this.member(leader).tick(TIMING.heartbeatTicks);
    return this.exchange();
  }

  /** Nobody has heard a leader for a while; then this member asks for votes. */
  elect(id: MemberId): this {
    for (const bench of this.all) {
      if (bench.id !== id) bench.tick(TIMING.electionTicksMin);
      bench.take();
    }
    const candidate = this.member(id);
    for (let tick = 0; tick < 2 * TIMING.electionTicksMax && !candidate.hasSent("pre-vote"); tick += 1) {
      // What it said as a leader a while ago is not what the others hear now.
      candidate.take();
      candidate.tick();
    }
    return this.exchange();
  }

  #isLinked(from: MemberId, to: MemberId): boolean {
    return !this.#cut.has(`${from}>${to}`);
  }

  #sendSnapshot(leader: Bench): boolean {
    const to = leader.snapshotsWanted.shift();
    if (to === undefined) return false;
    if (this.#isLinked(leader.id, to))
      this.#benches.get(to)?.receiveSnapshot(leader.id, leader.status.term, leader.store.snapshot());
    leader.engine.reportSnapshot(to);
    return true;
  }
}
