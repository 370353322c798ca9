import { open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Log } from "../base/log.ts";
import type { GuardedGrant, GuardedStatus } from "../cluster/break-glass.ts";
import { resolvedDirectory } from "../postgres/data-directory.ts";
import { programEnvironment } from "../postgres/program.ts";
import { type Clocks, glassRules, judged, type KeptGrant, statusOf, told } from "./glass.ts";
import type { HostTime } from "./host-time.ts";
import { readJson } from "./json-file.ts";
import { postgresProcessesIn, processTitle, signalProcess } from "./process-table.ts";

export interface GlassKeeperOptions {
  readonly file: string;
  readonly dataDirectory: string;
  readonly binDirectory: string;
  readonly hostTime: HostTime;
  readonly wallMs: () => number;
  readonly log: Log;
  /** A postmaster runs. */
  readonly isRunning: () => boolean;
  /** Where the superuser is let in over the Unix socket, while PostgreSQL runs as a primary; null: it does not. */
  readonly primarySocket: () => { readonly directory: string; readonly port: number } | null;
  /** Writes pg_hba.conf anew and has PostgreSQL read it. */
  readonly applyRules: () => Promise<void>;
}

const TICK_MS = 50;
/** Who was let in by the old rules at the last moment appears in the table of processes a little later. */
const EAGER_MS = 5_000;
const SWEEP_MS = 1_000;
/** No login takes longer than PostgreSQL's longest `authentication_timeout`, ten minutes. */
const SWEEPS_MS_MAX = 11 * 60_000;
/** After the end the role is closed by SQL then, as far as this can be done from here. */
const CLOSE_AFTER_MS: readonly number[] = [0, 5_000, 30_000];

/**
 * The dead man's switch of break-glass access: ends each grant in time although the member is frozen or gone. It was told
 * everything beforehand: until when, which role, and which rules stand when nothing is left of it.
 */
export class GlassKeeper {
  readonly #options: GlassKeeperOptions;
  #kept: readonly KeptGrant[];
  /** Rules that PostgreSQL has not been given yet. */
  #isRuleOwed = true;
  #applying: Promise<void> | null = null;
  #saving: Promise<void> = Promise.resolve();
  #sweptAtMs = Number.NEGATIVE_INFINITY;
  readonly #closings = new Map<string, number>();
  #timer: Timer | null = null;

  /** Takes up what an earlier supervisor was told. */
  constructor(options: GlassKeeperOptions) {
    this.#options = options;
    // Written by us, whole or not at all.
    this.#kept = (readJson(options.file) as readonly KeptGrant[] | null) ?? [];
  }

  /** From now on it is looked at; what was over while nobody looked ends now. */
  start(): void {
    if (this.#kept.length === 0 || this.#timer !== null) return;
    this.#timer = setInterval(() => this.tick(), TICK_MS);
    this.tick();
  }

  stopTicking(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** A grant stands, and a PostgreSQL that lets it in. */
  get isHolding(): boolean {
    return this.#options.isRunning() && this.#kept.some(({ over }) => over === null);
  }

  /** For pg_hba.conf, before the rules of applications. */
  get rules(): readonly string[] {
    return glassRules(this.#kept);
  }

  get statuses(): readonly GuardedStatus[] {
    const clocks = this.#clocks();
    return this.#kept.map((grant) => statusOf(grant, clocks));
  }

  /**
   * When this resolves, the next supervisor knows it too, and PostgreSQL was given the rules.
   *
   * @throws {Error} if it cannot be written: then nothing is opened, and what ends has ended all the same.
   */
  async tell(wanted: readonly GuardedGrant[]): Promise<void> {
    const next = told(this.#kept, wanted, this.#clocks());
    if (JSON.stringify(next) === JSON.stringify(this.#kept)) return;
    const known = new Set(this.#kept.map(({ id }) => id));
    this.#take(next.filter(({ id, over }) => over !== null || known.has(id)));
    await this.#save(next);
    // Something may have ended meanwhile.
    this.#take(told(this.#kept, wanted, this.#clocks()));
    await this.#applyRules();
  }

  #take(kept: readonly KeptGrant[]): void {
    const before = this.#kept;
    this.#kept = kept;
    this.#isRuleOwed = true;
    const justOver = kept.filter(
      ({ id, over }) => over !== null && before.some((each) => each.id === id && each.over === null),
    );
    this.#noteEnd(justOver);
    this.start();
    this.tick();
  }

  /** Acts before it writes or logs anything, and never writes on the thread: the disk that would take it may be what hangs. */
  tick(): void {
    const clocks = this.#clocks();
    const next = this.#kept.map((grant) => judged(grant, clocks));
    const justOver = next.filter((grant, at) => grant !== this.#kept[at]);
    this.#kept = next;
    this.#noteEnd(justOver);
    if (this.#options.isRunning()) this.#sweep(clocks);
    if (this.#isRuleOwed) void this.#applyRules();
    if (justOver.length > 0) this.#save(next).catch((error: unknown) => this.#notKept(error));
    this.#closeRoles(clocks);
    if (this.#kept.length === 0 && !this.#isRuleOwed) this.stopTicking();
  }

  #noteEnd(justOver: readonly KeptGrant[]): void {
    if (justOver.length === 0) return;
    this.#isRuleOwed = true;
    for (const { id, role, over } of justOver) {
      this.#closings.set(role, 0);
      this.#options.log.warn("supervisor.break-glass.ended", { grant: id, role, why: over?.why ?? "" });
    }
  }

  /** Who is in, or is logging in: the name stands in the title of the process from its first moment on. */
  #sweep({ hostMs }: Clocks): void {
    const recent = this.#kept.filter(({ over }) => over !== null && hostMs - over.atMs < SWEEPS_MS_MAX);
    const isEager = recent.some(({ over }) => over !== null && hostMs - over.atMs < EAGER_MS);
    if (recent.length === 0 || (!isEager && hostMs - this.#sweptAtMs < SWEEP_MS)) return;
    this.#sweptAtMs = hostMs;
    const roles = new Set(recent.map(({ role }) => role));
    for (const pid of postgresProcessesIn(resolvedDirectory(this.#options.dataDirectory))) {
      const words = processTitle(pid)?.split(/\s+/) ?? [];
      // Never harder: a backend that is killed takes PostgreSQL down. One that was stopped hears nothing before it goes on.
      if (!words.some((word) => roles.has(word))) continue;
      signalProcess(pid, "SIGTERM");
      signalProcess(pid, "SIGCONT");
    }
  }

  /** One at a time; what came up meanwhile is done with it. */
  #applyRules(): Promise<void> {
    this.#applying ??= this.#applyOwed().finally(() => {
      this.#applying = null;
    });
    return this.#applying;
  }

  async #applyOwed(): Promise<void> {
    while (this.#isRuleOwed) {
      this.#isRuleOwed = false;
      try {
        await this.#options.applyRules();
      } catch (error) {
        // Again at the next tick; who is let in meanwhile is ended.
        this.#isRuleOwed = true;
        this.#options.log.error("supervisor.break-glass.rules-not-written", { error: String(error) });
        return;
      }
    }
  }

  /** By SQL as well, so that the role is no use elsewhere either once that is replicated. The member does it better, when it can. */
  #closeRoles({ hostMs }: Clocks): void {
    for (const [role, count] of this.#closings) {
      const over = this.#kept.find((grant) => grant.role === role)?.over;
      const afterMs = CLOSE_AFTER_MS[count];
      if (over == null || afterMs === undefined) this.#closings.delete(role);
      else if (hostMs - over.atMs >= afterMs) {
        this.#closings.set(role, count + 1);
        this.#closeRole(role);
      }
    }
  }

  #closeRole(role: string): void {
    const socket = this.#options.primarySocket();
    if (socket === null) return;
    const { directory, port } = socket;
    const conninfo = `host=${directory} port=${port} user=postgres dbname=postgres connect_timeout=5`;
    const statements = closingStatements(role).flatMap((statement) => ["-c", statement]);
    try {
      Bun.spawn([join(this.#options.binDirectory, "psql"), "-Xwq", "-d", conninfo, ...statements], {
        stdin: "ignore",
        stdout: "ignore",
        stderr: "ignore",
        env: programEnvironment(process.env),
        timeout: 15_000,
        killSignal: "SIGKILL",
        onExit: (_process, code) =>
          this.#options.log.info("supervisor.break-glass.role-closed", { role, isDone: code === 0 }),
      }).unref();
    } catch (error) {
      // Not every installation has psql. No rule lets the role in.
      this.#options.log.info("supervisor.break-glass.role-not-closed", { role, error: String(error) });
    }
  }

  /** The next supervisor finds that the time is over, by the same clock. */
  #notKept(error: unknown): void {
    this.#options.log.error("supervisor.break-glass.not-kept", { error: String(error) });
  }

  /** In turn. Synced: a host that was started anew must find that it had been told. */
  #save(kept: readonly KeptGrant[]): Promise<void> {
    const saved = this.#saving.then(() => writeSynced(this.#options.file, `${JSON.stringify(kept)}\n`));
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  #clocks(): Clocks {
    const { hostTime, wallMs } = this.#options;
    return { bootId: hostTime.bootId, hostMs: hostTime.nowMs(), wallMs: wallMs() };
  }
}

/** It waits for no standby: this must not hang where too few are left. */
function closingStatements(role: string): readonly string[] {
  return [
    "SET synchronous_commit = local",
    "SET lock_timeout = '5s'",
    `ALTER ROLE ${role} NOLOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD NULL`,
  ];
}

async function writeSynced(path: string, contents: string): Promise<void> {
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(contents);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
