/** What clients believe to talk to: a register that can be compared and set, and a list that only grows. */

import type { History, Model } from "./linearizability.ts";

export type RegisterInput = { readonly key: string } & (
  | { readonly kind: "read" }
  | { readonly kind: "write"; readonly value: string }
  /** Sets `value` if the register holds `expected`. */
  | { readonly kind: "compare-and-set"; readonly expected: string; readonly value: string }
);

/** Every answer tells what the register held before, so a lost update is seen at once. */
export interface RegisterOutput {
  readonly before: string;
}

export const EMPTY_REGISTER = "";

export const REGISTER: Model<string, RegisterInput, RegisterOutput> = {
  initial: EMPTY_REGISTER,
  step(state, input, output) {
    if (output !== null && output.before !== state) return null;
    switch (input.kind) {
      case "read":
        return state;
      case "write":
        return input.value;
      case "compare-and-set":
        return state === input.expected ? input.value : state;
    }
  },
  keyOf: (state) => state,
  withoutUnseen(history) {
    const seen = new Set(history.flatMap(({ answer }) => (answer === null ? [] : [answer.output.before])));
    // An open comparison that had an effect saw what it waited for.
    let left = history.filter(({ answer }) => answer === null).map(({ input }) => input);
    for (let count = -1; count !== seen.size; ) {
      count = seen.size;
      for (const input of left) {
        if (input.kind === "compare-and-set" && seen.has(input.value)) seen.add(input.expected);
      }
      left = left.filter((input) => input.kind === "compare-and-set" && !seen.has(input.value));
    }
    return history.filter(
      ({ input, answer }) => answer !== null || (input.kind !== "read" && seen.has(input.value)),
    );
  },
  describe(input, output) {
    const answer = output === null ? "open" : `'${output.before}'`;
    switch (input.kind) {
      case "read":
        return `${input.key}: read -> ${answer}`;
      case "write":
        return `${input.key}: write '${input.value}' -> ${answer}`;
      case "compare-and-set":
        return `${input.key}: set '${input.value}' if '${input.expected}' -> ${answer}`;
    }
  },
};

export type ListInput = { readonly key: string } & (
  | { readonly kind: "read" }
  | { readonly kind: "append"; readonly value: string }
);

/** The whole list after the operation, joined by commas. */
export interface ListOutput {
  readonly list: string;
}

export const LIST: Model<string, ListInput, ListOutput> = {
  initial: "",
  step(state, input, output) {
    const after = input.kind === "read" ? state : state === "" ? input.value : `${state},${input.value}`;
    return output === null || output.list === after ? after : null;
  },
  keyOf: (state) => state,
  withoutUnseen(history) {
    const seen = seenInLists(history);
    return history.filter(
      ({ input, answer }) => answer !== null || (input.kind === "append" && seen.has(input.value)),
    );
  },
  /** A list only grows, so each of its states begins like the longest that was seen, or goes on where that ends. */
  rulesOut(history) {
    const lists = history.flatMap(({ answer }) => (answer === null ? [] : [answer.output.list]));
    const longest = lists.reduce((a, b) => (b.length > a.length ? b : a), "");
    return (state) =>
      !`${longest},`.startsWith(`${state},`) &&
      !`${state},`.startsWith(`${longest},`) &&
      longest !== "" &&
      state !== "";
  },
  describe(input, output) {
    const what = input.kind === "read" ? "read" : `append '${input.value}'`;
    return `${input.key}: ${what} -> ${output === null ? "open" : `[${output.list}]`}`;
  },
};

function seenInLists(history: History<ListInput, ListOutput>): ReadonlySet<string> {
  return new Set(history.flatMap(({ answer }) => answer?.output.list.split(",") ?? []));
}
