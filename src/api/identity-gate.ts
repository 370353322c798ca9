import type { Result } from "../base/result.ts";
import { type IdentityProvider, providersOf } from "../cluster/identity.ts";
import { bearerIn, type Caller, expiredToken, invalidToken } from "./access.ts";
import { type Identified, identify, isSignedToken, type NotIdentified } from "./identity-token.ts";
import { IssuerKeys } from "./issuer-keys.ts";
import type { ApiPorts } from "./ports.ts";
import { ApiProblem } from "./problem.ts";
import { callerByCertificate, type ShownCertificate } from "./shown-certificate.ts";

/** Lets those in whom an identity provider vouches for, as what is agreed says (`roadmap/0014-identity.md`). */
export class IdentityGate {
  readonly #ports: ApiPorts;
  readonly keys: IssuerKeys;
  #known: readonly IdentityProvider[] = [];

  constructor(ports: ApiPorts) {
    this.#ports = ports;
    this.keys = new IssuerKeys(ports.clock, ports.log);
  }

  /**
   * Whom a request's token names, where that is a provider's to say; without a token, whom the connection's certificate does.
   * Null: neither.
   *
   * @param shown what the client of this connection has proven to be.
   * @throws {ApiProblem} 401 like any wrong or expired token, 503 while nobody can tell.
   */
  async callerIn(authorization: string | null, shown: ShownCertificate | null): Promise<Caller | null> {
    if (shown !== null && (authorization === null || authorization === "")) return this.#callerBy(shown);
    const bearer = bearerIn(authorization);
    if (bearer === null || !isSignedToken(bearer)) return null;
    const identified = await this.check(bearer);
    if (!identified.ok) throw problemOf(identified.error);
    const { by, name, scopes } = identified.value;
    return { by, scopes, ...(name === null ? {} : { name }) };
  }

  #callerBy(shown: ShownCertificate): Caller {
    const { consensus, clock } = this.#ports;
    return callerByCertificate(shown, consensus()?.state.spec.identity, clock.wallMs());
  }

  /** What a token comes to, as it is found. */
  check(token: string): Promise<Result<Identified, NotIdentified>> {
    return identify(token, this.#providers(), this.keys, this.#ports.clock.wallMs());
  }

  #providers(): readonly IdentityProvider[] {
    const state = this.#ports.consensus()?.state;
    const providers = state === undefined ? [] : providersOf(state.spec);
    if (providers !== this.#known) this.keys.keepOnly(providers);
    this.#known = providers;
    return providers;
  }
}

function problemOf({ kind, why, by }: NotIdentified): ApiProblem {
  if (kind === "invalid") return invalidToken(by, why);
  if (kind === "expired") return expiredToken(by, "Get another from where it came from.", why);
  return new ApiProblem({
    status: 503,
    code: "identity-provider-unavailable",
    detail: "Nobody can tell for now whether this token is good: its issuer's keys cannot be had.",
    hint: "Try again in half a minute, use a token of guacamole's own, or the Unix socket on a member's host.",
    headers: { "retry-after": "30" },
    by,
    why,
  });
}
