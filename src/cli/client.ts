import type { ProblemDocument } from "../api/problem.ts";
import { type Connection, type Target, targetName } from "./connection.ts";
import { CliError, EXIT, type ExitCode } from "./exit-code.ts";

/** A read is answered from memory; more than this means that nobody is there. */
const READ_DEADLINE_MS = 5_000;
/** Longer than the API's own deadline for a write, so that its honest answer arrives. */
const WRITE_DEADLINE_MS = 20_000;

export interface WriteOptions {
  readonly idempotencyKey?: string;
  /** The ETag of the version that is meant to be changed. */
  readonly ifMatch?: string;
  /** Why, for the history and the audit trail. Absent: as the connection says. */
  readonly reason?: string;
  readonly deadlineMs?: number;
}

/** Talks to the API of whichever endpoint answers first; each request has a deadline. */
export class ApiClient {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws {CliError} */
  async get<T>(path: string, deadlineMs = READ_DEADLINE_MS): Promise<T> {
    const response = await this.#send("GET", path, { deadlineMs });
    return (await response.json()) as T;
  }

  /** @throws {CliError} */
  post<T>(path: string, body: unknown, options: WriteOptions = {}): Promise<T> {
    return this.#write("POST", path, body, options);
  }

  /** @throws {CliError} */
  put<T>(path: string, body: unknown, options: WriteOptions = {}): Promise<T> {
    return this.#write("PUT", path, body, options);
  }

  /** @throws {CliError} */
  patch<T>(path: string, body: unknown, options: WriteOptions = {}): Promise<T> {
    return this.#write("PATCH", path, body, options);
  }

  /** @throws {CliError} */
  delete<T>(path: string, options: WriteOptions = {}): Promise<T> {
    return this.#write("DELETE", path, {}, options);
  }

  async #write<T>(method: string, path: string, body: unknown, options: WriteOptions): Promise<T> {
    const { reason = this.#connection.reason } = options;
    const { idempotencyKey, ifMatch, deadlineMs = WRITE_DEADLINE_MS } = options;
    const response = await this.#send(method, path, {
      deadlineMs,
      body: JSON.stringify(body),
      headers: {
        "content-type": "application/json",
        ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
        ...(ifMatch === undefined ? {} : { "if-match": ifMatch }),
        ...(reason === undefined ? {} : { "x-reason": encodeURIComponent(reason) }),
      },
      isRepeatable: idempotencyKey !== undefined,
    });
    return (await response.json()) as T;
  }

  /** A file, as it comes. It may take as long as it takes. @throws {CliError} */
  async download(
    path: string,
    signal: AbortSignal,
  ): Promise<{ readonly body: ReadableStream<Uint8Array>; readonly headers: Headers }> {
    const { body, headers } = await this.#send("GET", path, { deadlineMs: null, signal });
    if (body === null) throw new CliError(EXIT.failed, "the answer has no body");
    return { body, headers };
  }

  /** A stream of Server-Sent Events. Only the answer's beginning has a deadline. @throws {CliError} */
  async stream(
    path: string,
    lastEventId: number | null,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#send("GET", path, {
      deadlineMs: null,
      signal,
      headers: {
        accept: "text/event-stream",
        ...(lastEventId === null ? {} : { "last-event-id": String(lastEventId) }),
      },
    });
    if (response.body === null) throw new CliError(EXIT.failed, "the stream of events has no body");
    return response.body;
  }

  async #send(method: string, path: string, request: Outgoing): Promise<Response> {
    const failures: string[] = [];
    let mayHaveArrived = false;
    for (const target of this.#connection.targets) {
      try {
        const response = await this.#fetch(target, method, path, request);
        if (response.ok) return response;
        throw await explainProblem(response);
      } catch (error) {
        if (error instanceof CliError) throw error;
        if (request.signal?.aborted) throw error;
        failures.push(`${targetName(target)}: ${explainFetch(error, target)}`);
        const wasSent = !isNeverSent(error);
        mayHaveArrived ||= wasSent && method !== "GET";
        // A write that may have arrived is repeated elsewhere only if that is harmless.
        if (mayHaveArrived && request.isRepeatable !== true) break;
      }
    }
    if (mayHaveArrived) {
      throw new CliError(
        EXIT.unknown,
        `It is not known whether this was done (${failures.join("; ")}).`,
        "It may have happened, or may still. Look at 'guacamole status' and 'guacamole operation list' before you repeat it.",
      );
    }
    throw new CliError(
      EXIT.unreachable,
      `No member answers (${failures.join("; ")}).`,
      reachHint(this.#connection),
    );
  }

  #fetch(target: Target, method: string, path: string, request: Outgoing): Promise<Response> {
    const headers = new Headers(request.headers);
    if (this.#connection.token !== null) headers.set("authorization", `Bearer ${this.#connection.token}`);
    const signals = [
      ...(request.deadlineMs === null ? [] : [AbortSignal.timeout(request.deadlineMs)]),
      ...(request.signal === undefined ? [] : [request.signal]),
    ];
    const common = {
      method,
      headers,
      signal: AbortSignal.any(signals),
      redirect: "error" as const,
      ...(request.body === undefined ? {} : { body: request.body }),
    };
    if (target.kind === "unix") return fetch(`http://localhost${path}`, { ...common, unix: target.path });
    const tls = { ...(target.caPem === null ? {} : { ca: target.caPem }), ...target.shown };
    return fetch(`${target.origin}${path}`, { ...common, tls });
  }
}

interface Outgoing {
  readonly deadlineMs: number | null;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly isRepeatable?: boolean;
}

async function explainProblem(response: Response): Promise<CliError> {
  const text = await response.text();
  const problem = readProblem(text);
  const exitCode = exitCodeOf(response.status);
  if (problem === null)
    return new CliError(exitCode, `The answer is HTTP ${response.status}, and not from guacamole.`);
  return new CliError(exitCode, problem.detail, problem.hint ?? null, problem);
}

function readProblem(text: string): ProblemDocument | null {
  try {
    const value: unknown = JSON.parse(text);
    const isProblem = typeof value === "object" && value !== null && "code" in value && "detail" in value;
    return isProblem ? (value as ProblemDocument) : null;
  } catch {
    // Something else answers on this port: the caller says so.
    return null;
  }
}

function exitCodeOf(status: number): ExitCode {
  if (status === 504) return EXIT.unknown;
  if (status === 503) return EXIT.unreachable;
  return status >= 500 ? EXIT.failed : EXIT.refused;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

const NEVER_SENT =
  /^(ConnectionRefused|ECONNREFUSED|ENOENT|EACCES|FailedToOpenSocket|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|DEPTH_ZERO.*|UNABLE_TO.*|SELF_SIGNED.*|CERT_.*|ERR_TLS.*)$/;

/** The connection was never made, so nothing can have happened. */
function isNeverSent(error: unknown): boolean {
  return NEVER_SENT.test(codeOf(error));
}

function explainFetch(error: unknown, target: Target): string {
  const code = codeOf(error);
  if (error instanceof Error && error.name === "TimeoutError") return "no answer in time";
  if (code === "ENOENT" || (code === "FailedToOpenSocket" && target.kind === "unix"))
    return "no socket that answers";
  if (/^(DEPTH_ZERO|UNABLE_TO|SELF_SIGNED|CERT_|ERR_TLS)/.test(code))
    return `its certificate is not trusted (${code})`;
  return error instanceof Error ? error.message : String(error);
}

function reachHint({ targets }: Connection): string {
  const [first] = targets;
  if (first?.kind === "https") {
    return first.caPem === null
      ? "Is the address right, and the member up? Its certificate is of the cluster's own CA: give that with --ca FILE or GUACAMOLE_CA."
      : "Is the address right, and the member up?";
  }
  return "Is 'guacamole run' up on this host, and may you open its socket? Elsewhere: --socket PATH, --config FILE, or --endpoint HOST:PORT with --token.";
}
