import { isExpired } from "../cluster/apply-tokens.ts";
import type { ApiToken, Scope } from "../cluster/state.ts";
import { parseToken, secretMatches } from "./credential.ts";
import { ApiProblem } from "./problem.ts";

/** Where a request came in. The Unix socket is mode 0600: who can open it owns this member. */
export type Origin = "local" | "network";

/** Who asks, and how much they may do. */
export interface Caller {
  /** A token's id, or `local`. */
  readonly by: string;
  readonly scope: Scope;
}

/** What a route asks for: nothing, a token whose scope includes this one, or to be asked over the Unix socket. */
export type Need = "none" | "local" | Scope;

/**
 * What a token of each scope may do. `operator` (the cluster) and `access` (who may connect to PostgreSQL, and as whom) stand
 * side by side: neither includes the other.
 */
const INCLUDED: Readonly<Record<Scope, readonly Scope[]>> = {
  health: ["health"],
  viewer: ["health", "viewer"],
  operator: ["health", "viewer", "operator"],
  access: ["health", "viewer", "access"],
  admin: ["health", "viewer", "operator", "access", "admin"],
};

/** Whether a token of this scope may do what asks for that one. */
export function mayDo(scope: Scope, need: Scope): boolean {
  // A release that is older than the scope of a token knows nothing that it may do.
  return (INCLUDED[scope] ?? []).includes(need);
}

/** For routes that ask for nothing. */
export const NOBODY: Caller = { by: "anonymous", scope: "viewer" };

const LOCAL: Caller = { by: "local", scope: "admin" };

/**
 * Lets a request in or throws why not.
 *
 * @param tokens null before the cluster is formed: then no token exists, and only the Unix socket is let in.
 * @param wallMs by this member's wall clock: a token that has an end is refused from then on.
 * @throws {ApiProblem} 401 without a token, with a wrong or an expired one, 403 with one whose scope does not include this.
 */
export function authorize(
  need: Need,
  origin: Origin,
  authorization: string | null,
  tokens: readonly ApiToken[] | null,
  wallMs: number,
): Caller {
  if (origin === "local") return LOCAL;
  if (need === "none") return NOBODY;
  if (need === "local") {
    throw new ApiProblem({
      status: 403,
      code: "local-only",
      detail: "This is asked on the member's own host, over its Unix socket.",
      hint: "Run the command there, as the user that runs guacamole.",
    });
  }
  const caller = identify(authorization, tokens, wallMs);
  if (!mayDo(caller.scope, need)) {
    throw new ApiProblem({
      status: 403,
      code: "scope-insufficient",
      detail: `This needs a token of scope '${need}'; this one has '${caller.scope}'.`,
      by: caller.by,
    });
  }
  return caller;
}

function identify(authorization: string | null, tokens: readonly ApiToken[] | null, wallMs: number): Caller {
  if (authorization === null || authorization === "") {
    throw unauthorized(
      "token-missing",
      "This needs a token, and the request has none.",
      tokens === null
        ? "This member belongs to no cluster yet, so no token exists: use its Unix socket on its own host."
        : "Send 'Authorization: Bearer gcm_…' ('guacamole --token', or GUACAMOLE_TOKEN).",
    );
  }
  const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  const parsed = bearer === undefined ? null : parseToken(bearer);
  if (parsed?.ok === true) {
    const token = tokens?.find(({ id }) => id === parsed.value.id);
    if (token !== undefined && secretMatches(parsed.value.secret, token.secretHash)) {
      if (isExpired(token, wallMs)) {
        throw unauthorized(
          "token-expired",
          "The token was good until a time that is over.",
          "Somebody with an admin token, or on a member's host, makes another: 'guacamole token create'.",
          token.id,
        );
      }
      return { by: token.id, scope: token.scope };
    }
  }
  // One answer for every fault: it must not help to guess which ids exist.
  throw unauthorized(
    "token-invalid",
    "The token is not valid here.",
    "Check that it is whole and of this cluster.",
  );
}

function unauthorized(code: string, detail: string, hint: string, by: string | null = null): ApiProblem {
  return new ApiProblem({
    status: 401,
    code,
    detail,
    hint,
    by,
    headers: { "www-authenticate": 'Bearer realm="guacamole"' },
  });
}
