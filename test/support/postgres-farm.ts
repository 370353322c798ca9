/**
 * Some PostgreSQL servers on this machine, each under a real supervisor process, with real certificates: what the tests
 * of `postgres` and `supervisor` play on. Started as root, everything runs as the user `postgres`.
 */

import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { ClusterId, Epoch, MemberId } from "../../src/base/ids.ts";
import type { AccessTrial } from "../../src/cluster/access-trial.ts";
import { commonNameOf } from "../../src/cluster/common-name.ts";
import type { Fork } from "../../src/cluster/fork.ts";
import type { AccessLines, ManagedSettings, Upstream } from "../../src/cluster/managed-settings.ts";
import type { CertificateAuthority } from "../../src/cluster/state.ts";
import { createAuthority, createKeyAndRequest, signMember } from "../../src/peer/certificates.ts";
import { Probe, type ProbeResult } from "../../src/postgres/probe.ts";
import type { Installation } from "../../src/postgres/versions.ts";
import { connectSupervisor, type SupervisorClient } from "../../src/supervisor/client.ts";
import type {
  SupervisorErrorCode,
  SupervisorEvent,
  SupervisorLook,
  SupervisorRequest,
  SupervisorResponse,
} from "../../src/supervisor/protocol.ts";
import { startSupervisorProcess } from "../../src/supervisor/spawn.ts";
import { type StatePaths, statePaths } from "../../src/supervisor/state-directory.ts";
import { realClock } from "./postgres-clock.ts";

export const CLUSTER_ID = "11111111-2222-4333-8444-555555555555" as ClusterId;

const SUPERVISE = [process.execPath, resolve(import.meta.dir, "postgres-supervise.ts")];
const SYSTEM_USER = process.getuid?.() === 0 ? "postgres" : userInfo().username;
const BARE_ENVIRONMENT = { PATH: process.env["PATH"] ?? "" };
const REQUEST_DEADLINE_MS = 30_000;

export function epoch(value: number): Epoch {
  return value as Epoch;
}

export class PostgresFarm {
  readonly installation: Installation;
  readonly #root: string;
  readonly #authority: CertificateAuthority;
  readonly #servers: TestServer[] = [];

  private constructor(installation: Installation, root: string, authority: CertificateAuthority) {
    this.installation = installation;
    this.#root = root;
    this.#authority = authority;
  }

  static async create(installation: Installation): Promise<PostgresFarm> {
    const root = mkdtempSync("/tmp/gcm-pg-");
    chmodSync(root, 0o755);
    return new PostgresFarm(installation, root, await createAuthority(CLUSTER_ID, Date.now()));
  }

  /** A server that has a supervisor and nothing else yet. */
  async add(name: string): Promise<TestServer> {
    const home = join(this.#root, name);
    mkdirSync(join(home, "s"), { recursive: true });
    if (process.getuid?.() === 0) for (const path of [home, join(home, "s")]) giveTo(SYSTEM_USER, path);
    const server = new TestServer(name, home, freePort(), this.installation);
    this.#servers.push(server);
    await server.supervise();
    return server;
  }

  /** One that reigns alone under epoch 1, as a new cluster's first. */
  async addPrimary(name: string, changes: Partial<ManagedSettings> = {}): Promise<TestServer> {
    const server = await this.add(name);
    await this.installCertificates(server);
    const settings = server.settings(changes);
    const options = { encoding: "UTF8", locale: "C.UTF-8" };
    await server.ask({ kind: "initdb", clusterId: settings.clusterId, options });
    await server.ask({ kind: "configure", epoch: epoch(1), timelines: [], settings });
    await server.ask({ kind: "start", epoch: epoch(1) });
    await server.probed("standby");
    await server.ask({ kind: "promote", epoch: epoch(1), timelines: [], needsLease: false });
    await server.probed("primary");
    return server;
  }

  async installCertificates(server: TestServer): Promise<void> {
    const memberId = crypto.randomUUID() as MemberId;
    const { privateKeyPem, csrPem } = await createKeyAndRequest(commonNameOf(memberId));
    const subject = { memberId, name: server.name, hosts: ["127.0.0.1"] };
    const signed = await signMember(this.#authority, csrPem, subject, Date.now());
    if (!signed.ok) throw new Error(signed.error);
    await server.ask({
      kind: "install-certificates",
      caPem: this.#authority.certificatePem,
      certificatePem: signed.value,
      privateKeyPem,
    });
  }

  async remove(): Promise<void> {
    for (const server of this.#servers) await server.remove();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** One server: its supervisor, its probe, and what came from them. */
export class TestServer {
  readonly name: string;
  readonly port: number;
  readonly socketDirectory: string;
  readonly paths: StatePaths;
  readonly probe: Probe;
  readonly events: SupervisorEvent[] = [];
  readonly #installation: Installation;
  #client: SupervisorClient | null = null;
  #supervisorPid: number | null = null;

  constructor(name: string, home: string, port: number, installation: Installation) {
    this.name = name;
    this.port = port;
    this.socketDirectory = join(home, "s");
    this.paths = statePaths(join(home, "data"));
    this.#installation = installation;
    this.probe = new Probe({
      socketDirectory: this.socketDirectory,
      port,
      user: "postgres",
      database: "postgres",
      clock: realClock,
    });
  }

  get supervisorPid(): number | null {
    return this.#supervisorPid;
  }

  get binDirectory(): string {
    return this.#installation.binDirectory;
  }

  get upstream(): Upstream {
    return { host: "127.0.0.1", port: this.port };
  }

  settings(changes: Partial<ManagedSettings> = {}): ManagedSettings {
    return {
      memberName: this.name,
      clusterId: CLUSTER_ID,
      listenAddresses: "127.0.0.1",
      port: this.port,
      socketDirectory: this.socketDirectory,
      upstream: null,
      synchronousStandbyNames: null,
      ...changes,
    };
  }

  async supervise(): Promise<void> {
    this.#supervisorPid = await startSupervisorProcess({
      command: SUPERVISE,
      dataDirectory: this.paths.dataDirectory,
      binDirectory: this.#installation.binDirectory,
      socketPath: this.paths.socketFile,
      user: SYSTEM_USER,
      environment: process.env,
      clock: realClock,
      deadlineMs: 10_000,
    });
    this.#client = await until(`the supervisor of ${this.name} answers`, () => this.#connect());
    this.#client.onEvent((event) => this.events.push(event));
  }

  /** Another life of the member connects. @returns what asks over the line of the life before. */
  async nextLife(): Promise<(request: SupervisorRequest) => Promise<SupervisorResponse>> {
    const before = this.#client;
    if (before === null) throw new Error(`${this.name}: there was no life before`);
    this.#client = await until(`the supervisor of ${this.name} answers`, () => this.#connect());
    this.#client.onEvent((event) => this.events.push(event));
    return (request) => before.request(request, REQUEST_DEADLINE_MS);
  }

  /** A supervisor that was killed holds its socket until its last thread is gone, and cuts off whoever connects then. */
  async #connect(): Promise<SupervisorClient | null> {
    const connected = await connectSupervisor({ socketPath: this.paths.socketFile, clock: realClock });
    if (!connected.ok) return null;
    const client = connected.value;
    const isAnswered = await client.request({ kind: "look" }, REQUEST_DEADLINE_MS).then(
      () => true,
      () => false,
    );
    return isAnswered ? client : null;
  }

  /** Ends the supervisor; resolves once it is gone. */
  async endSupervisor(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const pid = this.#supervisorPid;
    if (pid === null) return;
    process.kill(pid, signal);
    await until(`supervisor ${pid} ended`, async () => (isRunning(pid) ? null : true));
    this.#client?.close();
    this.#client = null;
    this.#supervisorPid = null;
  }

  /** Asks, and expects it to be done. */
  async ask(request: SupervisorRequest): Promise<SupervisorLook> {
    const response = await this.#request(request);
    if (!response.ok) throw new Error(`${this.name}: ${request.kind}: ${response.code}: ${response.message}`);
    return response.look;
  }

  async forks(): Promise<readonly Fork[]> {
    const response = await this.#request({ kind: "list-forks" });
    if (!response.ok) throw new Error(`${this.name}: ${response.message}`);
    return response.forks ?? [];
  }

  async tryAccess(lines: AccessLines): Promise<AccessTrial> {
    const response = await this.#request({ kind: "try-access", lines });
    if (!response.ok || response.trial === undefined) throw new Error(`${this.name}: it was not tried`);
    return response.trial;
  }

  /** Asks, and expects a refusal. */
  async refusal(request: SupervisorRequest): Promise<SupervisorErrorCode> {
    const response = await this.#request(request);
    if (response.ok) throw new Error(`${this.name}: ${request.kind} was not refused`);
    return response.code;
  }

  look(): Promise<SupervisorLook> {
    return this.ask({ kind: "look" });
  }

  async follow(upstream: TestServer, newEpoch: Epoch): Promise<void> {
    await this.ask({
      kind: "configure",
      epoch: newEpoch,
      timelines: [],
      settings: this.settings({ upstream: upstream.upstream }),
    });
  }

  /** Waits until SQL shows what is wanted. */
  async probed<K extends ProbeResult["kind"]>(
    kind: K,
    isWanted: (result: Extract<ProbeResult, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<ProbeResult, { kind: K }>> {
    let last: ProbeResult | null = null;
    return until(
      `${this.name} is ${kind}`,
      async () => {
        last = await this.probe.look(2_000);
        return isOfKind(last, kind) && isWanted(last) ? last : null;
      },
      () => JSON.stringify(last),
    );
  }

  isStreaming(): Promise<Extract<ProbeResult, { kind: "standby" }>> {
    return this.probed("standby", ({ walReceiver }) => walReceiver?.status === "streaming");
  }

  /** Runs SQL as the superuser over the Unix socket; output and errors as text. */
  sql(text: string): string {
    const run = Bun.spawnSync(this.#psql(text), { env: BARE_ENVIRONMENT });
    return `${run.stdout.toString()}${run.stderr.toString()}`.trim();
  }

  /** The same, for what does not come back by itself. */
  async sqlInBackground(text: string): Promise<string> {
    const run = Bun.spawn(this.#psql(text), { env: BARE_ENVIRONMENT, stdout: "pipe", stderr: "pipe" });
    return `${await run.stdout.text()}${await run.stderr.text()}`.trim();
  }

  #psql(text: string): string[] {
    const { socketDirectory, port } = this;
    const connection = `host=${socketDirectory} port=${port} user=postgres dbname=postgres`;
    return [join(this.#installation.binDirectory, "psql"), "-XAtqc", text, connection];
  }

  /** A program of the supervisor's user, until it has ended. */
  runAsOwner(command: readonly string[]): void {
    const run = Bun.spawnSync([...asOwner(), ...command], { cwd: "/" });
    if (run.exitCode !== 0) throw new Error(`${command.join(" ")}: ${run.stderr.toString()}`);
  }

  /** A process of the supervisor's user, and what it and its successors say. `end` removes what they said. */
  spawnAsOwner(command: readonly string[]): { readonly output: () => string; readonly end: () => void } {
    const path = join(dirname(this.paths.dataDirectory), "process.log");
    const file = openSync(path, "a");
    if (process.getuid?.() === 0) giveTo(SYSTEM_USER, path);
    Bun.spawn([...asOwner(), ...command], {
      stdin: "ignore",
      stdout: file,
      stderr: file,
      cwd: "/",
    }).unref();
    closeSync(file);
    return { output: () => readFileSync(path, "utf8"), end: () => rmSync(path) };
  }

  async remove(): Promise<void> {
    await this.probe.close();
    if (this.#client === null) await this.supervise();
    await this.#request({ kind: "stop", mode: "immediate", deadlineMs: 5_000 });
    await this.endSupervisor("SIGTERM");
  }

  #request(request: SupervisorRequest): ReturnType<SupervisorClient["request"]> {
    if (this.#client === null) throw new Error(`${this.name} has no supervisor`);
    return this.#client.request(request, REQUEST_DEADLINE_MS);
  }
}

/** Looks again and again until there is something, with a bound that only a broken machine reaches. */
export async function until<T>(
  what: string,
  look: () => Promise<T | null>,
  lastSeen: () => string = () => "",
): Promise<T> {
  const deadlineMs = realClock.nowMs() + 20_000;
  while (realClock.nowMs() < deadlineMs) {
    const found = await look();
    if (found !== null) return found;
    await realClock.sleep(10);
  }
  throw new Error(`never came: ${what} ${lastSeen()}`);
}

function isOfKind<K extends ProbeResult["kind"]>(
  result: ProbeResult,
  kind: K,
): result is Extract<ProbeResult, { kind: K }> {
  return result.kind === kind;
}

function isRunning(pid: number): boolean {
  const stat = Bun.spawnSync(["ps", "-o", "stat=", "-p", String(pid)])
    .stdout.toString()
    .trim();
  return stat !== "" && !stat.startsWith("Z");
}

function asOwner(): readonly string[] {
  return process.getuid?.() === 0
    ? ["setpriv", `--reuid=${SYSTEM_USER}`, `--regid=${SYSTEM_USER}`, "--init-groups", "--"]
    : [];
}

function giveTo(user: string, path: string): void {
  const id = (option: string): number => Number(Bun.spawnSync(["id", option, user]).stdout.toString());
  chownSync(path, id("-u"), id("-g"));
}

/** Below the ephemeral range, where a poller cannot connect to itself. */
function freePort(): number {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 21_000 + Math.floor(Math.random() * 9_000);
    try {
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data: () => undefined } }).stop(true);
      return port;
    } catch {
      // Taken: another one then.
    }
  }
  throw new Error("no free port between 21000 and 30000");
}
