/** PostgreSQL's own pgbench, unmodified: ends when its server dies, and is started again at the one that takes writes. */
import type { Clock } from "../base/clock.ts";
import type { LedgerServer } from "../postgres/ledger-writer.ts";

export interface PgbenchOptions {
  readonly program: string;
  readonly servers: readonly LedgerServer[];
  readonly username: string;
  readonly password: string;
  readonly database: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

const CLIENTS = 2;
/** Transactions a second: enough to be a load, little enough to leave a small machine its breath. */
const RATE = 100;
const RESTART_MS = 200;

export class Pgbench {
  readonly #options: PgbenchOptions;
  #child: Bun.Subprocess | null = null;
  #isStopped = false;
  #starts = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(options: PgbenchOptions) {
    this.#options = options;
  }

  /** Makes and fills pgbench's tables. @throws with what it said. */
  async prepare(): Promise<void> {
    const child = this.#spawn(["--initialize", "--quiet", "--scale=1"], "pipe");
    const said = await new Response(child.stderr).text();
    if ((await child.exited) !== 0) throw new Error(`pgbench --initialize failed: ${said}`);
  }

  start(): void {
    this.#running = this.#keepRunning();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#child?.kill("SIGTERM");
    await this.#running;
  }

  /** For the live table. */
  describe(): string {
    return this.#starts <= 1 ? "runs" : `runs (started ${this.#starts} times)`;
  }

  async #keepRunning(): Promise<void> {
    while (!this.#isStopped) {
      this.#starts += 1;
      this.#child = this.#spawn(
        [`--client=${CLIENTS}`, `--rate=${RATE}`, "--time=3600", "--no-vacuum"],
        "ignore",
      );
      await this.#child.exited;
      if (!this.#isStopped) await this.#options.clock.sleep(RESTART_MS);
    }
  }

  #spawn(args: readonly string[], stderr: "pipe" | "ignore") {
    const { program, servers, username, password, database, environment } = this.#options;
    return Bun.spawn([program, ...args], {
      stdin: "ignore",
      stdout: "ignore",
      stderr,
      env: {
        ...environment,
        PGHOST: servers.map(({ host }) => host).join(","),
        PGPORT: servers.map(({ port }) => port).join(","),
        PGTARGETSESSIONATTRS: "read-write",
        PGCONNECT_TIMEOUT: "2",
        PGUSER: username,
        PGPASSWORD: password,
        PGDATABASE: database,
      },
    });
  }
}
