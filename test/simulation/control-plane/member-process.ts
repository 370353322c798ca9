/**
 * One life of a member's process: production's loops of leader and member, which see models of everything around them.
 *
 * Whatever reaches it comes in here: a message, an answer, the end of a sleep. While it is frozen that waits; once it is dead
 * it is lost. After each nothing is left to do before the next comes in, so that one seed gives one history.
 */
import { drainMicrotasks } from "bun:jsc";
import { LeaderLoop } from "../../../src/agent/leader-loop.ts";
import type { LeaseGrant } from "../../../src/agent/lease-grants.ts";
import { MemberLoop } from "../../../src/agent/member-loop.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type { Epoch } from "../../../src/base/ids.ts";
import type { Log, LogFields } from "../../../src/base/log.ts";
import { err, ok, type Result } from "../../../src/base/result.ts";
import { ObservationBoard } from "../../../src/main/observation-board.ts";
import type { Group } from "./group.ts";
import type { Host } from "./host.ts";
import type { Invariants } from "./invariants.ts";
import { dishonest, honestGrant } from "./leader-sabotage.ts";
import { ModelConsensus } from "./model-consensus.ts";
import { ModelProbePort, ModelSupervisorPort } from "./model-ports.ts";
import type { World } from "./world.ts";

/** What a process of a host's owner says before a switchover: now and then, no. */
const REFUSED_HAND_OVERS = 0.1;

export class MemberProcess {
  readonly bootId: string;
  readonly board: ObservationBoard;
  readonly consensus: ModelConsensus;
  readonly #world: World;
  readonly #host: Host;
  readonly #member: MemberLoop;
  readonly #leader: LeaderLoop;
  readonly #supervisor: ModelSupervisorPort;
  #isFrozen = false;
  #isDead = false;
  /** What came in while it was frozen. */
  #held: (() => void)[] = [];

  constructor(world: World, invariants: Invariants, group: Group, host: Host) {
    this.#world = world;
    this.#host = host;
    this.bootId = `${host.lives}`;
    this.board = new ObservationBoard(host.id);
    this.consensus = new ModelConsensus(world, invariants, group, host, this);
    this.#supervisor = new ModelSupervisorPort(world, invariants, host, this);
    const clock = this.#clock();
    const log = this.#log(invariants);
    const consensus = dishonest(world, this.consensus);
    this.#leader = new LeaderLoop({
      selfId: host.id,
      consensus,
      clock,
      log,
      newId: () => world.newCommandId(),
      grantHere: (grant) => void this.takeLease(honestGrant(world, grant)),
      mayHandOver: () => this.#askOwner(),
    });
    this.#member = new MemberLoop({
      selfId: host.id,
      bootId: this.bootId,
      life: host.lives,
      version: "model",
      consensus: this.consensus,
      leading: () => this.#leader.decision,
      local: {
        supervisor: this.#supervisor,
        probe: new ModelProbePort(world, host, this),
        settings: { listenAddresses: "*", port: 5432, socketDirectory: "/tmp" },
        hashSettings: (settings) => JSON.stringify(settings),
      },
      hooks: null,
      clock,
      log,
    });
    this.enter(() => {
      this.#leader.start();
      this.#member.start();
    });
  }

  // --- Its life ------------------------------------------------------------------------------------------------------

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /** Something comes in. */
  enter(happen: () => void): void {
    if (this.#isDead) return;
    if (this.#isFrozen) {
      this.#held.push(happen);
      return;
    }
    happen();
    drainMicrotasks();
  }

  /** The same for what others send: much of what comes while it is frozen, nobody keeps for it. */
  hears(happen: () => void): void {
    if (!this.#isFrozen || this.#world.chance.is(0.3)) this.enter(happen);
  }

  freeze(): void {
    this.#isFrozen = true;
  }

  thaw(): void {
    this.#isFrozen = false;
    const held = this.#held;
    this.#held = [];
    for (const happen of held) this.enter(happen);
  }

  end(): void {
    this.#isDead = true;
    this.#held = [];
  }

  // --- What comes in -------------------------------------------------------------------------------------------------

  /** The leader's grant; the answer is nobody's business but the supervisor's. */
  async takeLease(grant: LeaseGrant): Promise<void> {
    try {
      await this.#member.takeLease(grant);
    } catch (error) {
      this.#world.note(`${this.#host.name} does not take a lease: ${String(error)}`);
    }
  }

  /** The postmaster ended, by whoever's hand. */
  hearOfAnEnd(): void {
    this.#supervisor.tell({ kind: "postmaster-exited", code: null, signal: "SIGKILL" });
  }

  /** The newest epoch whose primary this member wanted to stop for a switchover. */
  handedOver = 0 as Epoch;

  // --- Ports ---------------------------------------------------------------------------------------------------------

  #clock(): Clock {
    const world = this.#world;
    const host = this.#host;
    return {
      nowMs: () => world.hostMs(host),
      wallMs: () => world.wallMs(host),
      sleep: (durationMs, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) {
            reject(signal.reason);
            return;
          }
          signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
          world.later(host, durationMs / host.clock.rate, () => this.enter(resolve));
        }),
    };
  }

  #log(invariants: Invariants): Log {
    const tell = (event: string, { reason, ...fields }: LogFields = {}) => {
      if (typeof reason === "string") invariants.checkReason(reason);
      const rest = Object.values(fields).filter((value) => value !== null);
      this.#world.note(`${this.#host.name} ${event} ${[reason ?? "", ...rest].join(" ")}`);
    };
    return { error: tell, warn: tell, info: tell, debug: () => {} };
  }

  #askOwner(): Promise<Result<null, string>> {
    const { chance } = this.#world;
    const answer = chance.is(REFUSED_HAND_OVERS) ? err("not now") : ok(null);
    return new Promise((resolve) => {
      this.#world.later(this.#host, chance.share() * 200, () => this.enter(() => resolve(answer)));
    });
  }
}
