import type { Clock } from "../base/clock.ts";
import { err, ok, type Result } from "../base/result.ts";
import { LineFraming } from "./line-framing.ts";
import type { SupervisorEvent, SupervisorRequest, SupervisorResponse } from "./protocol.ts";
import { SocketWriter } from "./socket-writer.ts";

export interface ConnectSupervisorOptions {
  readonly socketPath: string;
  readonly clock: Clock;
}

/** Connects a member to the supervisor of its PostgreSQL. The error says that nobody answers there. */
export async function connectSupervisor(
  options: ConnectSupervisorOptions,
): Promise<Result<SupervisorClient, string>> {
  const client = new SupervisorClient(options.clock);
  const connected = await client.connect(options.socketPath);
  return connected.ok ? ok(client) : connected;
}

/** One connection to a supervisor. When it ends, every open request rejects; make a new one then. */
export class SupervisorClient {
  readonly #clock: Clock;
  readonly #framing = new LineFraming();
  readonly #writer = new SocketWriter();
  readonly #open = new Map<number, PromiseWithResolvers<SupervisorResponse>>();
  readonly #eventListeners = new Set<(event: SupervisorEvent) => void>();
  readonly #disconnectListeners = new Set<() => void>();
  #socket: Bun.Socket<undefined> | null = null;
  #nextId = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isConnected(): boolean {
    return this.#socket !== null;
  }

  async connect(socketPath: string): Promise<Result<void, string>> {
    try {
      this.#socket = await Bun.connect({
        unix: socketPath,
        socket: {
          data: (socket, chunk) => {
            try {
              for (const line of this.#framing.push(chunk)) this.#received(line);
            } catch {
              // Not our protocol: a connection like that is of no use, and its end is told to whoever waits.
              socket.end();
            }
          },
          drain: (socket) => this.#writer.flush(socket),
          close: () => this.#disconnected(),
          error: () => this.#disconnected(),
        },
      });
      return ok(undefined);
    } catch (error) {
      return err(
        `no supervisor answers on ${socketPath}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  /**
   * Asks for something. Rejects if the supervisor cannot be reached or does not answer within `deadlineMs`; what was
   * asked may happen all the same: look before asking again.
   */
  async request(request: SupervisorRequest, deadlineMs: number): Promise<SupervisorResponse> {
    if (this.#socket === null) throw new Error("the supervisor is not connected");
    const id = this.#nextId++;
    const answer = Promise.withResolvers<SupervisorResponse>();
    const timer = new AbortController();
    this.#open.set(id, answer);
    this.#clock.sleep(deadlineMs, timer.signal).then(
      () =>
        answer.reject(new Error(`the supervisor did not answer '${request.kind}' within ${deadlineMs} ms`)),
      // Aborted: the answer came first.
      () => undefined,
    );
    this.#writer.send(this.#socket, { id, request });
    try {
      return await answer.promise;
    } finally {
      this.#open.delete(id);
      timer.abort();
    }
  }

  /** @returns a function that ends the listening. */
  onEvent(listener: (event: SupervisorEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => this.#eventListeners.delete(listener);
  }

  /** Called once, when the supervisor or the connection is gone. @returns a function that ends the listening. */
  onDisconnect(listener: () => void): () => void {
    this.#disconnectListeners.add(listener);
    return () => this.#disconnectListeners.delete(listener);
  }

  close(): void {
    this.#disconnectListeners.clear();
    this.#socket?.end();
    this.#disconnected();
  }

  #received(line: string): void {
    // Our own supervisor wrote it, whole: its form is trusted, its content is data.
    const message = JSON.parse(line) as
      | { readonly id: number; readonly response: SupervisorResponse }
      | { readonly event: SupervisorEvent };
    if ("event" in message) for (const listener of this.#eventListeners) listener(message.event);
    else this.#open.get(message.id)?.resolve(message.response);
  }

  #disconnected(): void {
    if (this.#socket === null) return;
    this.#socket = null;
    for (const answer of this.#open.values())
      answer.reject(new Error("the connection to the supervisor ended"));
    for (const listener of this.#disconnectListeners) listener();
  }
}
