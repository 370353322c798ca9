import { isExpired } from "../cluster/apply-tokens.ts";
import { isCertificateAuthor } from "../cluster/identity.ts";
import type { ApiToken, Scope } from "../cluster/state.ts";
import { parseToken, secretMatches } from "./credential.ts";
import { ApiProblem } from "./problem.ts";

/**
 * Where a request came in. The Unix socket is mode 0600: who can open it owns this member. `in-clear` is without TLS: what comes
 * there, a token too, has been read on the way.
 */
export type Origin = "local" | "network" | "in-clear";

/** Who asks, and how much they may do. */
export interface Caller {
  /** A token's id, `issuer#subject` of an identity provider, `x509:subject<issuer` of a certificate, or `local`. */
  readonly by: string;
  /** All of them count: who is an operator and keeps the rules for connections is both. */
  readonly scopes: readonly Scope[];
  /** As an identity provider calls whoever it is. Absent: it did not say, or was not asked. */
  readonly name?: string;
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

/** Whether somebody of these scopes may do what asks for that one. */
export function mayDo(scopes: readonly Scope[], need: Scope): boolean {
  // A release that is older than the scope of a token knows nothing that it may do.
  return scopes.some((scope) => (INCLUDED[scope] ?? []).includes(need));
}

/** For answers to whoever asked for more. */
export function scopesText({ scopes }: Caller): string {
  return scopes.length === 0 ? "none" : scopes.map((scope) => `'${scope}'`).join(" and ");
}

/** For routes that ask for nothing. */
export const NOBODY: Caller = { by: "anonymous", scopes: [] };

const LOCAL: Caller = { by: "local", scopes: ["admin"] };

/**
 * Lets a request in or throws why not.
 *
 * @param tokens null before the cluster is formed: then no token exists, and only the Unix socket is let in.
 * @param wallMs by this member's wall clock: a token that has an end is refused from then on.
 * @param known whom an identity provider or a client certificate vouches for; null: nobody, so it must be a token of ours.
 * @throws {ApiProblem} 401 without a token, with a wrong or an expired one, 403 with one whose scope does not include this.
 */
export function authorize(
  need: Need,
  origin: Origin,
  authorization: string | null,
  tokens: readonly ApiToken[] | null,
  wallMs: number,
  known: Caller | null = null,
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
  const caller = known ?? identify(authorization, tokens, wallMs);
  if (!mayDo(caller.scopes, need)) {
    throw new ApiProblem({
      status: 403,
      code: "scope-insufficient",
      detail: `This needs ${isCertificateAuthor(caller.by) ? "a certificate" : "a token"} of scope '${need}'; this one has ${scopesText(caller)}.`,
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
  const bearer = bearerIn(authorization);
  const parsed = bearer === null ? null : parseToken(bearer);
  if (parsed?.ok === true) {
    const token = tokens?.find(({ id }) => id === parsed.value.id);
    if (token !== undefined && secretMatches(parsed.value.secret, token.secretHash)) {
      if (isExpired(token, wallMs)) {
        throw expiredToken(
          token.id,
          "Somebody with an admin token, or on a member's host, makes another: 'guacamole token create'.",
        );
      }
      return { by: token.id, scopes: [token.scope] };
    }
  }
  throw invalidToken();
}

/** What follows `Bearer`; null where nothing does. */
export function bearerIn(authorization: string | null): string | null {
  return /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? null;
}

/** One answer for every fault: it must not help to guess which ids exist, or what an issuer's tokens must be like. */
export function invalidToken(by: string | null = null, why: string | null = null): ApiProblem {
  const detail = "The token is not valid here.";
  return unauthorized("token-invalid", detail, "Check that it is whole and of this cluster.", by, why);
}

/** For whoever has one that is genuine. @param hint how to get another. */
export function expiredToken(by: string | null, hint: string, why: string | null = null): ApiProblem {
  return unauthorized("token-expired", "The token was good until a time that is over.", hint, by, why);
}

function unauthorized(
  code: string,
  detail: string,
  hint: string,
  by: string | null = null,
  why: string | null = null,
): ApiProblem {
  return new ApiProblem({
    status: 401,
    code,
    detail,
    hint,
    by,
    why,
    headers: { "www-authenticate": 'Bearer realm="guacamole"' },
  });
}
