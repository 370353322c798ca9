/**
 * One group, clients that write and read all the while, and one fault after the other: everything that a seed decides
 * (the order of the faults, whom they hit, how long they last) is decided here.
 */

import { expect } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { blindRegister } from "./blind-register.ts";
import { ConsensusGroup, type GroupHost, type GroupMember } from "./consensus-group.ts";
import { checkPerKey } from "./linearizability.ts";
import { realClock } from "./postgres-clock.ts";
import { FIRST_PRIORITY, RegisterClients } from "./register-clients.ts";
import { SeededRandom } from "./seeded-random.ts";

/** What a fault finds. */
export interface Scene {
  readonly group: ConsensusGroup;
  readonly leader: GroupMember;
  readonly term: number;
  /** In an order of the seed's choice. */
  readonly followers: readonly [GroupMember, GroupMember];
  readonly random: SeededRandom;
}

/** What a fault leaves. */
export interface Struck {
  /** Through these, writes must go on while it lasts. */
  readonly able: readonly GroupMember[];
  mend(): unknown;
}

export interface Fault {
  readonly title: string;
  strike(scene: Scene): Promise<Struck> | Struck;
}

export interface TrialOptions {
  readonly seed: number;
  readonly hosts: readonly GroupHost[];
  readonly faults: readonly Fault[];
  /** Before anything runs. */
  prepare?(group: ConsensusGroup): void;
}

/** Longer than an election takes, about as long as a client waits. */
const LASTS_MS = { min: 900, max: 1_500 };
const WRONGS_SHOWN = 5;
const BROKEN_LINES_SHOWN = 40;
const CALM_MS_MAX = 400;
const WRITES_MS_MAX = 20_000;
const EQUAL_MS_MAX = 30_000;
/** So that "linearizable" is said of something. */
const LEAST_OPERATIONS = 200;

/** `MINUTES=30` goes on that long, one trial after the other, each with a group and a seed of its own. */
const MINUTES = Number(process.env["MINUTES"] ?? 0);
/** For one test that repeats trials. */
export const TRIALS_MS_MAX = 170_000 + MINUTES * 60_000;

/** Once, or for MINUTES; with the seed in SEED, or one that is printed. */
export async function repeatTrials(optionsOf: (seed: number) => TrialOptions): Promise<void> {
  const given = process.env["SEED"];
  const untilMs = realClock.nowMs() + MINUTES * 60_000;
  let seed = given === undefined ? Math.floor(Math.random() * 0xffffffff) : Number(given);
  do {
    process.stdout.write(`SEED=${seed}\n`);
    process.stdout.write(`${await runTrial(optionsOf(seed))}\n`);
    seed += 1;
  } while (realClock.nowMs() < untilMs);
}

/**
 * @returns how much was seen.
 * @throws after it has printed the seed, what happened, and the members' logs.
 */
async function runTrial(options: TrialOptions): Promise<string> {
  const trial = new Trial(options);
  try {
    options.prepare?.(trial.group);
    return await trial.run(options.faults);
  } catch (error) {
    process.stdout.write(`\n${trial.describe()}\n`);
    throw error;
  } finally {
    await trial.group.remove();
  }
}

class Trial {
  readonly group: ConsensusGroup;
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #startedAtMs = realClock.nowMs();
  readonly #happened: string[] = [];

  constructor({ seed, hosts }: TrialOptions) {
    this.#seed = seed;
    this.#random = new SeededRandom(seed);
    this.group = new ConsensusGroup(hosts);
  }

  async run(faults: readonly Fault[]): Promise<string> {
    const { members } = this.group;
    await this.group.form();
    const clients = new RegisterClients(this.group, this.#random.fork(), this.#startedAtMs);
    clients.start();
    try {
      await clients.untilWritesThrough(members, WRITES_MS_MAX);
      for (const fault of this.#random.shuffle(faults)) await this.#suffer(fault, clients);
    } finally {
      await clients.stop();
    }
    return this.#judge(clients);
  }

  describe(): string {
    return `SEED=${this.#seed}\n${this.#happened.join("\n")}\n${this.group.describeLogs()}`;
  }

  async #suffer(fault: Fault, clients: RegisterClients): Promise<void> {
    const random = this.#random.fork();
    const lastsMs = random.integer(LASTS_MS.min, LASTS_MS.max);
    const calmMs = random.integer(0, CALM_MS_MAX);
    const { leader, term } = await this.group.agreedLeader();
    const [one, other] = random.shuffle(this.group.othersThan(leader));
    const followers = [defined(one, "two follow"), defined(other, "two follow")] as const;
    this.#say(
      `${fault.title}, for ${lastsMs} ms; in term ${term} ${leader.name} leads, ${followers[0].name} is next`,
    );
    const { able, mend } = await fault.strike({ group: this.group, leader, term, followers, random });
    await Promise.all([clients.untilWritesThrough(able, WRITES_MS_MAX), realClock.sleep(lastsMs)]);
    await mend();
    this.#say("  mended");
    await clients.untilWritesThrough(this.group.members, WRITES_MS_MAX);
    this.#say("  writes go on through all");
    await realClock.sleep(calmMs);
  }

  async #judge(clients: RegisterClients): Promise<string> {
    await clients.readEverything();
    await this.#untilEqual();
    const { history, wrongs } = clients;
    expect(history.length).toBeGreaterThan(LEAST_OPERATIONS);
    const verdict = checkPerKey(blindRegister(FIRST_PRIORITY), history);
    if (verdict.kind === "broken") throw new Error(shorten(verdict.text));
    expect(verdict.kind).toBe("linearizable");
    for (const member of this.group.members)
      expect(`${member.name} lacks ${await clients.missingTokens(member)}`).toBe(`${member.name} lacks `);
    expect(wrongs.slice(0, WRONGS_SHOWN)).toEqual([]);
    return summary(clients);
  }

  /** The same index, and the same agreed state, on all members. */
  async #untilEqual(): Promise<void> {
    let seen: readonly string[] = [];
    try {
      await this.group.until("all members hold the same", EQUAL_MS_MAX, async () => {
        seen = await Promise.all(this.group.members.map((member) => this.group.agreedBy(member)));
        return new Set(seen).size === 1 && seen[0] !== "";
      });
    } catch (error) {
      throw new Error(`the members differ:\n${seen.join("\n")}`, { cause: error });
    }
  }

  #say(what: string): void {
    const atMs = Math.round(realClock.nowMs() - this.#startedAtMs);
    this.#happened.push(`${atMs} ms: ${what}`);
  }
}

function summary({ history, tokens }: RegisterClients): string {
  const open = history.filter(({ answer }) => answer === null).length;
  const reads = history.filter(({ input }) => input.kind === "read").length;
  return `${reads} reads, ${history.length - reads} writes (${open} left open), ${tokens.length} tokens`;
}

/** What led to a break lies right before it. */
function shorten(text: string): string {
  const [headline = "", ...lines] = text.split("\n");
  return [headline, ...lines.slice(-BROKEN_LINES_SHOWN)].join("\n");
}
