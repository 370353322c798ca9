/**
 * The public keys of the issuers that are trusted, as each publishes them. A member asks for them when a token comes that needs
 * them, and keeps them: an issuer that cannot be reached for a while locks nobody out.
 */
import type { JSONWebKeySet, JWTVerifyGetKey } from "jose";
import { createLocalJWKSet } from "jose";
import type { Clock } from "../base/clock.ts";
import { hashJson } from "../base/json-hash.ts";
import type { Log } from "../base/log.ts";
import { err, ok, type Result } from "../base/result.ts";
import type { IdentityProvider } from "../cluster/identity.ts";
import { fetchKeys } from "./fetch-keys.ts";

/** For so long keys are used without looking again: a key that an issuer takes back counts no longer than that. */
const FRESH_MS = 600_000;
/** After an attempt, good or bad, the issuer is left alone for so long, whatever tokens come. */
const RETRY_MS = 30_000;
/** Keys that could not be looked at again are used for so long all the same. */
const KEPT_MS = 86_400_000;

export interface KeysAge {
  /** Null: never. By the monotonic clock. */
  readonly fetchedAtMs: number | null;
  readonly triedAtMs: number | null;
}

/** What to do for a token: fetch keys first, use those that are there, or refuse it since there are none. */
export function keysStep(age: KeysAge, isKeyKnown: boolean, nowMs: number): "fetch" | "use" | "none" {
  const { fetchedAtMs, triedAtMs } = age;
  const sinceMs = fetchedAtMs === null ? Number.POSITIVE_INFINITY : nowMs - fetchedAtMs;
  const isWanted = !isKeyKnown || sinceMs >= FRESH_MS;
  const mayTry = triedAtMs === null || nowMs - triedAtMs >= RETRY_MS;
  if (isWanted && mayTry) return "fetch";
  return sinceMs < KEPT_MS ? "use" : "none";
}

/** What a member knows of one issuer's keys. */
export interface KeysStatus {
  readonly count: number;
  /** By the wall clock; null: they could not be fetched since this member started. */
  readonly fetchedAtWallMs: number | null;
  /** Why the latest attempt failed; null: it did not. */
  readonly problem: string | null;
}

interface Kept {
  keys: JSONWebKeySet;
  get: JWTVerifyGetKey | null;
  fetchedAtMs: number | null;
  fetchedAtWallMs: number | null;
  triedAtMs: number | null;
  problem: string | null;
  running: Promise<void> | null;
}

export class IssuerKeys {
  readonly #clock: Clock;
  readonly #log: Log;
  /** By where they come from: another place, other keys. */
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * What verifies a token of this issuer that names this key (`kid`; undefined: it names none). Waits for the issuer for a few
   * seconds at most, and asks it twice a minute at most, however many tokens come. The error says why there are no keys.
   */
  async verifierFor(
    provider: IdentityProvider,
    keyId: string | undefined,
  ): Promise<Result<JWTVerifyGetKey, string>> {
    const kept = this.#of(provider);
    const isKnown = () => kept.keys.keys.some(({ kid }) => keyId === undefined || kid === keyId);
    // Whoever comes while keys are under way waits for those.
    if (kept.running !== null && !isKnown()) await kept.running;
    const step = keysStep(kept, isKnown(), this.#clock.nowMs());
    if (step === "fetch") await this.#fetch(provider, kept);
    const isUsable = step === "use" || keysStep(kept, true, this.#clock.nowMs()) === "use";
    if (kept.get === null || !isUsable) return err(kept.problem ?? "they were not fetched yet");
    return ok(kept.get);
  }

  /** Asks the issuer if it may be asked, and tells what is known then. */
  async look(provider: IdentityProvider): Promise<KeysStatus> {
    const kept = this.#of(provider);
    if (kept.running !== null) await kept.running;
    else if (keysStep(kept, false, this.#clock.nowMs()) === "fetch") await this.#fetch(provider, kept);
    return this.statusOf(provider);
  }

  /** Asks nobody. */
  statusOf(provider: IdentityProvider): KeysStatus {
    const { keys, fetchedAtWallMs, problem } = this.#of(provider);
    return { count: keys.keys.length, fetchedAtWallMs, problem };
  }

  /** Keeps nothing of issuers that are not trusted any more. */
  keepOnly(providers: readonly IdentityProvider[]): void {
    const known = new Set(providers.map(placeOf));
    for (const place of this.#kept.keys()) if (!known.has(place)) this.#kept.delete(place);
  }

  #of(provider: IdentityProvider): Kept {
    const place = placeOf(provider);
    const known = this.#kept.get(place);
    if (known !== undefined) return known;
    const kept: Kept = {
      keys: { keys: [] },
      get: null,
      fetchedAtMs: null,
      fetchedAtWallMs: null,
      triedAtMs: null,
      problem: null,
      running: null,
    };
    this.#kept.set(place, kept);
    return kept;
  }

  #fetch(provider: IdentityProvider, kept: Kept): Promise<void> {
    if (kept.running !== null) return kept.running;
    kept.triedAtMs = this.#clock.nowMs();
    const running = this.#fetchOnce(provider, kept).finally(() => {
      kept.running = null;
    });
    kept.running = running;
    return running;
  }

  async #fetchOnce(provider: IdentityProvider, kept: Kept): Promise<void> {
    const fetched = await fetchKeys(provider);
    kept.problem = fetched.ok ? null : fetched.error;
    if (!fetched.ok) {
      this.#log.warn("identity.no-keys", { provider: provider.name, why: fetched.error });
      return;
    }
    kept.keys = fetched.value;
    kept.get = createLocalJWKSet(fetched.value);
    kept.fetchedAtMs = this.#clock.nowMs();
    kept.fetchedAtWallMs = this.#clock.wallMs();
  }
}

function placeOf({ issuer, jwksUri, caCertificate }: IdentityProvider): string {
  return hashJson({ issuer, ...(jwksUri && { jwksUri }), ...(caCertificate && { caCertificate }) });
}
