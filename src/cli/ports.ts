import type { Clock } from "../base/clock.ts";
import type { Result } from "../base/result.ts";
import type { RecoverPorts } from "./recover-ports.ts";
import type { Terminal } from "./terminal.ts";

/** All that the command line asks of the rest. The three long-running commands live elsewhere; `main` hands them in. */
export interface CliPorts {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  readonly clock: Clock;
  /** Aborted by Ctrl-C: ends `--watch` and `--follow` in order. */
  readonly interrupted: AbortSignal;
  /** A new UUID, for Idempotency-Keys. */
  newId(): string;
  /** Path of the API's Unix socket according to a member's configuration file. */
  socketPathOf(configPath: string): Promise<Result<string, string>>;
  /** Asks on the terminal; null where the input ends. */
  readLine(question: string): Promise<string | null>;
  /** Lets a person edit a text; null where the editor failed. */
  edit(text: string): Promise<string | null>;
  /** A key and the request for a certificate of it; `presentKeyPem` null: a new one. @throws where that is no key of ours. */
  certificateRequest(
    commonName: string,
    presentKeyPem: string | null,
  ): Promise<{ readonly privateKeyPem: string; readonly csrPem: string }>;
  /** The offline tools. */
  readonly recover: RecoverPorts;
  /** Each resolves with the exit code once the process should end. */
  accessLocally(options: LocalAccessOptions): Promise<number>;
  run(options: RunOptions): Promise<number>;
  supervise(options: SuperviseOptions): Promise<number>;
  demo(options: DemoOptions): Promise<number>;
}

/** Superuser access on this host, without asking anybody. */
export interface LocalAccessOptions {
  /** Null: no `--config` was given. */
  readonly configPath: string | null;
  readonly reason: string;
  /** Null: whoever the system says it is. */
  readonly who: string | null;
  /** Where PostgreSQL does not run, it may be started as a standby. */
  readonly mayStart: boolean;
  /** Of psql. */
  readonly arguments: readonly string[];
}

export interface RunOptions {
  /** Null: no `--config` was given. */
  readonly configPath: string | null;
}

export interface SuperviseOptions {
  readonly socketPath: string;
  readonly dataDir: string;
  /** Null: to be found. */
  readonly binDir: string | null;
  /** The entry point of a container: PostgreSQL cannot outlive it. */
  readonly isContainer: boolean;
  readonly watchdog: { readonly mode: string; readonly device: string };
}

export interface DemoOptions {
  readonly isKept: boolean;
  /** Lines instead of a live table. */
  readonly isPlain: boolean;
  /** How long the write load runs between the two failures. */
  readonly seconds: number;
  /** PostgreSQL's programs. Null: to be found. */
  readonly binDir: string | null;
}
