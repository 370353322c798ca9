import { t } from "elysia";
import type { ClusterState } from "../cluster/state.ts";
import { idempotent } from "./cluster-routes.ts";
import { ApiProblem } from "./problem.ts";

/** The version of what operators want, and changes that are meant for one of them. */

/** Of whoever changes what operators want. */
export const specChangeHeaders = t.Composite([
  idempotent,
  t.Object({
    "if-match": t.Optional(t.String({ description: "The ETag of the version that is meant to be changed" })),
  }),
]);

export function etagOf({ generation }: ClusterState): string {
  return `"${generation}"`;
}

/** The generation that is to be changed. @throws {ApiProblem} 412 where another one was meant. */
export function requireMatch(state: ClusterState, ifMatch: string | null): ClusterState["generation"] {
  if (ifMatch === null || ifMatch === "*" || ifMatch === etagOf(state)) return state.generation;
  throw new ApiProblem({
    status: 412,
    code: "stale-generation",
    detail: `The settings are at generation ${state.generation}; the request was made for ${ifMatch}. Nothing was changed.`,
    hint: "Read them again, and make your change to what they are now.",
  });
}
