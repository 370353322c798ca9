import type { Asked } from "../cluster/command.ts";
import type { Caller, Need } from "./access.ts";
import { ApiProblem } from "./problem.ts";

/** Who asks, and how: for what is agreed and for the audit trail. */
export interface Asker extends Caller {
  readonly asked: Asked;
}

/** Which caller a request belongs to: set once it was let in, read by handlers. */
const callers = new WeakMap<Request, Asker>();

export function rememberCaller(request: Request, caller: Asker): void {
  callers.set(request, caller);
}

/** @throws {ApiProblem} 500 for a request that was never let in: that is our own mistake, and it fails closed. */
export function callerOf(request: Request): Asker {
  const caller = callers.get(request);
  if (caller !== undefined) return caller;
  throw new ApiProblem({
    status: 500,
    code: "internal-error",
    detail: "A request reached its handler unchecked.",
  });
}

/** The extension of OpenAPI in which a route says what it asks for; the router reads the same one. */
export const NEED_KEY = "x-guacamole-scope";

/** In a route's description: its body may also be plain text, which then is the field `text`. */
export const TAKES_TEXT_KEY = "x-guacamole-takes-text";

interface RouteDetail {
  readonly summary: string;
  readonly tags: string[];
  readonly description?: string;
  readonly hide?: boolean;
}

/** A route's description and what it asks for, in one: a route without it needs `admin`. */
export function describeRoute(need: Need, tag: string, summary: string, description?: string): RouteDetail {
  const detail = {
    summary,
    tags: [tag],
    [NEED_KEY]: need,
    ...(need === "none" || need === "local" ? { security: [] } : {}),
    ...(description === undefined ? {} : { description }),
  };
  return detail;
}
