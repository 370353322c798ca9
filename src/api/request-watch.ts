import { describeAttempt } from "./describe-audit.ts";
import { FailedAuthentication, plainAddress } from "./failed-authentication.ts";
import type { ApiPorts } from "./ports.ts";
import type { ProblemDocument } from "./problem.ts";
import { ApiProblem } from "./problem.ts";
import { RememberedAttempts } from "./remembered-attempts.ts";
import { targetOf } from "./request-target.ts";

/** A request while it is being answered. */
export interface Attempt {
  readonly address: string | null;
  /** Method and path, without the query. */
  readonly request: string;
  readonly isWrite: boolean;
  /** As `Caller.by`, once it is known; null: nobody knows. */
  by: string | null;
  /** As an identity provider calls whoever it is; null: as the token is called, if it has a name. */
  byName: string | null;
  /** More than whoever asked is told; null: nothing. */
  why: string | null;
}

const REQUEST_CHARACTERS_MAX = 200;

export function attemptOf(request: Request, address: string | null): Attempt {
  const { method } = request;
  return {
    address: address === null ? null : plainAddress(address),
    request: `${method} ${targetOf(request).pathname}`.slice(0, REQUEST_CHARACTERS_MAX),
    isWrite: method !== "GET" && method !== "HEAD" && method !== "OPTIONS",
    by: null,
    byName: null,
    why: null,
  };
}

const REFUSED = "audit.refused";
/** Reads that hand out a secret: the authority's key is in a backup. */
const SECRET_READS: ReadonlySet<string> = new Set(["GET /v1/backup"]);
/** Nobody wanted anything of us that we have. */
const MEANT_FOR_NOBODY: ReadonlySet<string> = new Set(["path-unknown", "method-not-allowed"]);
/** A request without a token is no guess. */
const GUESSES: ReadonlySet<string> = new Set(["token-invalid", "token-expired", "join-token-unknown"]);

/**
 * Sees every answer before it leaves: remembers what was refused, logs what was changed, and turns those away for a while who
 * guess. Who has a right token is let in all the same: others may share the address with somebody who guesses.
 */
export class RequestWatch {
  readonly #ports: ApiPorts;
  readonly #failed = new FailedAuthentication();
  readonly #unknown = new FailedAuthentication();
  readonly remembered = new RememberedAttempts();

  constructor(ports: ApiPorts) {
    this.#ports = ports;
  }

  /** Returns the answer to send: `answer`, or that there were too many attempts. */
  async see(attempt: Attempt, answer: Response): Promise<Response> {
    const { status } = answer;
    if (status < 400) {
      if (attempt.isWrite) this.#log("audit.change", attempt, status, null);
      else if (SECRET_READS.has(attempt.request)) this.#remember("audit.read", attempt, status, null);
      return answer;
    }
    if (!attempt.isWrite && status !== 401 && status !== 403) return answer;
    const code = await codeOf(answer);
    if (code === null || MEANT_FOR_NOBODY.has(code)) return answer;
    const limited = this.#limit(attempt, code);
    if (limited === null && this.#isWorthTelling(attempt)) this.#remember(REFUSED, attempt, status, code);
    // Once per address and minute, or the trail and the log would hold nothing else.
    if (limited?.isFirst === true) this.#remember(REFUSED, attempt, 429, "too-many-attempts");
    return limited === null ? answer : tooManyAttempts(limited.retryAfterMs).toResponse();
  }

  #limit({ address }: Attempt, code: string) {
    if (address === null || !GUESSES.has(code)) return null;
    return this.#failed.note(address, this.#ports.clock.nowMs());
  }

  /** Of those that nobody knows only the first few of an address: a scanner asks for everything. */
  #isWorthTelling({ by, address }: Attempt): boolean {
    if (by !== null || address === null) return true;
    return this.#unknown.note(address, this.#ports.clock.nowMs()) === null;
  }

  #remember(event: string, attempt: Attempt, status: number, code: string | null): void {
    const { address, request, by, why } = attempt;
    const atMs = this.#ports.clock.wallMs();
    const told = { atMs, by, byName: this.#nameOf(attempt), address, request, status, code, why };
    const remembered = this.remembered.add(told);
    this.#ports.onAttempt?.(describeAttempt(remembered, this.#ports.name));
    this.#log(event, attempt, status, code);
  }

  #log(event: string, attempt: Attempt, status: number, code: string | null): void {
    const { address, request, by, why } = attempt;
    const fields = { by, byName: this.#nameOf(attempt), address, request, status, code };
    this.#ports.log.info(event, why === null ? fields : { ...fields, why });
  }

  #nameOf({ by, byName }: Attempt): string | null {
    return this.#ports.consensus()?.state.tokens.find(({ id }) => id === by)?.name ?? byName;
  }
}

async function codeOf(answer: Response): Promise<string | null> {
  if (answer.headers.get("content-type") !== "application/problem+json") return null;
  const { code } = (await answer.clone().json()) as ProblemDocument;
  return code;
}

function tooManyAttempts(retryAfterMs: number): ApiProblem {
  const seconds = Math.ceil(retryAfterMs / 1000);
  return new ApiProblem({
    status: 429,
    code: "too-many-attempts",
    detail: "Too many requests with a wrong token came from this address; a right one is still let in.",
    hint: `Correct the token. Wrong ones are answered again in ${seconds} s.`,
    headers: { "retry-after": String(seconds) },
  });
}
