import { defined } from "../../../src/base/assert.ts";
import { checkHistory, type Operation, type Verdict } from "../../support/linearizability.ts";
import {
  LIST,
  type ListInput,
  type ListOutput,
  REGISTER,
  type RegisterInput,
  type RegisterOutput,
} from "../../support/linearizability-models.ts";
import type { SeededRandom } from "../../support/seeded-random.ts";
import type { EventQueue } from "./event-queue.ts";
import { type Command, encodeCommand } from "./machine.ts";
import type { Member } from "./member.ts";
import { Violation } from "./recorder.ts";
import type { Swarm } from "./swarm.ts";

/** What clients need of the world. */
export interface Services {
  readonly queue: EventQueue;
  readonly swarm: Swarm;
  members(): readonly Member[];
  note(text: () => string): void;
}

type Input = RegisterInput | ListInput;

/** One operation of one client, over all its attempts. */
interface Call {
  readonly id: string;
  readonly input: Input;
  readonly calledAt: number;
  /** Attempts that were taken and whose end is not known. */
  openAttempts: number;
  attempts: number;
  isOver: boolean;
}

interface Recorded {
  readonly input: Input;
  readonly calledAt: number;
  readonly answer: { readonly at: number; readonly output: string } | null;
}

const ATTEMPTS_MAX = 4;

/**
 * Clients that write, compare and read, one operation after the other. An operation whose answer does not come in time is
 * left open, or tried again at another member under the same id, which makes it happen at most once.
 */
export class Clients {
  readonly #services: Services;
  readonly #random: SeededRandom;
  readonly #history: Recorded[] = [];
  /** Not over. */
  readonly #calls = new Set<Call>();
  /** Orders calls and answers: two that happen at the same virtual time still come one after the other. */
  #moment = 0;
  #serial = 0;
  #readSerial = 0;
  #isStopped = false;
  /** Commands that were answered. */
  readonly acknowledged = new Set<string>();
  /** Commands that every member that took them said would never happen. */
  readonly lost = new Set<string>();
  answeredReads = 0;
  /** Histories whose search for a linear order grew too large. */
  undecidedKeys = 0;
  openCount = 0;

  constructor(services: Services, random: SeededRandom) {
    this.#services = services;
    this.#random = random;
  }

  start(): void {
    for (let client = 0; client < this.#services.swarm.clientCount; client += 1) this.#callNext();
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** One more write, whatever the others do; `onDone` if it is answered. */
  writeOnce(member: Member, onDone: () => void): void {
    const call = this.#begin({ key: "register-0", kind: "write", value: `v${this.#serial + 1}` });
    this.#attempt(call, member, onDone);
  }

  /** Many writes at once, which nobody waits for: a tail for whoever takes them. */
  burst(member: Member, count: number): void {
    const key = `register-${this.#random.integer(0, this.#services.swarm.keyCount - 1)}`;
    const calls = Array.from({ length: count }, () =>
      this.#begin({ key, kind: "write", value: `v${this.#serial + 1}` }),
    );
    for (const call of calls) call.openAttempts += 1;
    const commands = calls.map(({ id, input }) => encodeCommand(commandOf(id, input)));
    member.propose(commands, (at, outcome) => {
      const call = calls[at];
      if (call === undefined || outcome.kind === "unknown") return;
      call.openAttempts -= 1;
      this.#finish(call, outcome.kind === "done" ? outcome.answer : null);
    });
  }

  /** One more read. */
  readOnce(member: Member, onDone: () => void): void {
    const call = this.#begin({ key: "register-0", kind: "read" });
    this.#attempt(call, member, onDone);
  }

  /** @throws {Violation} if what clients saw could not have happened one after the other. */
  check(): void {
    const open = [...this.#calls].flatMap(({ input, calledAt }): Recorded[] =>
      input.kind === "read" ? [] : [{ input, calledAt, answer: null }],
    );
    const keys = Map.groupBy([...this.#history, ...open], ({ input }) => input.key);
    for (const [key, operations] of keys) {
      const verdict = key.startsWith("list") ? checkList(operations) : checkRegister(operations);
      if (verdict.kind === "broken") throw new Violation("safety", verdict.text);
      // Too much was open at once to say; the other promises were checked all the same.
      if (verdict.kind === "undecided") this.undecidedKeys += 1;
    }
  }

  // --- One operation after the other --------------------------------------------------------------------------------

  #callNext(): void {
    const { queue, swarm } = this.#services;
    queue.in(1 + this.#random.exponential(swarm.clientPauseUnits), () => {
      if (this.#isStopped) return;
      const call = this.#begin(this.#anyInput());
      this.#attempt(call, this.#anyMember(), () => this.#callNext());
      this.#wait(call);
    });
  }

  #wait(call: Call): void {
    const { queue, swarm } = this.#services;
    queue.in(swarm.clientPatienceUnits, () => {
      if (call.isOver) return;
      if (call.attempts < ATTEMPTS_MAX && !this.#isStopped && this.#random.chance(60)) {
        this.#attempt(call, this.#anyMember(), () => this.#callNext());
        this.#wait(call);
        return;
      }
      this.#finish(call, null);
      this.#callNext();
    });
  }

  #begin(input: Input): Call {
    this.#serial += 1;
    this.#moment += 1;
    const id = `c${this.#serial}`;
    const call = { id, input, calledAt: this.#moment, openAttempts: 0, attempts: 0, isOver: false };
    this.#calls.add(call);
    return call;
  }

  #attempt(call: Call, member: Member, onDone: () => void): void {
    call.attempts += 1;
    if (call.input.kind === "read") {
      this.#readSerial += 1;
      member.read(this.#readSerial, call.input.key, (value) => {
        if (value === null || call.isOver) return;
        this.answeredReads += 1;
        this.#finish(call, value);
        this.#services.queue.in(0, onDone);
      });
      return;
    }
    call.openAttempts += 1;
    member.propose([encodeCommand(commandOf(call.id, call.input))], (_at, outcome) => {
      if (outcome.kind === "unknown") return;
      call.openAttempts -= 1;
      if (outcome.kind === "lost" || call.isOver) return;
      this.#finish(call, outcome.answer);
      this.#services.queue.in(0, onDone);
    });
  }

  #finish(call: Call, output: string | null): void {
    call.isOver = true;
    this.#calls.delete(call);
    this.#moment += 1;
    const { id, input, calledAt } = call;
    this.#services.note(() => `client: ${id} ${input.kind} ${input.key} -> ${output ?? "no answer"}`);
    if (output === null) {
      if (input.kind === "read") return;
      if (call.openAttempts === 0) {
        // Not open but undone: nobody has it any more, and nobody may ever see it.
        this.lost.add(id);
        return;
      }
      this.openCount += 1;
    } else if (input.kind !== "read") {
      this.acknowledged.add(id);
    }
    this.#history.push({ input, calledAt, answer: output === null ? null : { at: this.#moment, output } });
  }

  #anyInput(): Input {
    const random = this.#random;
    const { keyCount, readPercent } = this.#services.swarm;
    const value = `v${this.#serial + 1}`;
    const number = random.integer(0, keyCount - 1);
    if (random.chance(25)) {
      const key = `list-${number}`;
      return random.chance(readPercent) ? { key, kind: "read" } : { key, kind: "append", value };
    }
    const key = `register-${number}`;
    if (random.chance(readPercent)) return { key, kind: "read" };
    if (random.chance(60)) return { key, kind: "write", value };
    return { key, kind: "compare-and-set", expected: this.#lastSeen(key), value };
  }

  #lastSeen(key: string): string {
    const last = this.#history.findLast(({ input, answer }) => input.key === key && answer !== null);
    if (last === undefined) return "";
    return last.input.kind === "write" ? last.input.value : defined(last.answer, "it was answered").output;
  }

  /** Mostly somebody who believes to lead, rightly or not: what an isolated leader takes must not survive it. */
  #anyMember(): Member {
    const members = this.#services.members();
    const leading = members.filter(({ isLeading }) => isLeading);
    const from = leading.length > 0 && this.#random.chance(85) ? leading : members;
    return defined(this.#random.pick(from), "there is always a member");
  }
}

function commandOf(id: string, input: Input): Command {
  if (input.kind === "read") throw new Error("a read is no command");
  const expected = input.kind === "compare-and-set" ? input.expected : "";
  return { id, kind: input.kind, key: input.key, value: input.value, expected };
}

function checkRegister(operations: readonly Recorded[]): Verdict<RegisterInput, RegisterOutput> {
  return checkHistory(
    REGISTER,
    operations.map(({ input, calledAt, answer }): Operation<RegisterInput, RegisterOutput> => {
      if (input.kind === "append") throw new Error("a register is not appended to");
      return { input, calledAt, answer: answer && { at: answer.at, output: { before: answer.output } } };
    }),
  );
}

function checkList(operations: readonly Recorded[]): Verdict<ListInput, ListOutput> {
  return checkHistory(
    LIST,
    operations.map(({ input, calledAt, answer }): Operation<ListInput, ListOutput> => {
      if (input.kind !== "append" && input.kind !== "read") throw new Error("a list is not overwritten");
      return { input, calledAt, answer: answer && { at: answer.at, output: { list: answer.output } } };
    }),
  );
}
