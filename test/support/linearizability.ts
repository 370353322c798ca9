/**
 * Is what clients saw the same as if one operation after the other had happened, each at one moment between its call and
 * its answer? The algorithm is that of Wing and Gong with Lowe's memory of where the search has been, as Porcupine does
 * it: walk through calls and answers in the order of time; whatever has been called may take effect next; an answer that
 * comes before its effect means that the last choice was wrong.
 *
 * Operations on different keys do not know each other, so each key is searched alone (`checkPerKey`): the search grows
 * with what is concurrent on one key, not with all of history.
 */

import { assert, defined } from "../../src/base/assert.ts";

/** What one client called, and what it was told. */
export interface Operation<Input, Output> {
  readonly input: Input;
  readonly calledAt: number;
  /**
   * Null: the client gave up waiting. The operation may take effect at any time after its call, or never: its outcome
   * stays open to the end of history.
   */
  readonly answer: { readonly at: number; readonly output: Output } | null;
}

export type History<Input, Output> = readonly Operation<Input, Output>[];

/** What the thing is that clients believe to talk to. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /** The state after `input`; null if `output` cannot be the answer in this state. Any `output` may be for null. */
  step(state: State, input: Input, output: Output | null): State | null;
  /** States with the same key behave alike. */
  keyOf(state: State): string;
  /** Drops open operations whose effect nobody can have seen: each that stays doubles the search. */
  withoutUnseen(history: History<Input, Output>): History<Input, Output>;
  /**
   * Whether a state can lead to all the answers of a history; without it the search tries every order of what is open.
   * Only states that no order of this history passes through may be ruled out.
   */
  rulesOut?(history: History<Input, Output>): (state: State) => boolean;
  describe(input: Input, output: Output | null): string;
}

export type Verdict<Input, Output> =
  | { readonly kind: "linearizable" }
  /** `prefix`: as much of history as is needed to see it, with the answer that fits nowhere last. */
  | { readonly kind: "broken"; readonly prefix: History<Input, Output>; readonly text: string }
  /** The search grew beyond its limit. */
  | { readonly kind: "undecided" };

/** States visited in one search: enough for thousands of operations of which few are concurrent. */
const VISITED_MAX = 1_000_000;

/** Searches one history (of one key). */
export function checkHistory<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: History<Input, Output>,
): Verdict<Input, Output> {
  const first = search(model, model.withoutUnseen(history));
  if (first.outcome !== "none") return { kind: first.outcome === "found" ? "linearizable" : "undecided" };
  const prefix = shortestBroken(model, history);
  return { kind: "broken", prefix, text: explain(model, prefix) };
}

/** Searches each key alone; the first key that is broken is the verdict. */
export function checkPerKey<State, Input extends { readonly key: string }, Output>(
  model: Model<State, Input, Output>,
  history: History<Input, Output>,
): Verdict<Input, Output> {
  let isUndecided = false;
  for (const [, operations] of Map.groupBy(history, ({ input }) => input.key)) {
    const verdict = checkHistory(model, operations);
    if (verdict.kind === "broken") return verdict;
    if (verdict.kind === "undecided") isUndecided = true;
  }
  return { kind: isUndecided ? "undecided" : "linearizable" };
}

// --- The search -----------------------------------------------------------------------------------------------------

interface Found {
  readonly outcome: "found" | "none" | "gave-up";
  /** The longest order that fits, as positions in the history. */
  readonly longest: readonly number[];
}

interface Choice<State> {
  readonly call: number;
  readonly before: State;
}

function search<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: History<Input, Output>,
): Found {
  const timeline = new Timeline(history);
  const visited = new Set<string>();
  const isRuledOut = model.rulesOut?.(history) ?? (() => false);
  const choices: Choice<State>[] = [];
  let state = model.initial;
  let longest: readonly number[] = [];
  let at = timeline.first;
  while (timeline.awaited > 0) {
    const operation = timeline.callAt(at);
    if (operation !== null) {
      const { input, answer } = defined(history[operation], "a call is of an operation");
      const after = model.step(state, input, answer === null ? null : answer.output);
      if (
        after !== null &&
        !isRuledOut(after) &&
        isNew(visited, timeline.keyWith(operation), model.keyOf(after))
      ) {
        if (visited.size > VISITED_MAX) return { outcome: "gave-up", longest };
        choices.push({ call: at, before: state });
        timeline.lift(at);
        state = after;
        at = timeline.first;
        continue;
      }
      at = timeline.after(at);
      continue;
    }
    // An answer whose operation has not taken effect.
    if (choices.length > longest.length) longest = choices.map(({ call }) => timeline.operationOf(call));
    const wrong = choices.pop();
    if (wrong === undefined) return { outcome: "none", longest };
    timeline.putBack(wrong.call);
    state = wrong.before;
    at = timeline.after(wrong.call);
  }
  return { outcome: "found", longest };
}

function isNew(visited: Set<string>, done: string, state: string): boolean {
  const key = `${done}|${state}`;
  if (visited.has(key)) return false;
  visited.add(key);
  return true;
}

/**
 * Calls and answers in the order of time, as a list from which operations are lifted once they have taken effect.
 * Position 0 stands before everything.
 */
class Timeline {
  /** Completed operations that have not taken effect. */
  awaited = 0;
  readonly #operation: number[] = [-1];
  readonly #isCall: boolean[] = [false];
  readonly #next: number[] = [];
  readonly #previous: number[] = [];
  /** By operation: where its answer stands; 0 if it has none. */
  readonly #answer: number[] = [];
  readonly #done: Uint32Array;

  constructor(history: History<unknown, unknown>) {
    const events = history.flatMap(({ calledAt, answer }, operation) => {
      assert(answer === null || answer.at >= calledAt, "nothing is answered before it is called");
      const call = { operation, time: calledAt, isCall: true };
      return answer === null ? [call] : [call, { operation, time: answer.at, isCall: false }];
    });
    // At the same moment calls come first: what touches is concurrent.
    events.sort((a, b) => a.time - b.time || Number(b.isCall) - Number(a.isCall));
    for (const { operation, isCall } of events) {
      this.#operation.push(operation);
      this.#isCall.push(isCall);
      if (!isCall) this.#answer[operation] = this.#operation.length - 1;
    }
    for (let at = 0; at < this.#operation.length; at += 1) {
      this.#next.push(at + 1);
      this.#previous.push(at - 1);
    }
    this.awaited = history.filter(({ answer }) => answer !== null).length;
    this.#done = new Uint32Array(Math.ceil(history.length / 32));
  }

  get first(): number {
    return this.after(0);
  }

  after(at: number): number {
    return this.#next[at] ?? 0;
  }

  operationOf(at: number): number {
    return this.#operation[at] ?? -1;
  }

  /** Null: at `at` stands an answer. */
  callAt(at: number): number | null {
    assert(at < this.#operation.length, "an awaited answer stands before the end");
    return this.#isCall[at] === true ? this.operationOf(at) : null;
  }

  /** Which operations have taken effect, if `operation` does. */
  keyWith(operation: number): string {
    this.#flip(operation);
    const key = this.#done.join();
    this.#flip(operation);
    return key;
  }

  lift(call: number): void {
    const operation = this.operationOf(call);
    this.#flip(operation);
    this.#unlink(call);
    const answer = this.#answer[operation];
    if (answer === undefined) return;
    this.#unlink(answer);
    this.awaited -= 1;
  }

  /** In the reverse order of lifting. */
  putBack(call: number): void {
    const operation = this.operationOf(call);
    const answer = this.#answer[operation];
    if (answer !== undefined) {
      this.#relink(answer);
      this.awaited += 1;
    }
    this.#relink(call);
    this.#flip(operation);
  }

  #flip(operation: number): void {
    const word = operation >>> 5;
    this.#done[word] = (this.#done[word] ?? 0) ^ (1 << (operation & 31));
  }

  #unlink(at: number): void {
    const before = this.#previous[at] ?? 0;
    const after = this.#next[at] ?? 0;
    this.#next[before] = after;
    this.#previous[after] = before;
  }

  #relink(at: number): void {
    this.#next[this.#previous[at] ?? 0] = at;
    this.#previous[this.#next[at] ?? 0] = at;
  }
}

// --- Telling people -------------------------------------------------------------------------------------------------

/** Cut after its n-th answer: what was called by then, with later answers still open. */
function cutAfter<Input, Output>(
  history: History<Input, Output>,
  moment: number,
): readonly Operation<Input, Output>[] {
  return history
    .filter(({ calledAt }) => calledAt <= moment)
    .map((operation) =>
      operation.answer !== null && operation.answer.at <= moment ? operation : { ...operation, answer: null },
    );
}

/** A longer history of a broken one is broken, so the first answer that breaks it is found by halving. */
function shortestBroken<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: History<Input, Output>,
): History<Input, Output> {
  const moments = history.flatMap(({ answer }) => (answer === null ? [] : [answer.at])).sort((a, b) => a - b);
  let low = 0;
  let high = moments.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const cut = cutAfter(history, defined(moments[middle], "the middle lies within"));
    if (search(model, model.withoutUnseen(cut)).outcome === "none") high = middle;
    else low = middle + 1;
  }
  const cut = cutAfter(history, defined(moments[low], "a broken history has an answer"));
  return model.withoutUnseen(cut);
}

function explain<State, Input, Output>(
  model: Model<State, Input, Output>,
  prefix: History<Input, Output>,
): string {
  const { longest } = search(model, prefix);
  const line = ({ input, calledAt, answer }: Operation<Input, Output>): string =>
    `${calledAt}-${answer?.at ?? "?"} ${model.describe(input, answer === null ? null : answer.output)}`;
  const left = prefix.filter((_, at) => !longest.includes(at));
  return [
    "not linearizable; the longest order that fits (called-answered, what):",
    ...longest.map((at) => `  ${line(defined(prefix[at], "an order is of operations"))}`),
    "after which these fit nowhere:",
    ...left.map((operation) => `  ${line(operation)}`),
  ].join("\n");
}
