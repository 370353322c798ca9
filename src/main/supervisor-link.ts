/**
 * The member's line to its supervisor: found if it runs, started if it does not (on a host), and found again when it was
 * restarted. In a pod it is another container's entry point, and only waited for.
 */

import type { SupervisorPort } from "../agent/ports.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { err, ok, type Result } from "../base/result.ts";
import { connectSupervisor, type SupervisorClient } from "../supervisor/client.ts";
import { processStartTicks } from "../supervisor/process-table.ts";
import type { SupervisorEvent, SupervisorRequest, SupervisorResponse } from "../supervisor/protocol.ts";
import { startSupervisorProcess } from "../supervisor/spawn.ts";
import type { MemberTls } from "./member-files.ts";

export interface SupervisorLinkOptions {
  readonly socketPath: string;
  readonly dataDirectory: string;
  readonly user: string;
  /** Null: somebody else starts the supervisor. */
  readonly start: { readonly command: readonly string[]; readonly binDirectory: string } | null;
  /** Given to PostgreSQL at each connection and when they are renewed, so that it always has the present ones. */
  readonly tls: () => MemberTls;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Log;
}

const START_DEADLINE_MS = 10_000;
const CERTIFICATES_DEADLINE_MS = 5_000;
const HELLO_DEADLINE_MS = 5_000;

export class SupervisorLink implements SupervisorPort {
  readonly #options: SupervisorLinkOptions;
  readonly #listeners = new Set<(event: SupervisorEvent) => void>();
  #client: SupervisorClient | null = null;
  #installed: MemberTls | null = null;
  #connecting: Promise<SupervisorClient> | null = null;

  constructor(options: SupervisorLinkOptions) {
    this.#options = options;
  }

  async request(request: SupervisorRequest, deadlineMs: number): Promise<SupervisorResponse> {
    const client = this.#client ?? (await this.#connected());
    return client.request(request, deadlineMs);
  }

  onEvent(listener: (event: SupervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What PostgreSQL was given last; null: nothing, as far as this process knows. */
  get installed(): MemberTls | null {
    return this.#installed;
  }

  /** PostgreSQL reads them again; its sessions go on. Where there is no supervisor now, the next one gets them. */
  async renewCertificates(): Promise<Result<void, string>> {
    const client = this.#client;
    if (client === null) return ok(undefined);
    try {
      await this.#install(client);
      return ok(undefined);
    } catch (error) {
      return err(error instanceof Error ? error.message : String(error));
    }
  }

  /** The supervisor stays; only our line to it ends. */
  close(): void {
    this.#client?.close();
    this.#client = null;
  }

  #connected(): Promise<SupervisorClient> {
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #connect(): Promise<SupervisorClient> {
    const { log, socketPath } = this.#options;
    const client = await this.#findOrStart();
    client.onEvent((event) => {
      for (const listener of this.#listeners) listener(event);
    });
    client.onDisconnect(() => {
      log.warn("supervisor.lost", { socketPath });
      this.#client = null;
    });
    const installed = await this.#install(client);
    await this.#sayHello(client);
    this.#client = client;
    log.info("supervisor.connected", { socketPath, postgresVersion: installed.look.postgresVersion });
    return client;
  }

  async #install(client: SupervisorClient): Promise<SupervisorResponse & { readonly ok: true }> {
    const tls = this.#options.tls();
    const request = { kind: "install-certificates", ...tls } as const;
    const installed = await client.request(request, CERTIFICATES_DEADLINE_MS);
    if (!installed.ok) throw new Error(`the supervisor did not take the certificates: ${installed.message}`);
    this.#installed = tls;
    return installed;
  }

  /** So that it can replace this process, should it hang while PostgreSQL reigns under a lease. */
  async #sayHello(client: SupervisorClient): Promise<void> {
    const startTicks = processStartTicks(process.pid);
    // In a pod the supervisor sees other processes under our id, or none.
    if (this.#options.start === null || startTicks === null) return;
    const said = await client.request({ kind: "hello", pid: process.pid, startTicks }, HELLO_DEADLINE_MS);
    // One of an older release does not know the word. It keeps no leases either.
    if (!said.ok) this.#options.log.info("supervisor.hello-refused", { why: said.message });
  }

  async #findOrStart(): Promise<SupervisorClient> {
    const { socketPath, clock, start, dataDirectory, user, environment, log } = this.#options;
    const found = await connectSupervisor({ socketPath, clock });
    if (found.ok) return found.value;
    if (start === null) throw new Error(found.error);
    const pid = await startSupervisorProcess({
      command: start.command,
      dataDirectory,
      binDirectory: start.binDirectory,
      socketPath,
      user,
      environment,
      clock,
      deadlineMs: START_DEADLINE_MS,
    });
    log.info("supervisor.started", { pid, socketPath });
    const started = await connectSupervisor({ socketPath, clock });
    if (!started.ok) throw new Error(started.error);
    return started.value;
  }
}
