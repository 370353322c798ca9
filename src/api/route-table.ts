import type { Need } from "./access.ts";
import { ApiProblem } from "./problem.ts";

/** A route as the router knows it. */
export interface RouteEntry {
  readonly method: string;
  /** With `:name` for a variable part. */
  readonly path: string;
  readonly need: Need;
  /** Its body may be plain text. Absent: it is JSON. */
  readonly takesText?: boolean;
}

/** Answers "is there such a path, and what does it ask for" before anything of the request is read. */
export class RouteTable {
  readonly #routes: readonly (RouteEntry & { readonly pattern: RegExp })[];

  constructor(routes: readonly RouteEntry[]) {
    this.#routes = routes.map((route) => ({
      ...route,
      pattern: new RegExp(
        `^${route.path.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/:[A-Za-z]+/g, "[^/]+")}$`,
      ),
    }));
  }

  /** @throws {ApiProblem} 404 for a path that does not exist, 405 for one that has other methods. */
  find(method: string, path: string): RouteEntry {
    // A fixed path is meant before one with a variable part: /v1/members/join is not a member called "join".
    const candidates = this.#routes.filter(({ pattern }) => pattern.test(path));
    const sorted = candidates.toSorted((a, b) => Number(a.path.includes(":")) - Number(b.path.includes(":")));
    const route = sorted.find((candidate) => candidate.method === method);
    if (route !== undefined) return route;
    if (candidates.length === 0) {
      throw new ApiProblem({
        status: 404,
        code: "path-unknown",
        detail: "There is nothing at this path.",
        hint: "/openapi.json lists every path, /swagger shows them to people.",
      });
    }
    const allowed = [...new Set(candidates.map((candidate) => candidate.method))].toSorted().join(", ");
    throw new ApiProblem({
      status: 405,
      code: "method-not-allowed",
      detail: `This path answers ${allowed}.`,
      headers: { allow: allowed },
    });
  }
}
