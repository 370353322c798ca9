/** What clients believe to talk to where a write is only acknowledged: a number that is written and read. */

import type { Model } from "./linearizability.ts";

/** `through`: which member was asked (a write: at first). It decides nothing, and tells people a lot. */
export type BlindInput = { readonly key: string; readonly through: string } & (
  | { readonly kind: "read" }
  /** No two writes of one history have the same value, so each read names the write that it saw. */
  | { readonly kind: "write"; readonly value: number }
);

export type BlindOutput =
  | { readonly kind: "value"; readonly value: number }
  | { readonly kind: "acknowledged" };

/** @param initial what every key holds before the history begins. */
export function blindRegister(initial: number): Model<number, BlindInput, BlindOutput> {
  return {
    initial,
    step(state, input, output) {
      if (input.kind === "write") return input.value;
      return output === null || (output.kind === "value" && output.value === state) ? state : null;
    },
    keyOf: String,
    withoutUnseen(history) {
      const seen = new Set(
        history.flatMap(({ answer }) => (answer?.output.kind === "value" ? [answer.output.value] : [])),
      );
      return history.filter(
        ({ input, answer }) => answer !== null || (input.kind === "write" && seen.has(input.value)),
      );
    },
    describe(input, output) {
      const where = `${input.key} through ${input.through}`;
      if (input.kind === "write") return `${where}: write ${input.value}${output === null ? " -> open" : ""}`;
      return `${where}: read -> ${output?.kind === "value" ? output.value : "open"}`;
    },
  };
}
