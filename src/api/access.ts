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

/** What a route asks for: nothing, a token of at least this scope, or to be asked over the Unix socket. */
export type Need = "none" | "local" | Scope;

const RANK: Readonly<Record<Scope, number>> = { viewer: 1, operator: 2, admin: 3 };

/** For routes that ask for nothing. */
export const NOBODY: Caller = { by: "anonymous", scope: "viewer" };

const LOCAL: Caller = { by: "local", scope: "admin" };

/**
 * Lets a request in or throws why not.
 *
 * @param tokens null before the cluster is formed: then no token exists, and only the Unix socket is let in.
 * @throws {ApiProblem} 401 without or with a wrong token, 403 with a token of too little scope.
 */
export function authorize(
  need: Need,
  origin: Origin,
  authorization: string | null,
  tokens: readonly ApiToken[] | null,
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
  const caller = identify(authorization, tokens);
  if (RANK[caller.scope] < RANK[need]) {
    throw new ApiProblem({
      status: 403,
      code: "scope-insufficient",
      detail: `This needs a token of scope '${need}'; this one has '${caller.scope}'.`,
    });
  }
  return caller;
}

function identify(authorization: string | null, tokens: readonly ApiToken[] | null): Caller {
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

function unauthorized(code: string, detail: string, hint: string): ApiProblem {
  return new ApiProblem({
    status: 401,
    code,
    detail,
    hint,
    headers: { "www-authenticate": 'Bearer realm="guacamole"' },
  });
}
