/**
 * Clients that write and read the failover priorities of members (of all but the last, which may be replaced) through the API, with TLS and a token, and remember
 * what they called, when, and what they were told. Each member has clients of its own, so that one which is cut off is
 * asked on and on.
 *
 * A write that got no answer is repeated through another member under the same Idempotency-Key. What was never answered
 * stays open for ever; what was refused as "nothing was changed" is taken at its word, and forgotten: a reader that sees
 * its value sees a phantom.
 */

import type { MemberDocument } from "../../src/api/documents.ts";
import type { ProblemDocument } from "../../src/api/problem.ts";
import { assert, defined } from "../../src/base/assert.ts";
import type { BlindInput, BlindOutput } from "./blind-register.ts";
import type { ConsensusGroup, GroupMember } from "./consensus-group.ts";
import type { Operation } from "./linearizability.ts";
import { realClock } from "./postgres-clock.ts";
import type { SeededRandom } from "./seeded-random.ts";

/** Before the first write: what a member has that never said otherwise. */
export const FIRST_PRIORITY = 0;

const CLIENTS_PER_MEMBER = 2;
const REQUEST_MS_MAX = 1_500;
const ATTEMPTS_MAX = 3;
/** So many writes are tried once only, and may stay open. */
const IMPATIENT_PERCENT = 30;
const PAUSE_MS_MAX = 30;
const READER_PAUSE_MS = 4;
const TOKEN_PAUSE_MS = 250;
const READ_AT_LAST_MS_MAX = 20_000;

/** Codes with which a member says that it did nothing. */
const NOTHING_WAS_DONE: readonly string[] = ["no-leader", "overloaded", "starting"];

type Answer =
  | { readonly kind: "ok"; readonly body: unknown }
  | { readonly kind: "nothing-happened" }
  | { readonly kind: "unknown" };

interface Acknowledged {
  readonly through: GroupMember;
  readonly calledAt: number;
}

export class RegisterClients {
  readonly history: Operation<BlindInput, BlindOutput>[] = [];
  /** Answers that no fault excuses. */
  readonly wrongs: string[] = [];
  /** Ids of tokens whose making was acknowledged: a set that only grows. */
  readonly tokens: string[] = [];
  readonly #group: ConsensusGroup;
  readonly #members: readonly GroupMember[];
  readonly #keys: readonly string[];
  readonly #random: SeededRandom;
  readonly #startedAtMs: number;
  readonly #acknowledged: Acknowledged[] = [];
  #lastValue = FIRST_PRIORITY;
  #isStopping = false;
  #running: Promise<void>[] = [];

  /** @param startedAtMs from where the times of the history are counted. */
  constructor(group: ConsensusGroup, random: SeededRandom, startedAtMs: number) {
    this.#group = group;
    this.#startedAtMs = startedAtMs;
    this.#members = group.members;
    this.#keys = group.members.slice(0, -1).map(({ name }) => name);
    this.#random = random;
  }

  start(): void {
    assert(this.#running.length === 0, "clients start once");
    for (const member of this.#members) {
      for (let count = 0; count < CLIENTS_PER_MEMBER; count += 1)
        this.#running.push(this.#live(member, this.#random.fork()));
      this.#running.push(this.#readOnly(member, this.#random.fork()));
    }
    this.#running.push(this.#makeTokens(this.#random.fork()));
  }

  /** Returns once each has heard the answer it waits for, or given up. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#running);
  }

  /** A write that was begun after this call is acknowledged through each of these. */
  async untilWritesThrough(members: readonly GroupMember[], deadlineMs: number): Promise<void> {
    const fromMs = this.#nowMs();
    let missing = members;
    while (missing.length > 0) {
      if (this.#nowMs() > fromMs + deadlineMs) {
        const names = missing.map(({ name }) => name).join(", ");
        throw new Error(`no write through ${names} was acknowledged for ${deadlineMs} ms`);
      }
      await realClock.sleep(20);
      missing = members.filter(
        (member) =>
          !this.#acknowledged.some(({ through, calledAt }) => through === member && calledAt >= fromMs),
      );
    }
  }

  /** What each member holds of each key in the end, as part of the history. */
  async readEverything(): Promise<void> {
    for (const member of this.#members) {
      for (const key of this.#keys) {
        const untilMs = this.#nowMs() + READ_AT_LAST_MS_MAX;
        while (!(await this.#read(member, key))) {
          if (this.#nowMs() > untilMs) throw new Error(`${member.name} cannot read in the end`);
          await realClock.sleep(20);
        }
      }
    }
  }

  /** Acknowledged tokens that a member does not know. */
  async missingTokens(member: GroupMember): Promise<readonly string[]> {
    const known = new Set((await member.local.get<{ id: string }[]>("/v1/tokens")).map(({ id }) => id));
    return this.tokens.filter((id) => !known.has(id));
  }

  async #live(home: GroupMember, random: SeededRandom): Promise<void> {
    while (!this.#isStopping) {
      const key = this.#pickKey(random);
      if (random.chance(50)) await this.#read(home, key);
      else
        await this.#write(
          [home, ...random.shuffle(this.#members.filter((each) => each !== home))],
          key,
          random,
        );
      await realClock.sleep(random.integer(1, PAUSE_MS_MAX));
    }
  }

  /** Often, and of one member alone: a leader that does not know yet that it is none is so for a moment only. */
  async #readOnly(home: GroupMember, random: SeededRandom): Promise<void> {
    while (!this.#isStopping) {
      await this.#read(home, this.#pickKey(random));
      await realClock.sleep(READER_PAUSE_MS);
    }
  }

  #nowMs(): number {
    return realClock.nowMs() - this.#startedAtMs;
  }

  #pickKey(random: SeededRandom): string {
    return defined(random.pick(this.#keys), "there are keys");
  }

  /** @returns whether it was answered. */
  async #read(member: GroupMember, key: string): Promise<boolean> {
    const calledAt = this.#nowMs();
    const answer = await this.#send(member, "GET", `/v1/members/${key}?consistency=linearizable`);
    if (answer.kind !== "ok") return false;
    const value = (answer.body as MemberDocument).tags.failoverPriority;
    const output = { kind: "value", value } as const;
    const input = { key, through: member.name, kind: "read" } as const;
    this.history.push({ input, calledAt, answer: { at: this.#nowMs(), output } });
    return true;
  }

  async #write(members: readonly GroupMember[], key: string, random: SeededRandom): Promise<void> {
    this.#lastValue += 1;
    const value = this.#lastValue;
    const through = defined(members[0], "there are members").name;
    const input = { key, through, kind: "write", value } as const;
    const calledAt = this.#nowMs();
    let isOpen = false;
    const attempts = random.chance(IMPATIENT_PERCENT) ? 1 : ATTEMPTS_MAX;
    for (let attempt = 0; attempt < attempts && !(attempt > 0 && this.#isStopping); attempt += 1) {
      if (attempt > 0) await realClock.sleep(random.integer(1, PAUSE_MS_MAX));
      const asked = defined(members[attempt % members.length], "there are members");
      const askedAt = this.#nowMs();
      const body = { failoverPriority: value };
      const answer = await this.#send(asked, "PATCH", `/v1/members/${key}`, body, `write-${value}`);
      if (answer.kind === "ok") {
        this.#acknowledged.push({ through: asked, calledAt: askedAt });
        const output = { kind: "acknowledged" } as const;
        this.history.push({
          input,
          calledAt,
          answer: { at: this.#nowMs(), output },
        });
        return;
      }
      if (answer.kind === "unknown") isOpen = true;
    }
    if (isOpen) this.history.push({ input, calledAt, answer: null });
  }

  async #makeTokens(random: SeededRandom): Promise<void> {
    while (!this.#isStopping) {
      const through = defined(random.pick(this.#members), "there are members");
      const answer = await this.#send(through, "POST", "/v1/tokens", { scope: "viewer" });
      if (answer.kind === "ok") this.tokens.push((answer.body as { id: string }).id);
      await realClock.sleep(TOKEN_PAUSE_MS);
    }
  }

  async #send(
    member: GroupMember,
    method: string,
    path: string,
    body?: unknown,
    idempotencyKey?: string,
  ): Promise<Answer> {
    try {
      const response = await fetch(`https://${member.apiAddress}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${this.#group.access.token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        tls: { ca: this.#group.access.caPem },
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
      });
      if (response.ok) return { kind: "ok", body: await response.json() };
      return this.#refused(member, `${method} ${path}`, response.status, await response.text());
    } catch (error) {
      return { kind: wasNeverSent(error) ? "nothing-happened" : "unknown" };
    }
  }

  #refused(member: GroupMember, what: string, status: number, text: string): Answer {
    const { code, detail } = parseProblem(text);
    if (status === 503 && NOTHING_WAS_DONE.includes(code)) return { kind: "nothing-happened" };
    if (status === 504) return { kind: "unknown" };
    // It knows no token before it belongs to the group.
    if (status === 401 && this.#group.outsiders.has(member)) return { kind: "nothing-happened" };
    this.wrongs.push(`${member.name} answered ${what} with ${status} ${code}: ${detail}`);
    return { kind: "unknown" };
  }
}

function parseProblem(text: string): Pick<ProblemDocument, "code" | "detail"> {
  try {
    return JSON.parse(text) as ProblemDocument;
  } catch {
    // The end of a process can cut an answer off.
    return { code: "no-problem-document", detail: text };
  }
}

/** No connection was made, so nothing can have happened. */
function wasNeverSent(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(ConnectionRefused|ECONNREFUSED|FailedToOpenSocket|EHOSTUNREACH|ENETUNREACH)$/.test(code);
}
